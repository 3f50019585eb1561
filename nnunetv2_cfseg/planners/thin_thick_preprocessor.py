"""nnU-Net's preprocessing with slabs kept whole, for training on pairs; prediction needs no slabs and uses its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection


class ThinThickPreprocessor(DefaultPreprocessor):
    """Keeps a scan's slices as they are and crops only whole slabs.

    nnU-Net would resample all scans to one slice distance and crop slices that are all zero: both move slices out of
    their slab. The scans of a dataset have nearly the same slice distance, so nothing is lost by keeping it.
    """

    def run_case_npy(
        self,
        data: np.ndarray,
        seg: np.ndarray | None,
        properties: dict,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        dataset_json: dict | str,
    ) -> tuple[np.ndarray, np.ndarray, dict]:
        """Preprocess a case as nnU-Net does, without resampling along z; data and seg are (C, Z, Y, X).

        Raises:
            ValueError: the scan is not whole slabs, or the plans reorder the axes or are not for pairs.
        """
        section = CFSegSection.from_plans(configuration_manager.configuration).thin_thick
        if section is None:
            raise ValueError("these plans have no thin_thick section; plans of pairs must have one")
        factor = section.factor
        if list(plans_manager.transpose_forward) != [0, 1, 2]:
            raise ValueError(f"plans of pairs must leave the axes in order, got {plans_manager.transpose_forward}")
        if data.shape[1] % factor:
            raise ValueError(f"a thin scan must be whole slabs of {factor} slices, got {data.shape[1]} slices")
        spacing_mm = [properties["spacing"][0], *configuration_manager.spacing[1:]]
        own_slices = ConfigurationManager({**configuration_manager.configuration, "spacing": spacing_mm})
        data, seg, properties = super().run_case_npy(data, seg, properties, plans_manager, own_slices, dataset_json)
        return keep_whole_slabs(data, seg, properties, factor)


def keep_whole_slabs(
    data: np.ndarray, seg: np.ndarray, properties: dict[str, Any], factor: int
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Drop the slices of slabs that nnU-Net's cropping to nonzero voxels has cut into.

    Args:
        data: (C, Z, Y, X), preprocessed with its slices as they were.
        seg: (1, Z, Y, X).
        properties: nnU-Net's; its crop and class locations are updated.
        factor: slices in a slab.

    Returns:
        Data, seg and properties, without at most ``factor`` - 1 slices at either end.

    Raises:
        ValueError: less than a slab is left.
    """
    (first, last), *in_plane = properties["bbox_used_for_cropping"]
    skip = -first % factor
    slices = (last - first - skip) // factor * factor
    if slices <= 0:
        raise ValueError(f"a scan must hold a whole slab of {factor} slices that are not all zero, got {last - first}")
    kept = slice(skip, skip + slices)
    properties = dict(properties)
    properties["bbox_used_for_cropping"] = [[first + skip, first + skip + slices], *in_plane]
    shape = properties["shape_after_cropping_and_before_resampling"]
    properties["shape_after_cropping_and_before_resampling"] = (slices, *shape[1:])
    if "class_locations" in properties:
        properties["class_locations"] = {
            key: _shifted(locations, skip, slices) for key, locations in properties["class_locations"].items()
        }
    return data[:, kept], seg[:, kept], properties


def _shifted(locations: Any, skip: int, slices: int) -> Any:
    """nnU-Net's locations (V, 4) of channel, z, y, x, moved to the slices that are kept."""
    if not len(locations):
        return locations
    moved = np.asarray(locations) - (0, skip, 0, 0)
    return moved[(moved[:, 1] >= 0) & (moved[:, 1] < slices)]
