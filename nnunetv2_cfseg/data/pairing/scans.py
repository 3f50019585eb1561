"""Reads a case's files, and checks what they must be to make a pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.data.pairing.align import Placement, locate
from nnunetv2_cfseg.data.pairing.settings import PairSettings
from nnunetv2_cfseg.imaging import read
from nnunetv2_cfseg.imaging.geometry import Volume, VolumeGeometry
from nnunetv2_cfseg.imaging.hounsfield import check_hounsfield
from nnunetv2_cfseg.imaging.labels import check_labels

AXES = "zyx"


@dataclass(frozen=True)
class Scan:
    """A CT.

    Attributes:
        file: that it was read from.
        grid: where its voxels lie.
        hu: (Z, Y, X).
    """

    file: Path
    grid: VolumeGeometry
    hu: np.ndarray


@dataclass(frozen=True)
class Labels:
    """What was annotated on a scan, or on thick slices of it.

    Attributes:
        file: that it was read from.
        grid: as in the file.
        values: (Z, Y, X), flipped to the scan's directions.
        foreground: (Z, Y, X) bool, neither background nor ignored.
        placement: on the scan.
    """

    file: Path
    grid: VolumeGeometry
    values: np.ndarray
    foreground: np.ndarray
    placement: Placement


def read_scan(file: Path, order: str | None = None, *, assume_hu: bool = False) -> Scan:
    """Read a CT.

    Args:
        order: storage order to which it is turned; None leaves it as it is stored.
        assume_hu: do not check whether its values are HU.

    Raises:
        ValueError: it cannot be read, is not in HU, or its slices do not follow one another from feet to head.
    """
    volume = _turned(read.read_scan(file), order)
    read.check_slice_axis(volume.geometry, file)
    hu = volume.values
    check_hounsfield(hu, file, assume_hu=assume_hu)
    return Scan(file, volume.geometry, hu if hu.dtype.itemsize <= 4 else hu.astype(np.float32))


def read_labels(file: Path, scan: VolumeGeometry, settings: PairSettings) -> Labels:
    """Read the labels, and find where they lie on their scan.

    Raises:
        ValueError: they cannot be read, hold other values, are rotated relative to the scan, reach beyond it, or do not
            cover its pixels.
    """
    volume = _turned(read.read_volume(file), settings.order)
    grid, values = volume.geometry, volume.values
    read.check_slice_axis(grid, file)
    check_labels(values, set(settings.values), file)
    placement = locate(grid, scan, file=file)
    values = np.flip(values, placement.flips).astype(np.uint8 if max(settings.values) < 256 else np.uint16)
    foreground = values != 0 if settings.ignore is None else (values != 0) & (values != settings.ignore)
    labels = Labels(file, grid, values, foreground, placement)
    for axis in range(3):
        _check_nothing_outside(labels, scan, axis)
    for axis in (1, 2):
        _check_covers(labels, scan, axis)
    return labels


def read_thick_hu(file: Path, labels: Labels, order: str | None = None, *, assume_hu: bool = False) -> np.ndarray:
    """Read the thick scan that was annotated: (Z, Y, X) HU, on the same voxels as the labels' ``values``.

    Args:
        order: as in :func:`read_scan`.
        assume_hu: as in :func:`read_scan`.

    Raises:
        ValueError: it cannot be read, is not in HU, or is not on the labels' grid.
    """
    thick = read_scan(file, order, assume_hu=assume_hu)
    placement = locate(labels.grid, thick.grid, file=labels.file)
    if not all(placement.is_same(axis) for axis in range(3)):
        raise ValueError(
            f"a thick annotation must have the grid of the thick scan it was drawn on ({_describe(thick.grid)}), got "
            f"{_describe(labels.grid)}: {labels.file}"
        )
    return np.flip(thick.hu, tuple({*placement.flips} ^ {*labels.placement.flips}))


def _turned(volume: Volume, order: str | None) -> Volume:
    return volume if order is None else volume.turned(order)


def _check_nothing_outside(labels: Labels, scan: VolumeGeometry, axis: int) -> None:
    """Refuse annotated voxels beyond the scan; other voxels may lie there."""
    beyond = labels.placement.outside(axis)
    others = tuple(other for other in range(3) if other != axis)
    annotated = np.where(beyond > 0, labels.foreground.sum(axis=others), 0)
    if annotated.any():
        far_mm = beyond[annotated > 0].max() * scan.spacing_mm[axis]
        raise ValueError(
            f"annotations must lie in the scan, and {annotated.sum()} of {labels.foreground.sum()} annotated voxels "
            f"lie beyond it along {AXES[axis]}, by up to {far_mm:.4g} mm: {labels.file}"
        )


def _check_covers(labels: Labels, scan: VolumeGeometry, axis: int) -> None:
    """Refuse an annotation that ends more than half of its own pixel before the centre of a scan's pixel."""
    uncovered = labels.placement.uncovered(axis)
    if uncovered > 0.5 + labels.placement.ratio[axis] / 2:
        raise ValueError(
            f"an annotation must cover the scan's rows and columns, as nobody annotated the rest, and "
            f"{uncovered * scan.spacing_mm[axis]:.4g} mm along {AXES[axis]} are not covered: {labels.file}"
        )


def _describe(grid: VolumeGeometry) -> str:
    size, spacing, origin = (
        " x ".join(f"{number:.6g}" for number in numbers)
        for numbers in (grid.shape[::-1], grid.spacing_mm[::-1], grid.origin_mm)
    )
    return f"{size} voxels of {spacing} mm from {origin}"
