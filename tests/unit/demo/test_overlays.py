"""Pictures: the slices of the largest lesion, in the aspect of the patient, in the colours of the legend."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from nnunetv2_cfseg.demo import overlays
from nnunetv2_cfseg.demo.overlays import CLASS_COLOURS, COLUMNS, ERROR_COLOURS, Scan
from nnunetv2_cfseg.demo.settings import CLASSES

SHAPE = (20, 30, 40)
SPACING_MM = (5.0, 2.0, 1.0)


def scan(truth: np.ndarray | None = None, prediction: np.ndarray | None = None) -> Scan:
    """40 HU everywhere."""
    nothing = np.zeros(SHAPE, np.uint8)
    image = np.full(SHAPE, 40, np.int16)
    return Scan(image, nothing if truth is None else truth, nothing if prediction is None else prediction, SPACING_MM)


def lesions() -> np.ndarray:
    """Two lesions of class 2, of which the second is the largest piece of all, and one of class 5."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 3:6, 3:6] = 2
    labels[10:13, 20:24, 5:12] = 2
    labels[11, 19:25, 5:13] = 2  # here it is widest
    labels[10:13, 22, 5:14] = 2
    labels[16:18, 2:9, 30:37] = 5
    return labels


class TestPlace:
    def test_is_where_most_of_the_largest_lesion_shows(self) -> None:
        assert overlays.lesion_place(scan(lesions())) == (11, 22)

    def test_counts_pieces_not_classes(self) -> None:
        labels = np.zeros(SHAPE, np.uint8)
        labels[2, 2:6, 2:7] = labels[5, 8:12, 2:7] = 1  # 40 voxels in two pieces
        labels[15, 20:25, 10:16] = 3  # 30 in one
        assert overlays.lesion_place(scan(labels))[0] == 15

    def test_is_the_predictions_where_there_is_no_truth(self) -> None:
        assert overlays.lesion_place(scan(prediction=lesions())) == (11, 22)

    def test_is_the_middle_where_there_is_nothing(self) -> None:
        assert overlays.lesion_place(scan()) == (10, 15)


class TestViews:
    def test_are_slices_through_the_lesion(self) -> None:
        labels = lesions()
        axial, coronal = overlays.views(scan(labels))
        assert (axial.title, coronal.title) == ("axial, slice 11", "coronal, slice 22")
        np.testing.assert_array_equal(axial.truth, labels[11])
        np.testing.assert_array_equal(coronal.truth, labels[::-1, 22])  # the head's top on top

    def test_have_the_size_of_the_patient(self) -> None:
        axial, coronal = overlays.views(scan(lesions()))
        assert axial.size_mm == (60, 40)
        assert coronal.size_mm == (100, 40)

    def test_are_cut_to_what_is_not_air(self) -> None:
        air = scan(lesions())
        air.image[:] = -1000
        air.image[:, 15:25, 10:20] = 30
        axial, _ = overlays.views(air)
        assert axial.image.shape == (10 + 2 * 3, 10 + 2 * 6)
        assert axial.size_mm == (32, 22)
        np.testing.assert_array_equal(axial.truth, air.truth[11, 12:28, 4:26])


class TestColours:
    def test_of_classes(self) -> None:
        labels = np.array([[0, *CLASSES.values()]])
        colours = overlays.class_colours(labels)
        assert np.isnan(colours[0, 0]).all()
        np.testing.assert_allclose(colours[0, 1:], [to_rgb(CLASS_COLOURS[name]) for name in CLASSES], atol=1e-6)

    def test_of_errors(self) -> None:
        truth, prediction = np.array([[0, 1, 1, 0, 1]]), np.array([[0, 1, 0, 2, 2]])
        colours = overlays.error_colours(truth, prediction)
        assert np.isnan(colours[0, :2]).all()
        np.testing.assert_allclose(colours[0, 2:], [to_rgb(colour) for colour in ERROR_COLOURS.values()], atol=1e-6)


