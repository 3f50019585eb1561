"""Thick blocks and the thin ones below: what belongs to a slab stays in it, through all of the augmentation."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor

from nnunetv2_cfseg.trainers.blocks import BlockSampling
from nnunetv2_cfseg.trainers.sample_slab_blocks import SampleSlabBlocks, SlabBlocks, SlabTargets, average_slabs

FACTOR = 3
CENTER = (6, 4, 4)
BLOCK = (12, 8, 8)
BLOCKS = SlabBlocks(columns=4, thick=2, thin=5)
THICK = BLOCKS.columns + BLOCKS.thick
COMPANIONS = slice(THICK, THICK + BLOCKS.columns * FACTOR)
CROP = (72, 20, 20)


def sample_slab_blocks(blocks: SlabBlocks = BLOCKS, **settings: Any) -> SampleSlabBlocks:
    sampling = BlockSampling(
        1, **{"foreground_fraction": 0.5, "hard_background_fraction": 0.0, "border_fraction": 0.5, **settings}
    )
    return SampleSlabBlocks(
        sampling, blocks=blocks, block_size=BLOCK, center_size=CENTER, factor=FACTOR, ignore_label=None
    )


def slab_index(shape: tuple[int, int, int]) -> Tensor:
    """(1, Z, Y, X), the number of each voxel's slab, from 1 on."""
    number = torch.arange(shape[0]) // FACTOR + 1
    return number.view(1, -1, 1, 1).expand(1, *shape).clone()


def centers(blocks: Tensor) -> Tensor:
    """(..., *BLOCK) to (..., *CENTER)."""
    return blocks[..., 3:9, 2:6, 2:6]


def column_centers(image: Tensor) -> Tensor:
    """The thin centres of each column, on top of each other: (columns, C, r c_z, c_y, c_x)."""
    return centers(image[COMPANIONS]).unflatten(0, (-1, FACTOR)).transpose(1, 2).flatten(2, 3)


def own_slices(thin: Tensor, offset: Tensor) -> Tensor:
    """The copied labels of thin centres, (blocks, 1, *CENTER)."""
    copied = thin[:, :, 1:-1].repeat_interleave(FACTOR, dim=2)
    return torch.stack([block[:, begin : begin + CENTER[0]] for block, begin in zip(copied, offset, strict=True)])


