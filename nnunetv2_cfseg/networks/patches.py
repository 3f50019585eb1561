"""Volumes to patches and back (Eq. 1 and 2), and which patches each block holds.

Shapes: B volumes, C channels, Z Y X voxels; g patches an axis, w voxels a patch, n patches a block, c patches a
centre, so a block holds N = n_z n_y n_x tokens and reaches h = (n - c) / 2 patches past its centre on every side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from numbers import Real

import torch
from torch import Tensor

from nnunetv2_cfseg.networks.beyond_scan import ZEROS, BeyondScan

Size3 = tuple[int, int, int]


def as_size3(value: int | Sequence[int], name: str) -> Size3:
    """Return ``value`` as three positive ints (Z, Y, X); a single int is used for all axes.

    Raises:
        ValueError: not one or three whole numbers >= 1.
    """
    values = tuple(value) if isinstance(value, Iterable) else (value,) * 3
    if len(values) != 3 or not all(_is_count(v) for v in values):
        raise ValueError(f"{name} must be one or three whole numbers >= 1 (z, y, x), got {value!r}")
    z, y, x = (int(v) for v in values)
    return z, y, x


def _is_count(value: object) -> bool:
    """Whether ``value`` is a whole number >= 1; JSON may have made it a float."""
    return isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer() and float(value) >= 1


def patchify(volume: Tensor, patch_size: Size3) -> Tensor:
    """Cut a volume into non-overlapping patches and flatten each (Eq. 2).

    Args:
        volume: (B, C, g_z w_z, g_y w_y, g_x w_x).
        patch_size: w, voxels of a patch along z, y, x.

    Returns:
        (B, g_z, g_y, g_x, C w_z w_y w_x).

    Raises:
        ValueError: the volume is not whole patches.
    """
    grid = patch_grid(volume.shape[2:], patch_size)
    b, c = volume.shape[:2]
    (gz, gy, gx), (wz, wy, wx) = grid, patch_size
    patches = volume.reshape(b, c, gz, wz, gy, wy, gx, wx)
    patches = patches.permute(0, 2, 4, 6, 1, 3, 5, 7)  # (B, gz, gy, gx, C, wz, wy, wx)
    return patches.reshape(b, gz, gy, gx, c * wz * wy * wx)


def unpatchify(patches: Tensor, patch_size: Size3) -> Tensor:
    """Inverse of :func:`patchify`: (B, g_z, g_y, g_x, C w_z w_y w_x) to (B, C, g_z w_z, g_y w_y, g_x w_x).

    Raises:
        ValueError: the last axis is not whole patches of ``patch_size``.
    """
    b, gz, gy, gx, length = patches.shape
    wz, wy, wx = patch_size
    if length % (wz * wy * wx):
        raise ValueError(f"a flat patch must be whole patches of {patch_size} voxels, got {length} values")
    volume = patches.reshape(b, gz, gy, gx, -1, wz, wy, wx)
    volume = volume.permute(0, 4, 1, 5, 2, 6, 3, 7)  # (B, C, gz, wz, gy, wy, gx, wx)
    return volume.reshape(b, -1, gz * wz, gy * wy, gx * wx)


def unpatch_centers(
    centers: Tensor, batch: int, grid: tuple[int, ...], center_patches: Size3, patch_size: Size3
) -> Tensor:
    """(B blocks, Q, V w^3), blocks and tokens in z, y, x order, to (B, V, Z, Y, X)."""
    (gz, gy, gx), (cz, cy, cx) = grid, center_patches
    patches = centers.reshape(batch, gz, gy, gx, cz, cy, cx, -1)
    patches = patches.permute(0, 1, 4, 2, 5, 3, 6, 7)  # (B, gz, cz, gy, cy, gx, cx, V w^3)
    return unpatchify(patches.reshape(batch, gz * cz, gy * cy, gx * cx, -1), patch_size)


def patch_grid(shape: tuple[int, ...] | torch.Size, patch_size: Size3) -> Size3:
    """Number of patches along z, y, x of a volume of ``shape``.

    Raises:
        ValueError: the volume is not whole patches.
    """
    if any(size % w for size, w in zip(shape, patch_size, strict=True)):
        raise ValueError(f"the volume must be whole patches of {patch_size} voxels (z, y, x), got {tuple(shape)}")
    gz, gy, gx = (size // w for size, w in zip(shape, patch_size, strict=True))
    return gz, gy, gx


def pad_for_blocks(
    volume: Tensor,
    patch_size: Size3,
    block_patches: Size3,
    center_patches: Size3,
    beyond_scan: BeyondScan = ZEROS,
    *,
    zeros_end_it: bool = False,
) -> Tensor:
    """Continue a volume so that centres tile it and each of them has its whole block around it.

    The end of each axis is padded to whole centres, then h patches are added on both sides. See
    :meth:`.BeyondScan.extend` for ``zeros_end_it``.
    """
    pads = block_pads(volume.shape[2:], patch_size, block_patches, center_patches)
    return beyond_scan.extend(volume, pads, zeros_end_it=zeros_end_it)


def block_pads(
    shape: Sequence[int], patch_size: Size3, block_patches: Size3, center_patches: Size3
) -> list[tuple[int, int]]:
    """Voxels that :func:`pad_for_blocks` adds before and behind each axis."""
    pads = []
    for size, w, n, c in zip(shape, patch_size, block_patches, center_patches, strict=True):
        halo = (n - c) // 2 * w
        pads.append((halo, halo + -size % (c * w)))
    return pads


def block_token_indices(grid: Size3, block_patches: Size3, center_patches: Size3, device: torch.device) -> Tensor:
    """The flat indices of the tokens of every block on a padded patch grid.

    Blocks start every c patches, so that their centres tile the grid without its halo.

    Args:
        grid: patches of the padded volume along z, y, x.

    Returns:
        (blocks, N) int64, blocks and tokens both in z, y, x order.
    """
    per_axis = []
    for g, n, c in zip(grid, block_patches, center_patches, strict=True):
        starts = torch.arange(0, g - n + 1, c, device=device)
        per_axis.append(starts[:, None] + torch.arange(n, device=device))  # (blocks on this axis, n)
    iz, iy, ix = per_axis
    z = iz[:, None, None, :, None, None]
    y = iy[None, :, None, None, :, None]
    x = ix[None, None, :, None, None, :]
    flat = (z * grid[1] + y) * grid[2] + x
    return flat.reshape(len(iz) * len(iy) * len(ix), -1)


def center_token_indices(block_patches: Size3, center_patches: Size3) -> list[int]:
    """Positions of the centre's tokens among the N tokens of a block, in z, y, x order."""
    _, ny, nx = block_patches
    middles = [range((n - c) // 2, (n - c) // 2 + c) for n, c in zip(block_patches, center_patches, strict=True)]
    return [(z * ny + y) * nx + x for z, y, x in product(*middles)]
