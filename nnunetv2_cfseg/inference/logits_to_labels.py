"""From logits to labels on the scan's own grid, a few slices at a time.

nnU-Net resamples the logits of all classes and then takes the greatest. If one class is the greatest at all eight
corners of a cell, it is the greatest everywhere between them, because linear interpolation is a weighted mean: the
difference of its logit to any other is positive at all eight corners, hence in any mean of them. So only voxels between
different labels are interpolated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from nnunetv2_cfseg.inference.lazy_volumes import LazyVolume
from nnunetv2_cfseg.inference.resampling import AxisResampling

#: Voxels interpolated at once.
CHUNK_VOXELS = 2**19


@dataclass(frozen=True)
class LogitsToLabels:
    """How logits become labels.

    Attributes:
        region_labels: the label of each of nnU-Net's regions, where later ones overwrite earlier ones
            (``regions_class_order``); None if labels exclude each other and the greatest logit decides.
    """

    region_labels: Sequence[int] | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """Turn logits (P, ...) into labels (...), int16."""
        if self.region_labels is not None:
            labels = torch.zeros(logits.shape[1:], dtype=torch.int16, device=logits.device)
            for region, label in zip(logits, self.region_labels, strict=True):
                labels[region > 0] = label
            return labels
        # Class by class: torch's argmax over the first axis is many times slower on a CPU.
        greatest, labels = logits[0], torch.zeros(logits.shape[1:], dtype=torch.int16, device=logits.device)
        for label in range(1, len(logits)):
            labels.masked_fill_(logits[label] > greatest, label)
            greatest = torch.maximum(greatest, logits[label])
        return labels


def label_slices(
    logits: LazyVolume,
    maps: tuple[AxisResampling, AxisResampling, AxisResampling],
    decision: LogitsToLabels,
    *,
    depth: int,
) -> Iterator[tuple[int, Tensor]]:
    """Labels on a resampled grid.

    Args:
        logits: (P, Z, Y, X).
        maps: from the grid of the logits to the other, for each axis.
        depth: slices of logits to work on at once.

    Yields:
        The first slice, and labels (slices, Y, X) int16, in order.
    """
    for start, window, z in _windows(logits, maps[0], depth):
        with torch.inference_mode():
            yield start, resample_labels(window, (z, *maps[1:]), decision)


def interpolated_logits(
    logits: LazyVolume, maps: tuple[AxisResampling, AxisResampling, AxisResampling], *, depth: int
) -> Iterator[tuple[int, Tensor]]:
    """All logits on a resampled grid, from which probabilities are computed.

    Yields:
        The first slice, and logits (P, slices, Y, X), in order.
    """
    for start, window, z in _windows(logits, maps[0], depth):
        with torch.inference_mode():
            for axis, part in enumerate((z, *maps[1:]), start=1):
                on_device = part.to(window.device)
                shape = [-1 if other == axis else 1 for other in range(4)]
                before, after = (window.index_select(axis, index) for index in (on_device.first, on_device.second))
                window = torch.lerp(before, after, on_device.weight.view(shape))
            yield start, window


def resample_labels(
    logits: Tensor, maps: tuple[AxisResampling, AxisResampling, AxisResampling], decision: LogitsToLabels
) -> Tensor:
    """Labels of linearly resampled logits.

    Args:
        logits: (P, Z, Y, X).

    Returns:
        (Z', Y', X') int16, equal to deciding after resampling.
    """
    coarse = decision(logits)
    z, y, x = (axis.to(logits.device) for axis in maps)
    labels = _nearest_before(coarse, z, y, x)
    if not any(axis.interpolates for axis in maps):
        return labels
    mixed = torch.nonzero(_nearest_before(_is_mixed(coarse), z, y, x))
    for chunk in mixed.split(CHUNK_VOXELS):
        indices = chunk.unbind(1)
        labels[indices] = decision(_interpolate(logits, (z, y, x), indices))
    return labels


def _windows(logits: LazyVolume, axis: AxisResampling, depth: int) -> Iterator[tuple[int, Tensor, AxisResampling]]:
    """For each run of new slices: the first of them, the old slices around them, and the map from old to new."""
    for start, stop in _stretches(axis, depth):
        z = AxisResampling(axis.first[start:stop], axis.second[start:stop], axis.weight[start:stop])
        low, high = int(z.first.min()), int(z.second.max()) + 1
        yield start, logits.read(low, high), AxisResampling(z.first - low, z.second - low, z.weight)


def _stretches(axis: AxisResampling, depth: int) -> Iterator[tuple[int, int]]:
    """Runs of new samples whose second old sample lies in the same group of ``depth``, as (start, stop)."""
    ends = axis.second // depth
    start = 0
    for stop in range(1, axis.size + 1):
        if stop == axis.size or ends[stop] != ends[start]:
            yield start, stop
            start = stop


def _nearest_before(coarse: Tensor, z: AxisResampling, y: AxisResampling, x: AxisResampling) -> Tensor:
    return coarse.index_select(0, z.first).index_select(1, y.first).index_select(2, x.first)


def _is_mixed(labels: Tensor) -> Tensor:
    """(Z, Y, X) bool: whether the cell of eight voxels that starts at a voxel holds different labels."""
    mixed = torch.zeros_like(labels, dtype=torch.bool)
    for axis in range(3):
        size = labels.shape[axis] - 1
        here, after = labels.narrow(axis, 0, size), labels.narrow(axis, 1, size)
        # Going along one axis after another, a difference between any two of the eight voxels is noticed.
        differs = (here != after) | mixed.narrow(axis, 1, size)
        mixed.narrow(axis, 0, size).logical_or_(differs)
    return mixed


def _interpolate(logits: Tensor, maps: Sequence[AxisResampling], indices: Sequence[Tensor]) -> Tensor:
    """Interpolate logits (P, Z, Y, X) at M voxels of the new grid, given their indices along each axis: (P, M)."""
    _, size_y, size_x = logits.shape[1:]
    corners: list[Any] = [
        ((axis.first[index], 1 - axis.weight[index]), (axis.second[index], axis.weight[index]))
        for axis, index in zip(maps, indices, strict=True)
    ]
    flat = logits.flatten(1)
    total = torch.zeros(len(flat), len(indices[0]), device=logits.device)
    for (z, weight_z), (y, weight_y), (x, weight_x) in product(*corners):
        index = (z * size_y + y) * size_x + x
        total += flat[:, index] * (weight_z * weight_y * weight_x)
    return total
