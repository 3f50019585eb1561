from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg.networks.patches import (
    Size3,
    as_size3,
    block_token_indices,
    center_token_indices,
    pad_for_blocks,
    patch_grid,
    patchify,
    unpatch_centers,
    unpatchify,
)

CPU = torch.device("cpu")
PROPERTY = settings(deadline=None, derandomize=True, max_examples=50)


def sizes(low: int, high: int) -> st.SearchStrategy[Size3]:
    return st.tuples(*[st.integers(low, high)] * 3)


@st.composite
def blocks_and_centers(draw: st.DrawFn) -> tuple[Size3, Size3]:
    """n and c with n - c even."""
    centers, halos = draw(sizes(1, 3)), draw(sizes(0, 2))
    z, y, x = (c + 2 * h for c, h in zip(centers, halos, strict=True))
    return (z, y, x), centers


@pytest.mark.parametrize(
    ("value", "expected"), [(4, (4, 4, 4)), ((1, 2, 3), (1, 2, 3)), ([1, 2, 3], (1, 2, 3)), ((2.0, 1, 1), (2, 1, 1))]
)
def test_as_size3_accepts_one_or_three_whole_numbers(value: object, expected: Size3) -> None:
    size = as_size3(value, "patch_size")
    assert size == expected
    assert all(type(v) is int for v in size)


@pytest.mark.parametrize("value", [0, -1, True, (1, 2), (1, 2, 3, 4), (1, 0, 1), (1, 2.5, 1), (1, True, 1)])
def test_as_size3_refuses_anything_else_by_name_and_value(value: object) -> None:
    with pytest.raises(ValueError, match="patch_size must be one or three whole numbers >= 1") as error:
        as_size3(value, "patch_size")
    assert str(error.value).endswith(f"got {value}")


def test_patchify_orders_patch_elements_by_channel_then_z_y_x() -> None:
    # Voxel (c, z, y, x) of this volume holds 16 c + 8 z + 4 y + x.
    volume = torch.arange(32).reshape(1, 2, 2, 2, 4)
    patches = patchify(volume, (2, 1, 2))
    assert patches.shape == (1, 1, 2, 2, 8)
    assert patches[0, 0, 0, 0].tolist() == [0, 1, 8, 9, 16, 17, 24, 25]
    assert patches[0, 0, 0, 1].tolist() == [2, 3, 10, 11, 18, 19, 26, 27]
    assert patches[0, 0, 1, 0].tolist() == [4, 5, 12, 13, 20, 21, 28, 29]
    assert patches[0, 0, 1, 1].tolist() == [6, 7, 14, 15, 22, 23, 30, 31]


@PROPERTY
@given(batch=st.integers(1, 3), channels=st.integers(1, 3), grid=sizes(1, 3), patch=sizes(1, 3))
def test_unpatchify_undoes_patchify(batch: int, channels: int, grid: Size3, patch: Size3) -> None:
    shape = (batch, channels, *(g * w for g, w in zip(grid, patch, strict=True)))
    volume = torch.arange(torch.Size(shape).numel()).reshape(shape)
    patches = patchify(volume, patch)
    assert patches.shape == (batch, *grid, channels * patch[0] * patch[1] * patch[2])
    assert torch.equal(unpatchify(patches, patch), volume)


def test_patchify_of_a_volume_that_is_not_contiguous() -> None:
    volume = torch.arange(24).reshape(1, 1, 4, 3, 2).permute(0, 1, 4, 3, 2)
    assert torch.equal(patchify(volume, (1, 3, 2)), patchify(volume.contiguous(), (1, 3, 2)))


def test_patchify_refuses_a_volume_of_broken_patches() -> None:
    with pytest.raises(ValueError, match=r"must be whole patches of \(2, 2, 2\) voxels \(z, y, x\), got \(4, 5, 4\)"):
        patchify(torch.zeros(1, 1, 4, 5, 4), (2, 2, 2))


def test_unpatchify_refuses_a_broken_patch() -> None:
    with pytest.raises(ValueError, match=r"must be whole patches of \(2, 2, 2\) voxels, got 12 values"):
        unpatchify(torch.zeros(1, 1, 1, 1, 12), (2, 2, 2))


@pytest.mark.parametrize("batch", [1, 2])
def test_unpatch_centers_puts_every_centre_where_it_was_cut_out(batch: int) -> None:
    grid, center, patch = (2, 1, 3), (1, 3, 2), (2, 2, 1)
    edges = (2, 6, 2)  # voxels of a centre
    volume = torch.arange(batch * 2 * 4 * 6 * 6).reshape(batch, 2, 4, 6, 6)
    cut_out = []
    for b, *block in product(range(batch), *map(range, grid)):
        z, y, x = (slice(place * edge, (place + 1) * edge) for place, edge in zip(block, edges, strict=True))
        cut_out.append(patchify(volume[b : b + 1, :, z, y, x], patch).flatten(1, 3))
    centers = torch.cat(cut_out)  # (blocks, 1 x 3 x 2 patches, 2 channels of 2 x 2 x 1 voxels)
    assert torch.equal(unpatch_centers(centers, batch, grid, center, patch), volume)


