"""Thick blocks and the thin ones below: what belongs to a slab stays in it, through all of the augmentation."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor

from nnunetv2_cfseg.data.blocks import BlockSampling
from nnunetv2_cfseg.trainers.slab_transform import DrawSlabBlocks, average_slabs
from nnunetv2_cfseg.trainers.thin_thick import split_views

FACTOR = 3
CENTER = (4, 4, 4)
BLOCK = (8, 8, 8)


def draw_slab_blocks(count: int = 6, **settings: Any) -> DrawSlabBlocks:
    sampling = BlockSampling(count, **{"foreground_share": 0.5, "cut_share": 0.5, **settings})
    return DrawSlabBlocks(sampling, block_size=BLOCK, center_size=CENTER, factor=FACTOR, ignore_label=None)


def slab_index(shape: tuple[int, int, int]) -> Tensor:
    """(1, Z, Y, X), the number of each voxel's slab, from 1 on."""
    number = torch.arange(shape[0]) // FACTOR + 1
    return number.view(1, -1, 1, 1).expand(1, *shape).clone()


def centers(blocks: Tensor) -> Tensor:
    """(..., *BLOCK) to (..., *CENTER)."""
    return blocks[..., 2:6, 2:6, 2:6]


class TestDrawSlabBlocks:
    def test_shapes(self) -> None:
        sample = draw_slab_blocks()(image=torch.randn(2, 36, 20, 20), segmentation=torch.zeros(1, 36, 20, 20).short())
        assert sample["image"].shape == (6, 1 + FACTOR, 2, *BLOCK)
        assert sample["segmentation"].shape == (6, 1, FACTOR * 4, 4, 4)

    def test_the_thick_centre_is_the_average_of_the_thin_ones(self) -> None:
        torch.manual_seed(0)
        image = torch.randn(1, 36, 20, 20)
        sample = draw_slab_blocks()(image=image, segmentation=torch.zeros(1, 36, 20, 20).short())
        thick, thin = split_views(sample["image"].flatten(0, 1), FACTOR)
        thin_center = torch.cat(
            [centers(thin[:, :, 8 * i : 8 * (i + 1)]) for i in range(FACTOR)], dim=2
        )  # (M, 1, r 4, 4, 4)
        torch.testing.assert_close(thin_center.unflatten(2, (-1, FACTOR)).mean(3), centers(thick))

    def test_the_target_is_that_of_the_thin_centres(self) -> None:
        labels = torch.randint(0, 3, (1, 36, 20, 20)).short()
        sample = draw_slab_blocks()(image=labels.float(), segmentation=labels)
        _, thin = split_views(sample["image"].flatten(0, 1), FACTOR)
        for i in range(FACTOR):
            part = sample["segmentation"][:, :, 4 * i : 4 * (i + 1)]
            torch.testing.assert_close(centers(thin[:, :, 8 * i : 8 * (i + 1)]), part.float())

    def test_targets_are_whole_slabs(self) -> None:
        index = slab_index((36, 20, 20)).short()
        target = draw_slab_blocks(20)(image=index.float(), segmentation=index)["segmentation"]
        slabs = target.unflatten(2, (-1, FACTOR))
        assert bool((slabs == slabs[:, :, :, :1]).all())

    def test_foreground_is_looked_for_on_thick_slices(self) -> None:
        labels = torch.zeros(1, 36, 20, 20).short()
        labels[0, 15:18, 9, 9] = 1  # one slab
        target = draw_slab_blocks(8, foreground_share=1.0)(image=labels.float(), segmentation=labels)["segmentation"]
        assert bool((target == 1).flatten(1).any(1).all())

    def test_background_as_bright_as_foreground_is_looked_for_in_the_average(self) -> None:
        image = torch.zeros(1, 36, 20, 20)
        image[0, 12:15, 8:12, 8:12] = torch.tensor([0.0, 3.0, 0.0]).view(3, 1, 1)  # 1 on average
        transform = draw_slab_blocks(4, foreground_share=0.0, lookalike_share=1.0)
        transform.foreground_range = (0.9, 1.1)
        thick, _ = split_views(
            transform(image=image, segmentation=torch.zeros(1, 36, 20, 20).short())["image"].flatten(0, 1), FACTOR
        )
        assert bool(((centers(thick) > 0.9).flatten(1).any(1)).all())

    def test_refuses_a_crop_that_is_not_whole_slabs(self) -> None:
        with pytest.raises(ValueError, match="whole slabs of 3 slices, got 35"):
            draw_slab_blocks()(image=torch.zeros(1, 35, 20, 20), segmentation=torch.zeros(1, 35, 20, 20).short())


