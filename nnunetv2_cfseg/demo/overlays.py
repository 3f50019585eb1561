"""Pictures of a scan: the CT alone, with its truth, with its prediction, and where the two differ."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nnunetv2_cfseg.demo.settings import CLASSES

BRAIN_WINDOW_HU = (0.0, 80.0)
#: Told apart in the common kinds of colour blindness too (Okabe and Ito).
CLASS_COLOURS = {"EDH": "#e69f00", "ICH": "#56b4e9", "IVH": "#009e73", "SAH": "#f0e442", "SDH": "#cc79a7"}
ERROR_COLOURS = {"missed": "#ff2d20", "found where it is not": "#2f7bff", "another class": "#ffffff"}
CLASS_OPACITY, ERROR_OPACITY = 0.6, 0.9
#: Errors are shown on a darker CT: blood is as bright as they are.
ERROR_GREY = 0.5
#: Air is darker than that; pictures are cut to what is not air.
BODY_HU = -300
MARGIN_MM = 6.0
COLUMNS = ("CT, 0 to 80 HU", "truth", "prediction", "errors")
COLUMN_INCHES = 2.6
LEFT_INCHES, TITLE_INCHES, GAP_INCHES, LEGEND_INCHES = 0.3, 0.3, 0.08, 0.6
DPI = 110


@dataclass(frozen=True)
class Scan:
    """A scan with its truth and prediction, axes z, y, x from feet to head, front to back, patient's right to left."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """One slice of a scan, its first row on top.

    Attributes:
        title: what it shows.
        image: (rows, columns) HU.
        truth: labels.
        prediction: labels.
        size_mm: height and width.
    """

    title: str
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    size_mm: tuple[float, float]

    def titled(self, title: str) -> View:
        """The same slice under another title."""
        return replace(self, title=title)


def read_scan(image: Path, truth: Path, prediction: Path) -> Scan:
    """Read three files of one scan, turned so that pictures of it lie as radiologists expect.

    Raises:
        ValueError: they are not of the same size.
    """
    images = [sitk.DICOMOrient(sitk.ReadImage(str(file)), "LPS") for file in (image, truth, prediction)]
    arrays = [sitk.GetArrayFromImage(volume) for volume in images]
    if len({array.shape for array in arrays}) > 1:
        shapes = [array.shape for array in arrays]
        raise ValueError(f"a scan, its truth and its prediction must have one size, got {shapes}: {prediction}")
    x, y, z = images[0].GetSpacing()
    return Scan(arrays[0], arrays[1], arrays[2], (z, y, x))


def lesion_place(scan: Scan) -> tuple[int, int]:
    """The axial slice z and the coronal slice y that show most of the largest lesion.

    Lesions are the connected pieces of each class in the truth; in the prediction where the truth has none. Without
    either: the middle of the scan.
    """
    lesion = _largest_lesion(scan.truth)
    if lesion is None:
        lesion = _largest_lesion(scan.prediction)
    if lesion is None:
        return scan.image.shape[0] // 2, scan.image.shape[1] // 2
    return int(lesion.sum((1, 2)).argmax()), int(lesion.sum((0, 2)).argmax())


def _largest_lesion(labels: np.ndarray) -> np.ndarray | None:
    largest = None
    for label in CLASSES.values():
        mask = labels == label
        if not mask.any():
            continue
        pieces = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
        first = sitk.GetArrayFromImage(sitk.RelabelComponent(pieces)) == 1  # sorted by size
        if largest is None or first.sum() > largest.sum():
            largest = first
    return largest


def views(scan: Scan) -> list[View]:
    """An axial and a coronal slice through the largest lesion."""
    z, y = lesion_place(scan)
    dz, dy, dx = scan.spacing_mm
    axial, coronal = (slice(z, z + 1), slice(None)), (slice(None, None, -1), slice(y, y + 1))  # the head's top on top
    return [
        _view(scan, axial, f"axial, slice {z}", (dy, dx)),
        _view(scan, coronal, f"coronal, slice {y}", (dz, dx)),
    ]


def _view(scan: Scan, place: tuple[slice, slice], title: str, pixel_mm: tuple[float, float]) -> View:
    image, truth, prediction = (v[place].reshape(-1, v.shape[-1]) for v in (scan.image, scan.truth, scan.prediction))
    box = _body_box(image, pixel_mm)
    height, width = image[box].shape
    return View(title, image[box], truth[box], prediction[box], (height * pixel_mm[0], width * pixel_mm[1]))


def _body_box(image: np.ndarray, pixel_mm: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns with anything but air, and a margin; all of them where there is only air."""
    body = image > BODY_HU
    if not body.any():
        return slice(None), slice(None)
    rows, columns = (np.flatnonzero(body.any(axis)) for axis in (1, 0))
    extents = [(place[0], place[-1] + 1, ceil(MARGIN_MM / mm))
               for place, mm in zip((rows, columns), pixel_mm, strict=True)]  # fmt: skip
    (top, bottom, above), (left, right, beside) = extents
    return slice(max(0, top - above), bottom + above), slice(max(0, left - beside), right + beside)