def test_patch_grid_counts_patches_along_each_axis() -> None:
    assert patch_grid((2, 9, 20), (1, 3, 5)) == (2, 3, 4)
    with pytest.raises(ValueError, match="must be whole patches"):
        patch_grid((2, 9, 21), (1, 3, 5))


def test_pad_for_blocks_by_hand() -> None:
    # z: 5 voxels, centre 2 x 1: filled up by 1 to 6; h = (3 - 1) / 2 = 1 patch of 2 on both sides: 2 + 5 + 3.
    # y: 4 voxels, centre 1 x 3: filled up by 2 to 6; h = (5 - 3) / 2 = 1 patch of 1: 1 + 4 + 3.
    # x: 6 voxels, centre 3 x 2: filled up by 0;      h = (2 - 2) / 2 = 0: nothing.
    volume = torch.arange(1.0, 121.0).reshape(1, 1, 5, 4, 6)
    padded = pad_for_blocks(volume, (2, 1, 3), (3, 5, 2), (1, 3, 2))
    expected = torch.zeros(1, 1, 2 + 5 + 3, 1 + 4 + 3, 6)
    expected[:, :, 2:7, 1:5] = volume
    assert torch.equal(padded, expected)


@PROPERTY
@given(shape=sizes(1, 9), patch=sizes(1, 3), block_center=blocks_and_centers())
def test_padded_centres_tile_the_volume_and_no_more(
    shape: Size3, patch: Size3, block_center: tuple[Size3, Size3]
) -> None:
    padded = pad_for_blocks(torch.ones(1, 1, *shape), patch, *block_center)
    assert padded.sum() == shape[0] * shape[1] * shape[2]
    for size, whole, w, n, c in zip(shape, padded.shape[2:], patch, *block_center, strict=True):
        centers = whole - (n - c) * w  # without the halo of h patches on both sides
        assert centers % (c * w) == 0
        assert size <= centers < size + c * w


@PROPERTY
@given(blocks=sizes(1, 3), block_center=blocks_and_centers())
def test_block_token_indices_equal_a_naive_loop(blocks: Size3, block_center: tuple[Size3, Size3]) -> None:
    block, center = block_center
    gz, gy, gx = ((k - 1) * c + n for k, n, c in zip(blocks, block, center, strict=True))
    expected = []
    for bz, by, bx in product(*map(range, blocks)):
        tokens = []
        for tz, ty, tx in product(*map(range, block)):
            z, y, x = bz * center[0] + tz, by * center[1] + ty, bx * center[2] + tx
            tokens.append(z * gy * gx + y * gx + x)
        expected.append(tokens)
    indices = block_token_indices((gz, gy, gx), block, center, CPU)
    assert indices.dtype == torch.int64
    assert indices.tolist() == expected


def test_block_token_indices_by_hand() -> None:
    # A grid of 1 x 2 x 4 patches numbered 0 1 2 3 / 4 5 6 7; blocks of 1 x 2 x 2 that start at x = 0, 1, 2.
    indices = block_token_indices((1, 2, 4), (1, 2, 2), (1, 2, 1), CPU)
    assert indices.tolist() == [[0, 1, 4, 5], [1, 2, 5, 6], [2, 3, 6, 7]]


@pytest.mark.parametrize(
    ("block", "center", "expected"),
    [
        ((1, 1, 1), (1, 1, 1), [0]),
        ((3, 3, 3), (1, 1, 1), [9 + 3 + 1]),
        # z, y, x in {1, 2}: 16 z + 4 y + x
        ((4, 4, 4), (2, 2, 2), [21, 22, 25, 26, 37, 38, 41, 42]),
        # z = 0, y in {0, 1}, x = 1: 6 z + 3 y + x
        ((1, 2, 3), (1, 2, 1), [1, 4]),
        ((2, 1, 2), (2, 1, 2), [0, 1, 2, 3]),
    ],
)
def test_center_token_indices_by_hand(block: Size3, center: Size3, expected: list[int]) -> None:
    assert center_token_indices(block, center) == expected


def test_centre_tokens_of_all_blocks_are_every_inner_patch_once() -> None:
    grid, block, center = (5, 6, 8), (3, 4, 5), (1, 2, 3)  # a halo of one patch
    indices = block_token_indices(grid, block, center, CPU)
    centers = indices[:, center_token_indices(block, center)].flatten()
    inner = torch.arange(5 * 6 * 8).reshape(grid)[1:-1, 1:-1, 1:-1].flatten()
    assert sorted(centers.tolist()) == inner.tolist()