def pixels(figure: Figure) -> np.ndarray:
    """The picture as a user sees it: rows, columns, RGB from 0 to 1."""
    return np.asarray(Image.open(io.BytesIO(overlays.png(figure))).convert("RGB")) / 255


class TestPicture:
    def test_has_the_aspect_of_the_patient(self) -> None:
        """A lesion of 6 x 6 voxels of 2 x 1 mm is twice as high as wide, in every column that shows it."""
        labels = np.zeros(SHAPE, np.uint8)
        labels[10, 10:16, 10:16] = CLASSES["ICH"]
        axial = overlays.views(scan(labels, labels))[0]
        picture = pixels(overlays.draw([axial]))
        colour = 0.4 * 0.5 + 0.6 * np.array(to_rgb(CLASS_COLOURS["ICH"]))
        here = np.abs(picture - colour).max(-1) < 0.02
        left, right = np.array_split(np.flatnonzero(here.any(0)), [here.any(0).sum() // 2])
        rows = np.flatnonzero(here.any(1))
        for columns in (left, right):
            assert (rows[-1] - rows[0] + 1) / (columns[-1] - columns[0] + 1) == pytest.approx(2, rel=0.05)

    def test_of_several_scans_is_at_one_scale(self) -> None:
        small = scan(lesions())
        small.image[:] = -1000
        small.image[:, 5:28, 10:20] = 30
        rows = [overlays.views(scan(lesions()))[0], overlays.views(small)[0]]
        figure = overlays.draw(rows)
        figure.canvas.draw()
        scales = set()
        for axes in figure.axes:
            box = axes.get_window_extent()
            scales |= {round(box.width / np.ptp(axes.get_xlim()), 2), round(box.height / np.ptp(axes.get_ylim()), 2)}
        assert len(scales) == 1

    def test_names_columns_and_colours(self) -> None:
        figure = overlays.draw(overlays.views(scan(lesions())))
        assert tuple(axes.get_title() for axes in figure.axes[: len(COLUMNS)]) == COLUMNS
        assert {text.get_text() for legend in figure.legends for text in legend.get_texts()} == {
            *CLASS_COLOURS,
            *ERROR_COLOURS,
        }

    def test_shows_the_ct_alone_first_and_no_errors_where_there_are_none(self) -> None:
        labels = lesions()
        figure = overlays.draw(overlays.views(scan(labels, labels))[:1])
        pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
        assert np.ptp(pictures[0]) == 0
        assert np.ptp(pictures[1]) > 0
        np.testing.assert_array_equal(pictures[1], pictures[2])
        assert np.ptp(pictures[3]) == 0


def write(file: Path, values: np.ndarray, *, flipped: bool = False) -> Path:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(SPACING_MM[::-1])
    if flipped:
        image = sitk.DICOMOrient(image, "RAI")
    sitk.WriteImage(image, str(file))
    return file


def test_files_are_read_with_spacing_and_turned_to_one_orientation(tmp_path: Path) -> None:
    image, truth = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), lesions()
    files = [
        write(tmp_path / "image.nii.gz", image, flipped=True),
        write(tmp_path / "truth.nii.gz", truth),
        write(tmp_path / "prediction.nii.gz", truth, flipped=True),
    ]
    read = overlays.read_scan(*files)
    assert read.spacing_mm == pytest.approx(SPACING_MM)
    np.testing.assert_array_equal(read.image, image)
    np.testing.assert_array_equal(read.truth, truth)
    np.testing.assert_array_equal(read.prediction, truth)


def test_files_of_different_size_are_refused(tmp_path: Path) -> None:
    image, truth = write(tmp_path / "i.nii.gz", lesions()), write(tmp_path / "t.nii.gz", lesions())
    prediction = write(tmp_path / "p.nii.gz", lesions()[1:])
    with pytest.raises(ValueError, match=r"one size, got .*\(19, 30, 40\).*p\.nii\.gz"):
        overlays.read_scan(image, truth, prediction)