class TestSampleSlabBlocks:
    def test_shapes(self) -> None:
        sample = sample_slab_blocks()(image=torch.randn(2, *CROP), segmentation=torch.zeros(1, *CROP).short())
        assert sample["image"].shape == (6 + 12 + 5, 2, *BLOCK)
        assert type(sample["segmentation"]) is list  # nnU-Net's loader stacks nothing else
        thick, thin, offset = SlabTargets(*sample["segmentation"])
        assert thick.shape == (6, 1, 6, 4, 4)
        assert thin.shape == (12 + 5, 1, 2 + 3, 4, 4)
        assert offset.shape == (12 + 5,)

    @pytest.mark.parametrize("blocks", [SlabBlocks(0, 3, 0), SlabBlocks(0, 0, 3), SlabBlocks(1, 0, 0)])
    def test_kinds_may_be_left_out(self, blocks: SlabBlocks) -> None:
        sample = sample_slab_blocks(blocks)(image=torch.randn(1, *CROP), segmentation=torch.zeros(1, *CROP).short())
        thick, thin, offset = sample["segmentation"]
        assert len(thin) == len(offset)
        assert len(thick) == blocks.columns + blocks.thick
        assert len(thin) == blocks.columns * FACTOR + blocks.thin
        assert len(sample["image"]) == len(thick) + len(thin)

    def test_the_thick_centre_of_a_column_is_the_average_of_the_thin_ones(self) -> None:
        torch.manual_seed(0)
        image = torch.randn(1, *CROP)
        sample = sample_slab_blocks()(image=image, segmentation=torch.zeros(1, *CROP).short())["image"]
        means = column_centers(sample).unflatten(2, (-1, FACTOR)).mean(3)
        torch.testing.assert_close(means, centers(sample[: BLOCKS.columns]))

    def test_every_centre_has_the_labels_of_its_own_slices(self) -> None:
        labels = torch.randint(0, 3, (1, CROP[0] // FACTOR, 20, 20)).short().repeat_interleave(FACTOR, dim=1)
        sample = sample_slab_blocks()(image=labels.float(), segmentation=labels)
        thick, thin, offset = sample["segmentation"]
        torch.testing.assert_close(centers(sample["image"][:THICK]), thick.float())
        torch.testing.assert_close(centers(sample["image"][THICK:]), own_slices(thin, offset).float())

    def test_thin_blocks_alone_begin_anywhere_in_a_slab(self) -> None:
        index = slab_index(CROP).short()
        _, _, offset = sample_slab_blocks(SlabBlocks(4, 2, 60))(image=index.float(), segmentation=index)["segmentation"]
        assert offset[: 4 * FACTOR].tolist() == [0] * 4 * FACTOR
        assert set(offset[4 * FACTOR :].tolist()) == set(range(FACTOR))

    def test_neighbours_are_the_slabs_before_and_after(self) -> None:
        index = slab_index(CROP).short()
        _, thin, _ = sample_slab_blocks(SlabBlocks(8, 8, 60))(image=index.float(), segmentation=index)["segmentation"]
        assert bool((thin == thin[..., :1, :1]).all())
        slabs = thin[:, 0, :, 0, 0]
        first, last = 1, CROP[0] // FACTOR
        expected = (slabs[:, 1:2] + torch.arange(-1, 4)).clamp(first, last)  # beyond the crop its end goes on
        torch.testing.assert_close(slabs.long(), expected)
        assert bool((slabs[:, 0] == slabs[:, 1]).any() or (slabs[:, -1] == slabs[:, -2]).any())

    def test_foreground_is_looked_for_in_thick_blocks_and_in_thin_ones(self) -> None:
        labels = torch.zeros(1, *CROP).short()
        labels[0, 30:33, 9, 9] = 1  # one slab
        transform = sample_slab_blocks(foreground_fraction=1.0)
        thick, thin, offset = transform(image=labels.float(), segmentation=labels)["segmentation"]
        assert bool((thick == 1).flatten(1).any(1).all())
        assert bool((own_slices(thin, offset)[-BLOCKS.thin :] == 1).flatten(1).any(1).all())

    def test_background_as_bright_as_foreground_is_looked_for_in_each_scan(self) -> None:
        image = torch.zeros(1, *CROP)
        image[0, 30:33, 8:12, 8:12] = torch.tensor([1.0, 2.0, 0.0]).view(3, 1, 1)  # 1 on one slice, and on average
        transform = sample_slab_blocks(foreground_fraction=0.0, hard_background_fraction=1.0)
        transform.foreground_range = (0.9, 1.1)
        blocks = transform(image=image, segmentation=torch.zeros(1, *CROP).short())["image"]
        assert bool(((centers(blocks[:THICK]) > 0.9).flatten(1).any(1)).all())
        assert bool(((centers(blocks[-BLOCKS.thin :]) > 0.9).flatten(1).any(1)).all())

    def test_refuses_a_crop_that_is_not_whole_slabs(self) -> None:
        with pytest.raises(ValueError, match="whole slabs of 3 slices, got 71"):
            sample_slab_blocks()(image=torch.zeros(1, 71, 20, 20), segmentation=torch.zeros(1, 71, 20, 20).short())

    def test_refuses_a_centre_that_is_not_whole_slabs(self) -> None:
        with pytest.raises(ValueError, match="a block's centre must be whole slabs of 4 slices, got 6"):
            SampleSlabBlocks(
                BlockSampling(1, 0.5, 0.0, 0.25),
                blocks=BLOCKS,
                block_size=BLOCK,
                center_size=CENTER,
                factor=4,
                ignore_label=None,
            )

    @pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 2, 2)])
    def test_refuses_no_blocks(self, counts: tuple[int, int, int]) -> None:
        with pytest.raises(ValueError, match="must be >= 0 and not all 0"):
            SlabBlocks(*counts)


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
        augmentation.transforms.append(sample_slab_blocks())
        np.random.seed(1)
        for _ in range(4):
            sample = augmentation(image=torch.randn(1, 36, 34, 34), segmentation=torch.zeros(1, 36, 34, 34).short())
            means = column_centers(sample["image"]).unflatten(2, (-1, FACTOR)).mean(3)
            torch.testing.assert_close(means, centers(sample["image"][: BLOCKS.columns]))


class TestAverageSlabs:
    def test_by_hand(self) -> None:
        image = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0]).view(1, 6, 1, 1)
        assert average_slabs(image, 3).flatten().tolist() == [3.0, 1.0]