def draw(rows: Sequence[View]) -> Figure:
    """A row of four pictures for each view, all at one scale in mm, with a legend below."""
    width_mm = max(view.size_mm[1] for view in rows)
    heights = [view.size_mm[0] * COLUMN_INCHES / width_mm for view in rows]
    width = LEFT_INCHES + len(COLUMNS) * (COLUMN_INCHES + GAP_INCHES)
    height = TITLE_INCHES + sum(heights) + len(rows) * GAP_INCHES + LEGEND_INCHES
    figure = Figure(figsize=(width, height), facecolor="black")
    top = height - TITLE_INCHES
    for row, (view, row_height) in enumerate(zip(rows, heights, strict=True)):
        for column, picture in enumerate(_pictures(view)):
            left = LEFT_INCHES + column * (COLUMN_INCHES + GAP_INCHES)
            axes = figure.add_axes(
                (left / width, (top - row_height) / height, COLUMN_INCHES / width, row_height / height)
            )
            _show(axes, picture, view.size_mm, width_mm=width_mm)
            if row == 0:
                axes.set_title(COLUMNS[column], color="white", fontsize=9)
            if column == 0:
                axes.set_ylabel(view.title, color="white", fontsize=8)
                axes.text(0.02, 0.98, "R", color="white", fontsize=8, va="top", transform=axes.transAxes)
        top -= row_height + GAP_INCHES
    _legend(figure)
    return figure


def _pictures(view: View) -> tuple[np.ndarray, ...]:
    """In the order of ``COLUMNS``."""
    window = _windowed(view.image)
    return (
        window,
        _blend(window, class_colours(view.truth), CLASS_OPACITY),
        _blend(window, class_colours(view.prediction), CLASS_OPACITY),
        _blend(ERROR_GREY * window, error_colours(view.truth, view.prediction), ERROR_OPACITY),
    )


def png(figure: Figure) -> bytes:
    """The figure as a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _show(axes: Axes, picture: np.ndarray, size_mm: tuple[float, float], *, width_mm: float) -> None:
    """Show a picture of ``size_mm`` in the middle of ``width_mm``."""
    height, width = size_mm
    axes.imshow(picture, extent=(0, width, height, 0), aspect="equal", interpolation="nearest")
    axes.set_xlim((width - width_mm) / 2, (width + width_mm) / 2)
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _legend(figure: Figure) -> None:
    """Classes, and errors below them."""
    height = figure.get_size_inches()[1]
    for colours, inches in ((CLASS_COLOURS, 0.3), (ERROR_COLOURS, 0.02)):
        figure.legend(
            handles=[Patch(color=colour, label=name) for name, colour in colours.items()],
            ncols=len(colours),
            loc="lower center",
            bbox_to_anchor=(0.5, inches / height),
            frameon=False,
            labelcolor="white",
            fontsize=8,
            handlelength=1.2,
        )


def _windowed(image_hu: np.ndarray) -> np.ndarray:
    """Grey (rows, columns, 3) from 0 to 1."""
    low, high = BRAIN_WINDOW_HU
    grey = np.clip((image_hu.astype(np.float32) - low) / (high - low), 0, 1)
    return np.repeat(grey[..., None], 3, axis=-1)


def class_colours(labels: np.ndarray) -> np.ndarray:
    """Colours (rows, columns, 3) of the classes; NaN where there is none."""
    return _coloured({CLASS_COLOURS[name]: labels == label for name, label in CLASSES.items()}, labels.shape)


def error_colours(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Colours (rows, columns, 3) of the errors; NaN where there is none."""
    masks = (
        (truth > 0) & (prediction == 0),
        (truth == 0) & (prediction > 0),
        (truth > 0) & (prediction > 0) & (truth != prediction),
    )
    return _coloured(dict(zip(ERROR_COLOURS.values(), masks, strict=True)), truth.shape)


def _coloured(masks: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    colours = np.full((*shape, 3), np.nan, np.float32)
    for colour, mask in masks.items():
        colours[mask] = to_rgb(colour)
    return colours


def _blend(grey: np.ndarray, colours: np.ndarray, opacity: float) -> np.ndarray:
    return np.where(np.isnan(colours), grey, (1 - opacity) * grey + opacity * np.nan_to_num(colours))
