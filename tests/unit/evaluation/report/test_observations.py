"""What a segmentation tells without a reference: volumes, pieces, borders, and where to look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.evaluation.report.observations import COLUMNS, Observations, ends_reached, observe_folder
from nnunetv2_cfseg.evaluation.report.remark_places import remark_places
from nnunetv2_cfseg.evaluation.report.remarks import Remark, find_remarks
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass

from .evaluations import make_classes

SHAPE = (10, 12, 14)
#: z, y, x.
SPACING_MM = (5.0, 2.0, 1.0)


def blocks(*boxes: tuple[int, tuple[slice, ...]]) -> np.ndarray:
    """Labels in boxes (z, y, x) of a scan from feet to head, front to back, right to left."""
    values = np.zeros(SHAPE, np.uint8)
    for label, box in boxes:
        values[box] = label
    return values


def save(values: np.ndarray, file: Path, order: str = "LPS") -> Path:
    """Write a segmentation whose file's axes run as said."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(SPACING_MM[::-1])
    sitk.WriteImage(sitk.DICOMOrient(image, order), str(file))
    return file


def observe(tmp_path: Path, classes: Classes, *of_cases: np.ndarray, order: str = "LPS") -> Observations:
    files = {f"case_{i}": save(values, tmp_path / f"{i}.nrrd", order) for i, values in enumerate(of_cases)}
    return observe_folder(files, classes, progress=False)


INSIDE = np.s_[3:5, 4:8, 5:9]


@pytest.mark.parametrize("order", ["LPS", "RAS", "LAI", "PSL"])
def test_volume_pieces_and_ends_are_the_patients(tmp_path: Path, order: str) -> None:
    values = blocks((1, INSIDE), (1, np.s_[9:10, 0:2, 5:6]), (2, np.s_[0:1, 5:6, 13:14]))
    table = observe(tmp_path, make_classes(["liver", "rib", "none"]), values, order=order).table
    assert list(table.columns) == list(COLUMNS)
    liver, rib, none = table.to_dict("records")
    assert (liver["volume_ml"], liver["pieces"], liver["largest_piece_ml"]) == pytest.approx((0.34, 2, 0.32))
    assert liver["border"] == "head, front"
    assert rib["border"] == "feet, left"
    assert (none["volume_ml"], none["pieces"], none["border"]) == (0, 0, "")


def test_a_region_is_all_its_labels(tmp_path: Path) -> None:
    classes = Classes(
        (SegmentationClass("whole", (1, 2), "(1, 2)"), SegmentationClass("core", (2,), "2")), 3, frozenset(range(4))
    )
    values = blocks((1, np.s_[3:5, 4:8, 5:7]), (2, np.s_[3:5, 4:8, 7:9]), (3, np.s_[0:1, :, :]))
    whole, core = observe(tmp_path, classes, values).table.to_dict("records")
    assert (whole["volume_ml"], whole["pieces"], whole["border"]) == pytest.approx((0.32, 1, ""))
    assert core["volume_ml"] == pytest.approx(0.16)


def test_an_axis_of_one_slice_has_no_ends() -> None:
    assert ends_reached((slice(0, 1), slice(0, 4), slice(2, 5)), (1, 9, 5)) == ["front", "left"]


@pytest.mark.parametrize(("processes", "message"), [(0, "must be >= 1, got 0"), (-2, "got -2")])
def test_needs_a_process(processes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        observe_folder({}, make_classes(["liver"]), num_processes=processes)


def test_an_unknown_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[9\].*0\.nrrd"):
        observe(tmp_path, make_classes(["liver"]), blocks((9, INSIDE)))


def table_of(**volumes: list[float]) -> pd.DataFrame:
    """Observations of classes in one piece each, by their volumes in the cases."""
    count = len(next(iter(volumes.values())))
    rows = [
        {"case": f"case_{i}", "class": name, "label": name, "volume_ml": of_class[i], "pieces": int(of_class[i] > 0),
         "largest_piece_ml": of_class[i], "border": ""}
        for i in range(count) for name, of_class in volumes.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


class TestRemarks:
    def test_are_none_where_nothing_is_odd(self) -> None:
        assert find_remarks(table_of(liver=[1500, 1400, 1600, 1700, 1450], cyst=[0, 0, 3, 0, 0])) == []

    def test_name_an_empty_segmentation(self) -> None:
        assert find_remarks(table_of(liver=[0], spleen=[0])) == [
            Remark("case_0", "", "empty", "nothing was found in this scan")
        ]

    @pytest.mark.parametrize(("volumes", "missing"), [([0, 1, 1], ["case_0"]), ([0, 0, 1], ["case_0", "case_1"]),
                                                      ([0, 0, 0, 1], []), ([0], [])])  # fmt: skip
    def test_name_a_class_that_half_of_the_others_show(self, volumes: list[float], missing: list[str]) -> None:
        found = find_remarks(table_of(liver=volumes, spleen=[1] * len(volumes)))
        assert [(remark.case, remark.class_name, remark.kind) for remark in found] == [
            (case, "liver", "empty") for case in missing
        ]

    @pytest.mark.parametrize(("volume", "is_odd"), [(3.1, True), (3, False), (0.34, False), (0.3, True)])
    def test_name_a_volume_far_from_the_median_of_five(self, volume: float, is_odd: bool) -> None:
        found = find_remarks(table_of(liver=[1, 1, 1, 1, volume]))
        assert [(remark.case, remark.kind) for remark in found] == [("case_4", "volume")] * is_odd
        assert not find_remarks(table_of(liver=[1, 1, 1, volume]))

    @pytest.mark.parametrize(("stray", "is_odd"), [(0.009, False), (0.02, True)])
    def test_name_what_lies_apart(self, stray: float, is_odd: bool) -> None:
        table = table_of(liver=[1.0]).assign(pieces=2, largest_piece_ml=1 - stray)
        assert [remark.kind for remark in find_remarks(table)] == ["pieces"] * is_odd

    def test_name_the_ends_of_the_scan(self) -> None:
        (remark,) = find_remarks(table_of(liver=[1.0]).assign(border="feet, head"))
        assert remark.words == "reaches the end of the scan: feet, head"


class TestPlaces:
    @pytest.mark.parametrize(
        ("values", "remark", "at"),
        [
            (blocks((1, INSIDE), (1, np.s_[8:9, 1:2, 2:3])), Remark("c", "liver", "pieces", "in 2 pieces"), (8, 1, 2)),
            (blocks((1, np.s_[4:10, 4:8, 5:9])), Remark("c", "liver", "border", "ends: head"), (9, 4, 6)),
            (blocks((1, np.s_[0:6, 4:8, 5:9])), Remark("c", "liver", "border", "ends: feet"), (0, 4, 6)),
            (blocks((1, np.s_[4:5, 4:8, 5:14])), Remark("c", "liver", "border", "ends: left"), (4, 4, 13)),
        ],
    )
    def test_show_what_is_remarked(self, values: np.ndarray, remark: Remark, at: tuple[int, ...]) -> None:
        (place,) = remark_places(values, [remark], classes=make_classes(["liver"]), spacing_mm=SPACING_MM)
        assert values[place.at] == 1
        assert place.at == at
        assert place.text == f"liver: {remark.words}"

    def test_are_none_of_what_is_not_there(self) -> None:
        remarks = [Remark("c", "liver", "empty", "not found"), Remark("c", "", "empty", "nothing was found")]
        assert remark_places(blocks(), remarks, classes=make_classes(["liver"]), spacing_mm=SPACING_MM) == ()
