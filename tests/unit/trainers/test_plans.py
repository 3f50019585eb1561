"""What the trainer reads from plans, and what it refuses."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.nnunet.plans import NETWORK_CLASS
from nnunetv2_cfseg.trainers.blocks import BlockSampling
from nnunetv2_cfseg.trainers.plans import block_sampling, check_plans, foreground_range

CONFIGURATION: dict[str, Any] = {
    "patch_size": [28, 36, 36],
    "architecture": {
        "network_class_name": NETWORK_CLASS,
        "arch_kwargs": {"patch_size": [7, 9, 9], "block_patches": 3, "center_patches": 1},
    },
    "cfseg": {"blocks_per_crop": 64, "foreground_fraction": 0.5, "hard_background_fraction": 0.125},
}


def check(configuration: dict[str, Any]) -> None:
    check_plans(configuration, trainer="nnUNetTrainerCFSeg")


def configuration(**arch_kwargs: Any) -> dict[str, Any]:
    changed = deepcopy(CONFIGURATION)
    crop = arch_kwargs.pop("crop", changed["patch_size"])
    changed["patch_size"] = crop
    changed["architecture"]["arch_kwargs"].update(arch_kwargs)
    return changed


class TestCheckPlans:
    def test_takes_plans_of_the_planner(self) -> None:
        check(CONFIGURATION)

    def test_takes_sizes_as_one_number(self) -> None:
        check(configuration(crop=[24, 32, 40], patch_size=8))

    def test_refuses_plans_of_another_network(self) -> None:
        other = deepcopy(CONFIGURATION)
        other["architecture"]["network_class_name"] = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
        with pytest.raises(ValueError, match=r"^nnUNetTrainerCFSeg needs plans made by CFSegPlanner .*PlainConvUNet$"):
            check(other)

    def test_refuses_plans_without_a_section_of_its_own(self) -> None:
        other = deepcopy(CONFIGURATION)
        del other["cfseg"]
        with pytest.raises(ValueError, match="needs plans made by CFSegPlanner"):
            check(other)

    @pytest.mark.parametrize("crop", [[29, 36, 36], [28, 36, 37], [28, 35, 36]])
    def test_refuses_a_crop_that_is_not_whole_patches(self, crop: list[int]) -> None:
        with pytest.raises(ValueError, match=r"must be whole centres of \[7, 9, 9\] voxels .*, got \[2[89], 3"):
            check(configuration(crop=crop))

    def test_refuses_a_crop_that_is_not_whole_centers(self) -> None:
        check(configuration(crop=[28, 36, 36], center_patches=2, block_patches=4))
        with pytest.raises(ValueError, match=r"whole centres of \[14, 18, 18\] voxels \(z, y, x\), got \[28, 45, 36\]"):
            check(configuration(crop=[28, 45, 36], center_patches=2, block_patches=4))

    def test_refuses_a_plane(self) -> None:
        with pytest.raises(ValueError, match=r"must be whole centres .*got \[36, 36\]"):
            check(configuration(crop=[36, 36]))

    def test_refuses_a_patch_size_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="patch_size must be one or three whole numbers >= 1"):
            check(configuration(patch_size=[7, 9]))


class TestBlockSampling:
    def test_is_what_the_plans_say(self) -> None:
        assert block_sampling(CFSegSection.from_plans(CONFIGURATION)) == BlockSampling(
            64, foreground_fraction=0.5, hard_background_fraction=0.125, border_fraction=0.25
        )

    def test_names_what_is_missing(self) -> None:
        with pytest.raises(ValueError, match="blocks_per_crop"):
            block_sampling(CFSegSection())


class TestForegroundRange:
    def test_is_normalised_as_the_scans_are(self) -> None:
        assert foreground_range(CFSegSection(foreground_hu=(20, 80)), 40.0, 10.0) == (-2.0, 4.0)

    def test_is_unknown_where_the_plans_name_none(self) -> None:
        assert foreground_range(CFSegSection(), 40.0, 10.0) is None
