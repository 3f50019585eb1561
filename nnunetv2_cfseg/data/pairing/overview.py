"""Draws a picture of a pair: thin scan, average of its slabs, and annotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunetv2_cfseg.data.pairing.pair import Pair
from nnunetv2_cfseg.imaging.slabs import average_slabs

COLUMNS = ("thin", "average of {factor} thin slices", "annotation")
WITHOUT_ANNOTATION_HU = (-160.0, 240.0)
#: Added to the range of the annotated voxels.
WINDOW_MARGIN_HU = 40.0
WIDEST_HU = 400.0
#: Air is below; axial pictures are cropped to the rest.
BODY_HU = -300
GREYS = 48
OPACITY = 0.5
#: Fewest slabs in the view from the front.
SLABS_SEEN = 8
MARGIN, BODY_MARGIN = 0.25, 0.05
PANEL_INCHES, TITLE_INCHES, GAP_INCHES, DPI = 2.5, 0.25, 0.06, 100
TALLEST = 1.3


@dataclass(frozen=True)
class _View:
    """One slice of a pair: HU, HU of the slabs' averages, labels, and whether the thin truth is foreground."""

    image: np.ndarray
    thick: np.ndarray
    labels: np.ndarray
    truth: np.ndarray | None
    pixel_mm: tuple[float, float]


def draw_pair(pair: Pair, *, title: str = "") -> Figure:
    """Draw an axial slice through the largest annotation, and below it a view from the front with the slabs.

    The head is on top, the patient's right on the left. Thin labels, if they are known, are outlined in white.
    """
    factor = len(pair.image) // len(pair.annotation)
    views = _views(pair, factor)
    figure, axes = _panels([_height(view) for view in views], title)
    window = _window(
        np.concatenate([view.thick.ravel() for view in views]), np.concatenate([view.labels.ravel() for view in views])
    )
    for row, view in zip(axes, views, strict=True):
        grey, average = _grey(view.image, window), _grey(view.thick, window)
        for panel, picture in zip(row, (grey, average, _coloured(grey, view.labels)), strict=True):
            _show(panel, picture, view.pixel_mm)
        if view.truth is not None and view.truth.any():
            row[-1].contour(view.truth, [0.5], colors="white", linewidths=0.6)
    for panel in axes[1]:
        _slab_edges(panel, len(views[1].image), factor)
    for panel, text in zip(axes[0], COLUMNS, strict=True):
        panel.set_title(text.format(factor=factor), color="white", fontsize=8, pad=2)
    return figure


def write_overview(pair: Pair, file: Path, *, title: str = "") -> None:
    """Draw a pair into a PNG file."""
    draw_pair(pair, title=title).savefig(file, dpi=DPI)


def _views(pair: Pair, factor: int) -> tuple[_View, _View]:
    """The axial view, and the coronal view around the annotation."""
    along = np.diag(np.reshape(pair.grid.direction, (3, 3)))[::-1]
    flips = tuple(axis for axis in range(3) if (along[axis] < 0) != (axis == 0))
    image, annotation = np.flip(pair.image, flips), np.flip(pair.annotation, flips)
    truth = None if pair.truth is None else np.flip(pair.truth, flips) > 0
    thick, labels = (np.repeat(volume, factor, axis=0) for volume in (average_slabs(image, factor), annotation))
    z = int((annotation > 0).sum(axis=(1, 2)).argmax()) if annotation.any() else len(annotation) // 2
    y = int((labels > 0).sum(axis=(0, 2)).argmax()) if annotation.any() else labels.shape[1] // 2
    rows, columns = _around(labels[:, y] > 0, slab=factor)
    dz, dy, dx = pair.grid.spacing_mm

    def view(cut: Callable[[np.ndarray], np.ndarray], pixel_mm: tuple[float, float]) -> _View:
        return _View(cut(image), cut(thick), cut(labels), None if truth is None else cut(truth), pixel_mm)

    slice_index = z * factor + factor // 2
    body = _body(thick[slice_index])
    axial = view(lambda volume: volume[slice_index][body], (dy, dx))
    return axial, view(lambda volume: volume[rows, y, columns], (dz, dx))


