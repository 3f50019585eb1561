"""Find the places of a case worth looking at: its largest errors and its largest structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from scipy.ndimage import distance_transform_edt

from nnunetv2_cfseg.nnunet.classes import Classes

ERRORS = 8
NEIGHBOURS = 26


@dataclass(frozen=True)
class Finding:
    """A place in a scan, and what is there.

    Attributes:
        at: voxel (z, y, x) where the finding is thickest, in the axial slice that shows most of it.
        text: the finding in words, with its volume.
    """

    at: tuple[int, int, int]
    text: str


def shown_class(labels: np.ndarray, classes: Classes) -> np.ndarray:
    """The number of the class to show at each voxel, uint8: 1 is the first class, 0 is none.

    Where regions overlap, the one with the fewest labels is shown, and of two with equally many the later one: the
    enhancing part, not the whole tumour.
    """
    table = np.zeros(256, np.uint8)
    order = sorted(range(len(classes.foreground)), key=lambda i: -len(classes.foreground[i].values))
    for i in order:
        table[[value for value in classes.foreground[i].values if value < len(table)]] = i + 1
    return table[labels]


def largest_errors(
    truth: np.ndarray, prediction: np.ndarray, *, names: Sequence[str], spacing_mm: Sequence[float]
) -> tuple[Finding, ...]:
    """The largest connected pieces, at most eight, of a missed class, a false one, or one class taken for another.

    Args:
        truth: (z, y, x) class numbers from ``shown_class``.
        prediction: the same for the prediction; ignored voxels must be 0 in both.
        names: names of the classes.
        spacing_mm: (z, y, x).
    """
    pairs = np.where(truth == prediction, 0, truth.astype(np.uint16) * 256 + prediction).astype(np.uint16)

    def words(pair: int) -> str:
        true, predicted = pair // 256, pair % 256
        if predicted == 0:
            return f"{names[true - 1]} missed"
        if true == 0:
            return f"{names[predicted - 1]} where there is none"
        return f"{names[true - 1]} taken for {names[predicted - 1]}"

    return _largest_pieces(pairs, words, spacing_mm=spacing_mm, count=ERRORS)


def largest_structure(
    truth: np.ndarray | None, prediction: np.ndarray, *, names: Sequence[str], spacing_mm: Sequence[float]
) -> Finding | None:
    """The largest connected piece of a class in the truth, or in the prediction if the truth has none."""
    for labels, source in ((truth, "ground truth"), (prediction, "prediction")):
        if labels is None:
            continue
        words = ["", *(f"{name} ({source})" for name in names)]  # classes count from 1
        pieces = _largest_pieces(labels, words.__getitem__, spacing_mm=spacing_mm, count=1)
        if pieces:
            return pieces[0]
    return None


def _largest_pieces(
    labels: np.ndarray, words: Callable[[int], str], *, spacing_mm: Sequence[float], count: int
) -> tuple[Finding, ...]:
    """The ``count`` largest connected pieces of equal label except 0, largest first."""
    occupied = [np.flatnonzero(labels.any(axis)) for axis in ((1, 2), (0, 2), (0, 1))]
    if not len(occupied[0]):
        return ()
    box = tuple(slice(int(indices[0]), int(indices[-1]) + 1) for indices in occupied)
    labels = labels[box]
    pieces = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=NEIGHBOURS)
    statistics = cc3d.statistics(pieces)
    sizes = statistics["voxel_counts"][1:]
    findings = []
    for piece in np.argsort(-sizes.astype(np.int64), kind="stable")[:count] + 1:
        piece_box = statistics["bounding_boxes"][piece]
        mask = pieces[piece_box] == piece
        z, y, x = (
            int(inside + part.start + whole.start)
            for inside, part, whole in zip(thickest(mask, spacing_mm), piece_box, box, strict=True)
        )
        volume_ml = sizes[piece - 1] * float(np.prod(spacing_mm)) / 1000
        findings.append(Finding((z, y, x), f"{words(int(labels[piece_box][mask][0]))}, {volume_in_words(volume_ml)}"))
    return tuple(findings)


def thickest(mask: np.ndarray, spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    """The voxel (z, y, x) where a structure is thickest, in the axial slice that shows most of it."""
    z = int(mask.sum((1, 2)).argmax())
    depth = distance_transform_edt(np.pad(mask[z], 1), sampling=spacing_mm[1:])[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return z, int(y), int(x)


def volume_in_words(volume_ml: float) -> str:
    """A volume in ml, or below 0.1 ml in mm3, with one decimal below 10."""
    value, unit = (volume_ml, "ml") if volume_ml >= 0.1 else (1000 * volume_ml, "mm\N{SUPERSCRIPT THREE}")
    return f"{value:.{1 if value < 10 else 0}f}\N{NO-BREAK SPACE}{unit}"
