"""What planners for the recipe have in common: how CT is read, resampled, clipped and mirrored."""

from __future__ import annotations

import os
import shutil
from contextlib import redirect_stdout
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

from nnunetv2_cfseg.networks.patches import Size3
from nnunetv2_cfseg.networks.windows import WINDOWS_HU
from nnunetv2_cfseg.nnunet.cfseg_section import SECTION, CFSegSection
from nnunetv2_cfseg.nnunet.sides import describe_sides, sided_names
from nnunetv2_cfseg.planners.storage_order import storage_order

#: CT scanners store -1024 to 3071 HU (12 bit); real files also hold rescaled metal far above.
CT_RANGE_HU = (-1024.0, 3071.0)


class RecipePlanner(ExperimentPlanner):
    """nnU-Net's planner without its 2D and cascade configurations, for CT seen through windows.

    A subclass chooses network, crop and batch (:meth:`plan_network`), says through which windows CT is seen
    (:attr:`window_names`) and describes a configuration in a line (:meth:`describe`).

    Raises:
        ValueError: the memory target is not above 0.
    """

    batch_size = 2
    #: Names in :data:`~nnunetv2_cfseg.networks.windows.WINDOWS_HU`; without any, nnU-Net's clip range stays.
    window_names: list[str]
    #: nnU-Net plans a lower resolution where a crop covers less than this share of a scan.
    lowres_creation_threshold: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.UNet_vram_target_GB > 0:
            raise ValueError(f"-gpu_memory_target must be > 0 GB, got {self.UNet_vram_target_GB:g} GB")

    def plan_network(
        self, spacing_mm: np.ndarray, median_shape: np.ndarray
    ) -> tuple[dict[str, Any], Size3, CFSegSection]:
        """Choose the plans' ``architecture``, the crop in voxels along z, y, x, and the ``cfseg`` section."""
        raise NotImplementedError

    def describe(self, name: str, configuration: dict[str, Any]) -> str:
        """One line on a configuration, for the terminal."""
        raise NotImplementedError

    def plan_experiment(self) -> dict[str, Any]:
        """nnU-Net's planning without its 2D and cascade configurations.

        Raises:
            ValueError: the scans are single slices, or no network fits the memory target.
        """
        # nnU-Net prints a 2D configuration, which does not exist here.
        with redirect_stdout(StringIO()):
            plans = super().plan_experiment()
        for name, configuration in plans["configurations"].items():
            if SECTION in configuration:
                print(self.describe(name, configuration))
        print(describe_sides(self.dataset_json["labels"]))
        return plans

    def get_plans_for_configuration(
        self,
        spacing: np.ndarray,
        median_shape: np.ndarray,
        data_identifier: str,
        approximate_n_voxels_dataset: float,
        _cache: dict,
    ) -> dict[str, Any]:
        """Plan one configuration, with nnU-Net's signature; a 2D one is empty, and `save_plans` drops it."""
        if len(spacing) == 2:
            return {}
        architecture, crop, section = self.plan_network(spacing, median_shape)
        data, data_kwargs, seg, seg_kwargs = self.determine_resampling()
        probabilities, probabilities_kwargs = self.determine_segmentation_softmax_export_fn()
        schemes, use_mask = self.determine_normalization_scheme_and_whether_mask_is_used_for_norm()
        return {
            "data_identifier": data_identifier,
            "preprocessor_name": self.preprocessor_name,
            "batch_size": self.batch_size,
            "patch_size": list(crop),
            "median_image_size_in_voxels": median_shape,
            "spacing": spacing,
            "normalization_schemes": schemes,
            "use_mask_for_norm": use_mask,
            "resampling_fn_data": data.__name__,
            "resampling_fn_seg": seg.__name__,
            "resampling_fn_data_kwargs": data_kwargs,
            "resampling_fn_seg_kwargs": seg_kwargs,
            "resampling_fn_probabilities": probabilities.__name__,
            "resampling_fn_probabilities_kwargs": probabilities_kwargs,
            "architecture": architecture,
            SECTION: section.to_plans(),
        }

    def section(self, **values: Any) -> CFSegSection:
        """The ``cfseg`` section, which the trainer reads besides nnU-Net's own keys, with a subclass's ``values``."""
        return CFSegSection.planned(
            foreground_hu=self._foreground_hu(),
            mirror_axes=self.determine_mirror_axes(),
            storage_order=self.storage_order,
            hounsfield_jitter=bool(self.window_names) and all(self._ct_channels()),
            **values,
        )

    def _foreground_hu(self) -> list[float] | None:
        """Lower and upper HU of nearly all foreground; None if the first channel is not CT."""
        if not self._ct_channels()[0]:
            return None
        properties = self.dataset_fingerprint["foreground_intensity_properties_per_channel"]["0"]
        return [properties["percentile_00_5"], properties["percentile_99_5"]]

    @cached_property
    def storage_order(self) -> str:
        """Order in which the training images store their axes, such as ``LPS``.

        Raises:
            ValueError: the images have several orders.
        """
        files = [file for case in self.dataset.values() for file in case["images"]]
        return storage_order(files, reader=self.determine_reader_writer().__name__, dataset=self.dataset_name)

    def determine_resampling(self, *args: Any, **kwargs: Any) -> tuple:
        """nnU-Net's resampling with torch, far faster than its default (nnU-Net issue 2912)."""
        return (
            resample_torch_fornnunet,
            {"is_seg": False, "force_separate_z": None, "memefficient_seg_resampling": False},
            resample_torch_fornnunet,
            {"is_seg": True, "force_separate_z": None, "memefficient_seg_resampling": False},
        )

    def determine_segmentation_softmax_export_fn(self, *args: Any, **kwargs: Any) -> tuple:
        """Torch's resampling for probabilities as well."""
        return self.determine_resampling()[:2]

    def determine_mirror_axes(self) -> list[int]:
        """Axes along which a mirrored scan could be another patient's.

        No axis if a label names a side: a mirrored left kidney is a right one, and a network trained to call it left
        can no longer tell the sides apart. For CT only the left-right axis: orientation is known, and position helps
        to identify organs. For other scans all axes, as in nnU-Net.
        """
        if sided_names(self.dataset_json["labels"]):
            return []
        if all(self._ct_channels()):
            forward, _ = self.determine_transpose()
            return [list(forward).index(2)]
        return [0, 1, 2]

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Save nnU-Net's plans without 2D and cascade, and with a wider clip range for CT.

        Raises:
            ValueError: the scans are single slices.
        """
        configurations = plans["configurations"]
        if "3d_fullres" not in configurations:
            raise ValueError(
                f"the scans of {self.dataset_name} are single slices; {type(self).__name__} needs 3D scans"
            )
        for name in ("2d", "3d_cascade_fullres"):
            configurations.pop(name, None)
        for configuration in configurations.values():
            configuration.pop("next_stage", None)
            # Crops and centres are small; Dice only makes sense over all of a step together.
            configuration["batch_dice"] = True
        if self.window_names:
            plans["foreground_intensity_properties_per_channel"] = {
                channel: {**properties, "percentile_00_5": CT_RANGE_HU[0], "percentile_99_5": CT_RANGE_HU[1]}
                if is_ct
                else properties
                for (channel, properties), is_ct in zip(
                    self.dataset_fingerprint["foreground_intensity_properties_per_channel"].items(),
                    self._ct_channels(),
                    strict=True,
                )
            }
        self._write_plans(plans)

    def _write_plans(self, plans: dict[str, Any]) -> None:
        """Write nnU-Net's file, merged with existing plans, under a hidden name until it is complete."""
        folder, name = Path(str(nnUNet_preprocessed)) / self.dataset_name, str(self.plans_identifier)  # type: ignore[has-type]
        file, hidden = folder / f"{name}.json", folder / f".{name}.{os.getpid()}.json"
        try:
            if file.is_file():
                shutil.copyfile(file, hidden)
            self.plans_identifier = hidden.stem
            super().save_plans(plans)
            os.replace(hidden, file)
        finally:
            self.plans_identifier = name
            hidden.unlink(missing_ok=True)

    def windows(self) -> list[dict[str, Any] | None] | None:
        """For each CT channel its windows, with the mean and std that undo its normalisation; None for others.

        None if there are no windows or no CT.
        """
        if not self.window_names or not any(self._ct_channels()):
            return None
        intensities = self.dataset_fingerprint["foreground_intensity_properties_per_channel"].values()
        return [
            {
                "mean": properties["mean"],
                "std": properties["std"],
                "windows_hu": [list(WINDOWS_HU[name]) for name in self.window_names],
            }
            if is_ct
            else None
            for properties, is_ct in zip(intensities, self._ct_channels(), strict=True)
        ]

    def _ct_channels(self) -> list[bool]:
        schemes, _ = self.determine_normalization_scheme_and_whether_mask_is_used_for_norm()
        return [scheme == "CTNormalization" for scheme in schemes]
