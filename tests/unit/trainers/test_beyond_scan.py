"""Crops beyond their scan, through nnU-Net's augmentation: nothing is learnt from there."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_cfseg.networks.beyond_scan import BeyondScan
from nnunetv2_cfseg.trainers.beyond_scan import (
    BEYOND_KEY,
    BEYOND_LABEL,
    ContinueLabels,
    SetAsideBeyondScan,
    continue_crop,
    continue_in_augmentation,
    continue_labels,
)
from nnunetv2_cfseg.trainers.blocks import BlockSampling
from nnunetv2_cfseg.trainers.sample_blocks import SampleBlocks
from nnunetv2_cfseg.trainers.sample_slab_blocks import SampleSlabBlocks, SlabBlocks

CROP = (16, 20, 20)
EDGE = BeyondScan("edge")


def crop_of(depth: int, *, label: int = 1, mode: str = "edge") -> dict[str, torch.Tensor]:
    """A crop of which so many slices, in the middle, are scan, of one label and one intensity."""
    before = (CROP[0] - depth) // 2
    image, labels = torch.zeros(1, *CROP), torch.full((1, *CROP), -1, dtype=torch.int16)
    image[:, before : before + depth], labels[:, before : before + depth] = 5.0, label
    beyond_scan = BeyondScan(mode, (-9.0,) if mode == "air" else ())
    continue_crop(image, labels, [(before, CROP[0] - before - depth), (0, 0), (0, 0)], beyond_scan)
    return {"image": image, "segmentation": labels}


def augmentation(*, regions: list[Any] | None = None, ignore_label: int | None = None) -> ComposeTransforms:
    transforms = cast(ComposeTransforms, nnUNetTrainer.get_training_transforms(
        np.array(CROP), (-np.pi / 3, np.pi / 3), None, (0, 1, 2), False, use_mask_for_norm=[False],
        regions=regions, ignore_label=ignore_label,
    ))  # fmt: skip
    transforms.transforms = continue_in_augmentation(transforms.transforms)
    return transforms


def test_a_crop_is_continued_and_its_labels_are_marked() -> None:
    crop = crop_of(4)
    assert (crop["image"] == 5).all()
    assert crop["segmentation"].unique().tolist() == [BEYOND_LABEL, 1]
    assert (crop_of(4, mode="air")["image"].unique().tolist()) == [-9.0, 5.0]


def test_labels_go_on_as_an_edge_does() -> None:
    labels = torch.randint(0, 5, (1, 4, 5, 6))
    continued = EDGE.extend(labels, [(3, 2), (0, 4), (1, 0)])
    beyond = ~torch.nn.functional.pad(torch.ones(4, 5, 6, dtype=torch.bool), (1, 0, 0, 4, 3, 2))
    assert torch.equal(continue_labels(torch.where(beyond, 0, continued), beyond), continued)
    everything = torch.ones_like(beyond)
    assert continue_labels(continued, everything) is continued
    assert continue_labels(continued, ~everything) is continued


@pytest.mark.parametrize("mode", ["edge", "air", "reflect"])
@pytest.mark.parametrize("case", ["labels", "regions", "ignored"])
def test_no_centre_holds_a_voxel_beyond_the_scan_however_the_crop_is_turned(mode: str, case: str) -> None:
    """The scan is foreground throughout; nnU-Net would call what is beyond it background."""
    transforms = augmentation(
        regions=[(1, 2), (2,)] if case == "regions" else None, ignore_label=3 if case == "ignored" else None
    )
    beyond_scan = BeyondScan(mode, (-9.0,) if mode == "air" else ())
    transforms.transforms.append(SampleBlocks(
        BlockSampling(16, 0.25, 0.25, 1.0), block_size=(8, 8, 8),
        center_size=(4, 4, 4), ignore_label=3 if case == "ignored" else None, foreground_range=(-100.0, 100.0),
        beyond_scan=beyond_scan,
    ))  # fmt: skip
    np.random.seed(0)
    torch.manual_seed(0)
    for _ in range(20):
        drawn = transforms(**crop_of(9, mode=mode))
        assert set(drawn) == {"image", "segmentation"}
        target = drawn["segmentation"]
        assert (target[:, 0] == 1).all()
        assert drawn["image"].shape == (16, 1, 8, 8, 8)


@pytest.mark.parametrize(("mode", "label"), [("edge", 1), ("reflect", 1), ("air", 0)])
def test_labels_go_on_where_the_scan_is_thinner_than_a_centre(mode: str, label: int) -> None:
    """Of air they are background, which air is."""
    transforms = [SetAsideBeyondScan(), SampleBlocks(
        BlockSampling(16, 0.5, 0.0, 1.0), block_size=(8, 8, 8), center_size=(4, 4, 4), ignore_label=None,
        beyond_scan=BeyondScan(mode, (-9.0,) if mode == "air" else ()),
    )]  # fmt: skip
    target = ComposeTransforms(transforms)(**crop_of(1, mode=mode))["segmentation"]
    assert set(target.unique().tolist()) == {label, 1}


@pytest.mark.parametrize(("mode", "label"), [("edge", 1), ("air", 0)])
def test_validation_continues_labels_as_the_image(mode: str, label: int) -> None:
    beyond_scan = BeyondScan(mode, (-9.0,) if mode == "air" else ())
    crop = ComposeTransforms([SetAsideBeyondScan(), ContinueLabels(beyond_scan)])(**crop_of(6, mode=mode))
    assert set(crop) == {"image", "segmentation"}
    assert (crop["segmentation"] == torch.where(crop["image"] == 5, 1, label)).all()


def test_a_crop_inside_its_scan_passes_as_it_is() -> None:
    crop = crop_of(16)
    assert BEYOND_KEY not in SetAsideBeyondScan()(**crop)
    assert (crop["segmentation"] == 1).all()


@pytest.mark.parametrize("depth", [3, 6, 12])
def test_slabs_beyond_the_scan_go_on_and_no_centre_lies_there(depth: int) -> None:
    """Of crops of six slabs with three slices each; a centre is two slabs deep, thick or thin."""
    image, labels = torch.zeros(1, 18, 20, 20), torch.full((1, 18, 20, 20), -1, dtype=torch.int16)
    image[:, 3 : 3 + depth], labels[:, 3 : 3 + depth] = 5.0, 1
    continue_crop(image, labels, [(3, 15 - depth), (0, 0), (0, 0)], EDGE)
    draw = SampleSlabBlocks(
        BlockSampling(1, 0.5, 0.0, 1.0), blocks=SlabBlocks(columns=0, thick=8, thin=8), factor=3, block_size=(9, 8, 8),
        center_size=(3, 4, 4), ignore_label=None, beyond_scan=EDGE,
    )  # fmt: skip
    np.random.seed(0)
    thick, with_neighbours, _ = ComposeTransforms([SetAsideBeyondScan(), draw])(image=image, segmentation=labels)[
        "segmentation"
    ]
    assert (thick == 1).all()
    assert (with_neighbours == 1).all()
