"""nnU-Net's preprocessing with slabs kept whole, for training on pairs; prediction needs no slabs and uses its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection


class ThinThickPreprocessor(DefaultPreprocessor):
    """Leaves a scan's slices as they are and cuts only whole slabs off.

    nnU-Net would bring all scans to one distance between slices, and cut off slices that hold nothing but zeros: both
    move slices out of their slab. Distances between slices of the scans of a dataset are nearly the same, so nothing
    is lost by keeping them.
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
        """nnU-Net's; data and seg (C, Z, Y, X).

        Raises:
            ValueError: the scan is not whole slabs, or its plans reorder the axes or are not those of pairs.
        """
        section = CFSegSection.from_plans(configuration_manager.configuration).thin_thick
        if section is None:
            raise ValueError("plans of pairs must have a thin_thick section, and these have none")
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
    """Drop the slices of slabs that nnU-Net's cropping to what is not zero has cut into.

    Args:
        data: (C, Z, Y, X), preprocessed with its slices as they were.
        seg: (1, Z, Y, X).
        properties: nnU-Net's; what they say of the crop and of class locations follows.
        factor: slices in a slab.

    Returns:
        The three, without at most ``factor`` - 1 slices at either end.

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
    """nnU-Net's locations (V, 4) of channel, z, y, x, in the slices that are kept."""
    if not len(locations):
        return locations
    moved = np.asarray(locations) - (0, skip, 0, 0)
    return moved[(moved[:, 1] >= 0) & (moved[:, 1] < slices)]