def _around(mask: np.ndarray, *, slab: int) -> tuple[slice, slice]:
    """Rows, in whole slabs, and columns of the annotation, with a margin."""
    if not mask.any():
        return slice(None), slice(None)
    top, bottom = _ends(mask.sum(axis=1), least=SLABS_SEEN * slab)
    left, right = _ends(mask.sum(axis=0), least=mask.shape[1] // 3)
    return slice(top // slab * slab, -(-bottom // slab) * slab), slice(left, right)


def _body(hu: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of what is not air."""
    body = hu > BODY_HU
    if not body.any():
        return slice(None), slice(None)
    ends = (_ends(body.sum(axis=axis), least=1, margin=BODY_MARGIN) for axis in (1, 0))
    rows, columns = (slice(*pair) for pair in ends)
    return rows, columns


def _ends(counts: np.ndarray, *, least: int, margin: float = MARGIN) -> tuple[int, int]:
    occupied = np.flatnonzero(counts)
    first, last = int(occupied[0]), int(occupied[-1])
    half = max((last - first + 1) * (0.5 + margin), least / 2)
    middle = (first + last + 1) / 2
    return max(0, int(middle - half)), min(len(counts), int(middle + half + 1))


def _window(thick: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The range of the annotated voxels in HU, limited so that soft tissue stays visible.

    It is the range of the class with the median HU, the softer one of two, so that bone does not leave others black.
    """
    classes = np.unique(labels[labels > 0])
    if not len(classes):
        return WITHOUT_ANNOTATION_HU
    ranges = sorted(np.percentile(thick[labels == label], (50, 5, 95)).tolist() for label in classes)
    middle, low, high = ranges[(len(ranges) - 1) // 2]
    widest = WIDEST_HU / 2
    return max(low - WINDOW_MARGIN_HU, middle - widest), min(high + WINDOW_MARGIN_HU, middle + widest)


def _grey(hu: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """(rows, columns, 3) from 0 to 1, in few steps so that the picture compresses despite its noise."""
    low, high = window
    grey = np.rint(np.clip((hu - low) / (high - low), 0, 1) * (GREYS - 1)) / (GREYS - 1)
    return np.repeat(grey[..., None], 3, axis=-1)


def _coloured(grey: np.ndarray, labels: np.ndarray) -> np.ndarray:
    colours = np.array(matplotlib.colormaps["tab10"].colors)  # type: ignore[attr-defined]
    mixed = (1 - OPACITY) * grey + OPACITY * colours[(labels.astype(int) - 1) % len(colours)]
    return np.where(labels[..., None] > 0, mixed, grey)


def _height(view: _View) -> float:
    """Height of a view, in units of its width."""
    rows, columns = view.image.shape
    return min(TALLEST, rows * view.pixel_mm[0] / (columns * view.pixel_mm[1]))


def _panels(heights: list[float], title: str) -> tuple[Figure, list[list[Axes]]]:
    width = len(COLUMNS) * (PANEL_INCHES + GAP_INCHES)
    height = 2 * TITLE_INCHES + sum(heights) * PANEL_INCHES + len(heights) * GAP_INCHES
    figure = Figure(figsize=(width, height), facecolor="black")
    figure.text(0.5, 1 - 0.1 / height, title, color="white", fontsize=8, ha="center", va="top")
    top = height - 2 * TITLE_INCHES
    axes = []
    for share in heights:
        tall = share * PANEL_INCHES
        boxes = [
            (column * (PANEL_INCHES + GAP_INCHES) / width, (top - tall) / height, PANEL_INCHES / width, tall / height)
            for column in range(len(COLUMNS))
        ]
        axes.append([figure.add_axes(box) for box in boxes])
        top -= tall + GAP_INCHES
    return figure, axes


def _show(axes: Axes, picture: np.ndarray, pixel_mm: tuple[float, float]) -> None:
    axes.imshow(picture, aspect=pixel_mm[0] / pixel_mm[1], interpolation="nearest")
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _slab_edges(axes: Axes, rows: int, slab: int) -> None:
    axes.hlines(np.arange(slab, rows, slab) - 0.5, -0.5, axes.get_xlim()[1], colors="#ffd000", linewidths=0.3)
