"""Segmenting one scan, from its voxels to labels on its own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunetv2_cfseg.inference.inference_plan import InferencePlan
from nnunetv2_cfseg.inference.intensity import intensity_of
from nnunetv2_cfseg.inference.lazy_volumes import Flipped, LazyVolume, Mean
from nnunetv2_cfseg.inference.logits_to_labels import interpolated_logits, label_slices
from nnunetv2_cfseg.inference.patch_rows import Foreground
from nnunetv2_cfseg.inference.resampled_scan import ResampledScan
from nnunetv2_cfseg.inference.resampling import AxisResampling, axis_maps, resampled_shape
from nnunetv2_cfseg.inference.rowwise_logits import CHUNK_BLOCKS, RowwiseLogits
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.beyond_scan import MODES

#: In blocks that show only air, the logit of background; all other logits are its negative.
SURE = 10.0


@dataclass(frozen=True)
class PredictionSettings:
    """How to predict.

    Attributes:
        chunk_blocks: blocks encoded at once.
        skip_air: skip blocks without a voxel that may be foreground; CT only.
        mirror_axes: average over all combinations of mirrors along these axes.
        shifts: average over this many grids of blocks, moved by fractions of a patch; 1 for one grid.
        beyond_scan: what blocks see beyond the ends of a scan; None for what the plans say.
        assume_hu: do not check that a CT is in HU.

    Raises:
        ValueError: a value is out of range.
    """

    chunk_blocks: int = CHUNK_BLOCKS
    skip_air: bool = True
    mirror_axes: tuple[int, ...] = ()
    shifts: int = 1
    beyond_scan: str | None = None
    assume_hu: bool = False

    def __post_init__(self) -> None:
        if self.chunk_blocks < 1:
            raise ValueError(f"chunk_blocks must be >= 1, got {self.chunk_blocks}")
        if self.shifts < 1:
            raise ValueError(f"shifts must be >= 1, got {self.shifts}")
        if self.beyond_scan is not None and self.beyond_scan not in MODES:
            raise ValueError(f"beyond_scan must be one of {', '.join(MODES)}, got {self.beyond_scan!r}")


def predict_volume(
    channels: Sequence[NDArray[Any]],
    spacing_mm: Sequence[float],
    networks: Sequence[BlockCenterTransformer],
    configuration: InferencePlan,
    settings: PredictionSettings,
    *,
    probabilities: NDArray[np.float32] | None = None,
    progress: Callable[[int], object] = lambda slices: None,
) -> NDArray[np.uint8 | np.uint16]:
    """Segment a scan.

    Args:
        channels: (Z, Y, X) each, as read, of any numeric type.
        spacing_mm: z, y, x.
        networks: whose logits are averaged.
        probabilities: (P, Z, Y, X), filled if given; slower, as all logits are interpolated.
        progress: called with the number of slices that were just finished.

    Returns:
        Labels (Z, Y, X), on the grid of the channels.

    Raises:
        ValueError: the normalisation is unknown, or the scan has no voxel on the grid of the plans.
    """
    transpose = configuration.transpose
    axes = [channel.transpose(transpose) for channel in channels]
    spacing_mm = [spacing_mm[axis] for axis in transpose]
    box = nonzero_box(axes)
    cropped = [channel[box] for channel in axes]
    to_plans, to_scan = _maps(cropped[0].shape, spacing_mm, configuration)
    intensities = [
        intensity_of(scheme, properties, channel)
        for scheme, properties, channel in zip(
            configuration.normalization, configuration.intensity_properties, cropped, strict=True
        )
    ]
    scan = ResampledScan(cropped, to_plans, intensities)
    logits = logits_of(scan, networks, settings, foreground_of(configuration) if settings.skip_air else None)
    depth = networks[0].center_size[0]
    labels = np.zeros(channels[0].shape, dtype=np.uint8 if max(configuration.label_values) < 256 else np.uint16)
    inside = labels.transpose(transpose)[box]
    if probabilities is None:
        pieces = label_slices(logits, to_scan, configuration.decision, depth=depth)
    else:
        outside = _probabilities(background_logits(configuration), configuration)
        probabilities[:] = outside[:, None, None, None]
        filled = probabilities.transpose(0, *(axis + 1 for axis in transpose))[(slice(None), *box)]
        pieces = _keep(interpolated_logits(logits, to_scan, depth=1), filled, configuration)
    for start, piece in pieces:
        inside[start : start + len(piece)] = piece.cpu().numpy()
        progress(len(piece))
    return labels


def shorter_than_block(
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    network: BlockCenterTransformer,
    configuration: InferencePlan,
) -> list[str]:
    """Describe the axes along which a scan is shorter than a block.

    Args:
        shape: z, y, x of the scan.
        spacing_mm: z, y, x.

    Returns:
        A phrase for each such axis, such as ``3 slices, 7.5 mm of the 24 mm that a block sees``.
    """
    phrases = []
    for axis, name in enumerate(("slices", "rows", "columns")):
        planned = configuration.transpose.index(axis)
        block_mm = network.seen_size[planned] * configuration.spacing_mm[planned]
        size_mm = shape[axis] * spacing_mm[axis]
        if size_mm < block_mm:
            count = f"{shape[axis]} {name if shape[axis] != 1 else name[:-1]}"
            phrases.append(f"{count}, {size_mm:g} mm of the {block_mm:.4g} mm that a block sees")
    return phrases


def logits_of(
    scan: LazyVolume,
    networks: Sequence[BlockCenterTransformer],
    settings: PredictionSettings,
    foreground: Foreground | None = None,
) -> LazyVolume:
    """Mean logits (P, Z, Y, X) over all networks, mirrors and grids of blocks, computed when they are read."""

    volumes: list[LazyVolume] = []
    for network in networks:
        beyond_scan = (
            network.beyond_scan if settings.beyond_scan is None else network.continued_by(settings.beyond_scan)
        )
        for axes in mirrors(settings.mirror_axes):
            for shift in grid_shifts(network, settings.shifts):
                logits = RowwiseLogits(
                    network,
                    Flipped(scan, axes) if axes else scan,
                    beyond_scan=beyond_scan,
                    shift=shift,
                    chunk_blocks=settings.chunk_blocks,
                    foreground=foreground,
                )
                volumes.append(Flipped(logits, axes) if axes else logits)
    return Mean(volumes)


def mirrors(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """All combinations of axes, the empty one first."""
    return list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))


def grid_shifts(network: BlockCenterTransformer, count: int) -> list[tuple[int, ...]]:
    """Voxels by which the grid of blocks is moved, along the diagonal of a patch."""
    return [tuple(round(step * w / count) for w in network.patch_size) for step in range(count)]


def foreground_of(configuration: InferencePlan) -> Foreground | None:
    """The range of normalised values of foreground; None if the plans do not say or a channel is not CT."""
    if configuration.foreground_hu is None or not configuration.is_ct:
        return None
    (low, high), properties = configuration.foreground_hu, configuration.intensity_properties
    return Foreground(
        [(low - channel["mean"]) / channel["std"] for channel in properties],
        [(high - channel["mean"]) / channel["std"] for channel in properties],
        background_logits(configuration).tolist(),
    )


def background_logits(configuration: InferencePlan) -> Tensor:
    """Logits (P,) of a network that is certain of background."""
    logits = torch.full((configuration.heads,), -SURE)
    if configuration.regions_class_order is None:
        logits[0] = SURE
    return logits


def nonzero_box(channels: Sequence[NDArray[Any]]) -> tuple[slice, slice, slice]:
    """The smallest box around all voxels that are nonzero in some channel, to which nnU-Net crops.

    If every voxel is zero, the box is the whole scan.
    """

    def first(axis: int, indices: range) -> int | None:
        planes = ((index, channel) for index in indices for channel in channels)
        return next((index for index, channel in planes if np.take(channel, index, axis).any()), None)

    box = []
    for axis, size in enumerate(channels[0].shape):
        start, last = first(axis, range(size)), first(axis, range(size - 1, -1, -1))
        box.append(slice(None) if start is None or last is None else slice(start, last + 1))
    z, y, x = box
    return z, y, x


def _maps(
    shape: Sequence[int], spacing_mm: Sequence[float], configuration: InferencePlan
) -> tuple[
    tuple[AxisResampling, AxisResampling, AxisResampling], tuple[AxisResampling, AxisResampling, AxisResampling]
]:
    """Maps from a scan's grid to the grid of the plans, and back.

    Raises:
        ValueError: the scan has no voxel on the grid of the plans.
    """
    grid = resampled_shape(shape, spacing_mm, configuration.spacing_mm)
    if 0 in grid:
        raise ValueError(
            f"a scan must be at least half a voxel of the plans along each axis, {configuration.spacing_mm} mm, got "
            f"{tuple(size * mm for size, mm in zip(shape, spacing_mm, strict=True))} mm"
        )
    images, logits = configuration.force_separate_z
    there = axis_maps(shape, grid, old_spacing_mm=spacing_mm, new_spacing_mm=configuration.spacing_mm,
        force_separate_z=images)  # fmt: skip
    back = axis_maps(grid, shape, old_spacing_mm=configuration.spacing_mm, new_spacing_mm=spacing_mm,
        force_separate_z=logits)  # fmt: skip
    return there, back


def _keep(
    pieces: Iterator[tuple[int, Tensor]], probabilities: NDArray[np.float32], configuration: InferencePlan
) -> Iterator[tuple[int, Tensor]]:
    """Turn pieces of logits into labels, and write their probabilities into an array."""
    for start, logits in pieces:
        probabilities[:, start : start + logits.shape[1]] = _probabilities(logits, configuration)
        yield start, configuration.decision(logits)


def _probabilities(logits: Tensor, configuration: InferencePlan) -> NDArray[np.float32]:
    regions = configuration.regions_class_order is not None
    return (torch.sigmoid(logits) if regions else torch.softmax(logits, 0)).cpu().numpy()