class TestAugmentation:
    """Slabs followed through the whole of nnU-Net's augmentation, as the trainer sets it up."""

    @pytest.fixture
    def augmentation(self) -> ComposeTransforms:
        rotation = (-np.pi / 6, np.pi / 6)
        transforms = nnUNetTrainer.get_training_transforms(
            (36, 24, 24), rotation, None, (0, 1, 2), True, use_mask_for_norm=[False]
        )
        return cast(ComposeTransforms, transforms)

    def test_a_slice_stays_in_its_slab(self, augmentation: ComposeTransforms) -> None:
        index = slab_index((36, 34, 34)).to(torch.int16)
        np.random.seed(0)
        torch.manual_seed(0)
        turned = set()
        for _ in range(12):
            labels = augmentation(image=torch.randn(1, 36, 34, 34), segmentation=index.clone())["segmentation"]
            middle = labels[0, :, 8:16, 8:16].unflatten(0, (-1, FACTOR))  # (slabs, r, 8, 8)
            first = middle[:, :1, :1, :1]
            assert bool((middle == first).all())
            order = first.flatten().tolist()
            assert order in (list(range(1, 13)), list(range(12, 0, -1)))
            turned.add(order[0])
        assert turned == {1, 12}  # mirrored along z and not

    def test_thick_and_thin_are_augmented_alike(self, augmentation: ComposeTransforms) -> None:
        augmentation.transforms.append(draw_slab_blocks())
        np.random.seed(1)
        for _ in range(4):
            sample = augmentation(image=torch.randn(1, 36, 34, 34), segmentation=torch.zeros(1, 36, 34, 34).short())
            thick, thin = split_views(sample["image"].flatten(0, 1), FACTOR)
            parts = [centers(thin[:, :, 8 * i : 8 * (i + 1)]) for i in range(FACTOR)]
            torch.testing.assert_close(torch.cat(parts, dim=2).unflatten(2, (-1, FACTOR)).mean(3), centers(thick))


class TestAverageSlabs:
    def test_by_hand(self) -> None:
        image = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0]).view(1, 6, 1, 1)
        assert average_slabs(image, 3).flatten().tolist() == [3.0, 1.0]


class TestSplitViews:
    def test_by_hand(self) -> None:
        # Two thick blocks of one voxel with two thin ones each.
        values = torch.tensor([10.0, 1.0, 2.0, 20.0, 3.0, 4.0]).view(6, 1, 1, 1, 1)
        thick, thin = split_views(values, 2)
        assert thick.flatten().tolist() == [10.0, 20.0]
        assert thin.shape == (2, 1, 2, 1, 1)
        assert thin[:, 0, :, 0, 0].tolist() == [[1.0, 2.0], [3.0, 4.0]]

    def test_thin_slices_lie_on_top_of_each_other(self) -> None:
        values = torch.arange(2 * 3 * 2 * 2).float().view(2 * 3, 1, 2, 1, 2)  # r = 2, blocks two slices deep
        _, thin = split_views(values, 2)
        torch.testing.assert_close(thin[0, 0, :, 0], torch.cat([values[1, 0, :, 0], values[2, 0, :, 0]]))
