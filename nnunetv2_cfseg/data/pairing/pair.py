"""Makes one pair: a thin scan and its thick annotation on the same grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_cfseg.data.pairing.align import onto_plane
from nnunetv2_cfseg.data.pairing.provenance import image_resampling, label_resampling, left_out
from nnunetv2_cfseg.data.pairing.scans import AXES, Labels, Scan, read_labels, read_scan, read_thick_hu
from nnunetv2_cfseg.data.pairing.settings import THIN, PairSettings
from nnunetv2_cfseg.data.pairing.shift import check_shift, measure_shift
from nnunetv2_cfseg.data.pairing.slabs import resample_slabs
from nnunetv2_cfseg.data.pairing.sources import Source
from nnunetv2_cfseg.data.pairing.swapped import check_not_swapped
from nnunetv2_cfseg.data.pairing.thick_labels import Slabs, lay_slabs
from nnunetv2_cfseg.data.pairing.thin_labels import common_slices, whole_slabs
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.slabs import annotate_slabs


@dataclass(frozen=True)
class Pair:
    """A thin scan and its thick annotation.

    Attributes:
        grid: of the thin scan, with S * factor slices.
        image: (S * factor, Y, X) HU.
        annotation: (S, Y, X) thick labels.
        truth: (S * factor, Y, X) thin labels; None if they are unknown.
        made: how it was made, ready for JSON.
    """

    grid: VolumeGeometry
    image: np.ndarray
    annotation: np.ndarray
    truth: np.ndarray | None
    made: Mapping[str, Any]


def make_pair(source: Source, settings: PairSettings) -> Pair:
    """Read a case and put it on one grid.

    Raises:
        ValueError: a file cannot be read or has wrong content, or the case cannot be aligned; the message has the rule,
            the value and the file.
    """
    scan, labels = _read(source, settings)
    if settings.labels == THIN:
        return _from_thin_labels(scan, labels, settings)
    slabs = _slabs(scan, labels, settings)
    correlation = (
        None if source.thick_image is None else _check_thick(source.thick_image, scan, labels, slabs, settings)
    )
    return _from_thick_labels(scan, labels, slabs, settings, correlation=correlation)


def _read(source: Source, settings: PairSettings) -> tuple[Scan, Labels]:
    try:
        scan = read_scan(source.image, settings.order, assume_hu=settings.assume_hu)
        return scan, read_labels(source.label, scan.grid, settings)
    except ValueError:
        check_not_swapped(source)
        raise


def _from_thin_labels(scan: Scan, labels: Labels, settings: PairSettings) -> Pair:
    in_scan, in_labels = common_slices(labels.placement, file=labels.file)
    annotated = labels.foreground.sum(axis=(1, 2))[in_labels.start : in_labels.stop]
    kept = whole_slabs(annotated, settings.factor, ascends=scan.grid.ascends, file=labels.file)
    in_scan, in_labels = (slices[kept.start : kept.stop] for slices in (in_scan, in_labels))
    truth = onto_plane(labels.values[in_labels.start : in_labels.stop], labels.placement)
    annotation = annotate_slabs(truth, settings.factor, threshold=settings.simulated_threshold, ignore=settings.ignore)
    _check_known(annotation, truth, settings.ignore, file=labels.file)
    grid = scan.grid.with_slices(in_scan.start, scan.grid.spacing_mm[0], len(in_scan))
    made = {
        **_made(grid, annotation, labels, settings),
        "left_out": left_out(scan.grid, (in_scan.start, in_scan.stop), labels, in_labels),
        "resampled": label_resampling(labels, scan.grid),
    }
    return Pair(grid, scan.hu[in_scan.start : in_scan.stop], annotation, truth, made)


def _check_known(annotation: np.ndarray, truth: np.ndarray, ignore: int | None, *, file: Path) -> None:
    """Refuse a case whose thick labels are all unknown because too many thin ones are."""
    if ignore is not None and (annotation == ignore).all():
        raise ValueError(
            f"a voxel of some slab must be known well enough to be marked or not, and "
            f"{(truth == ignore).mean():.0%} of the thin ones are to be ignored: {file}"
        )


def _slabs(scan: Scan, labels: Labels, settings: PairSettings) -> Slabs:
    return lay_slabs(
        labels.placement,
        labels.foreground.sum(axis=(1, 2)),
        factor=settings.factor,
        spacing_mm=labels.grid.spacing_mm[0],
        thickness_mm=settings.thickness_mm,
        ascends=scan.grid.ascends,
        file=labels.file,
    )


def _check_thick(file: Path, scan: Scan, labels: Labels, slabs: Slabs, settings: PairSettings) -> float | None:
    """Check the thick scan's place; return its correlation with the thin one's averages, None if one is constant."""
    hu = read_thick_hu(file, labels, settings.order, assume_hu=settings.assume_hu)
    thick = onto_plane(hu[list(slabs.taken)], labels.placement)
    shift = measure_shift(scan.hu, thick, slabs.edges, most=settings.factor)
    check_shift(shift, slice_mm=scan.grid.spacing_mm[0], most=settings.factor, file=file)
    return shift.correlation


def _from_thick_labels(
    scan: Scan, labels: Labels, slabs: Slabs, settings: PairSettings, *, correlation: float | None
) -> Pair:
    grid, image = _on_slabs(scan, slabs)
    annotation = onto_plane(labels.values[list(slabs.taken)], labels.placement)
    made = {
        **_made(grid, annotation, labels, settings),
        "left_out": left_out(scan.grid, (float(slabs.edges[0]), float(slabs.edges[-1])), labels, slabs.taken),
        "resampled": image_resampling(scan.grid, grid, slabs) + label_resampling(labels, scan.grid),
        "thick_image_correlation": correlation,
    }
    return Pair(grid, image, annotation, None, made)


def _on_slabs(scan: Scan, slabs: Slabs) -> tuple[VolumeGeometry, np.ndarray]:
    """The scan on the slabs' slices: its own slices if they fit, else averages over the new ones."""
    whole = slabs.whole
    if whole is not None:
        grid = scan.grid.with_slices(whole.start, scan.grid.spacing_mm[0], len(whole))
        return grid, scan.hu[whole.start : whole.stop]
    edges = slabs.thin_edges()
    image = resample_slabs(scan.hu, edges)
    if np.issubdtype(scan.hu.dtype, np.integer):
        image = np.rint(image).astype(scan.hu.dtype)
    spacing_mm = float(edges[1] - edges[0]) * scan.grid.spacing_mm[0]
    return scan.grid.with_slices(float(edges[0]), spacing_mm, len(image)), image


def _made(grid: VolumeGeometry, annotation: np.ndarray, labels: Labels, settings: PairSettings) -> dict[str, Any]:
    z, y, x = grid.spacing_mm
    values = [value for value in np.unique(annotation).tolist() if value not in (0, settings.ignore)]
    return {
        "slabs": len(annotation),
        "thin": {"slices": grid.shape[0], "spacing_mm": [z, y, x]},
        "thick": {
            "slices": len(annotation),
            "spacing_mm": [z * settings.factor, y, x],
            "thickness_mm": settings.thickness_mm or z * settings.factor,
        },
        "values": values,
        "flipped": [AXES[axis] for axis in labels.placement.flips],
    }
