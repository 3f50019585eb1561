"""From segmentations to files: what the tables say, and what is refused before anything is written."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from nnunetv2_cfseg.quantify.record import QuantifySettings
from nnunetv2_cfseg.quantify.run import quantify


def box(width: int, *, label: int = 1) -> np.ndarray:
    """2 x 4 x width voxels of 6 mm3, from the left edge at 9.5 voxels on; the middle is at 14.5."""
    values = np.zeros((10, 20, 30), np.uint8)
    values[2:4, 4:8, 10 : 10 + width] = label
    return values


@pytest.fixture
def predictions(write_predictions: Callable[..., Path]) -> Path:
    """Three scans: an EDH that grows from 0.096 ml to 0.288 ml, and one that shows nothing."""
    return write_predictions({"p1_t1": box(2), "p1_t2": box(6), "p2_t1": box(0)})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_classes_have_a_row_for_every_case(predictions: Path, output: Path) -> None:
    quantify([predictions], output, num_processes=1, progress=False)
    table = rows(output / "classes.csv")
    assert [(row["case"], row["class"], row["label"]) for row in table] == [
        (case, name, label) for case in ("p1_t1", "p1_t2", "p2_t1") for name, label in (("edh", "1"), ("sdh", "2"))
    ]
    assert table[2] == {
        "case": "p1_t2",
        "class": "edh",
        "label": "1",
        "volume_ml": "0.288",
        "lesions": "1",
        "largest_lesion_ml": "0.288",
        "largest_diameter_mm": f"{sqrt(98):.6f}",
        "largest_axial_diameter_mm": f"{sqrt(89):.6f}",
        "side": "both",
        "left_ml": "0.048",
        "right_ml": "0.24",
        "midline": "image centre",
    }
    empty = {key: table[3][key] for key in ("volume_ml", "lesions", "largest_diameter_mm", "side", "left_ml")}
    assert empty == {"volume_ml": "0", "lesions": "0", "largest_diameter_mm": "", "side": "", "left_ml": "0"}


def test_lesions_have_a_row_each(predictions: Path, output: Path) -> None:
    quantify([predictions], output, num_processes=1, progress=False)
    table = rows(output / "lesions.csv")
    assert [(row["case"], row["lesion"]) for row in table] == [("p1_t1", "1"), ("p1_t2", "1")]
    lesion = table[1]
    assert float(lesion.pop("perpendicular_diameter_mm")) == pytest.approx(6 * sqrt(89) / 8, abs=1e-5)
    assert lesion == {
        "case": "p1_t2",
        "class": "edh",
        "label": "1",
        "lesion": "1",
        "volume_ml": "0.288",
        "extent_left_right_mm": "6",
        "extent_anterior_posterior_mm": "8",
        "extent_head_foot_mm": "6",
        "diameter_mm": f"{sqrt(98):.6f}",
        "axial_diameter_mm": f"{sqrt(89):.6f}",
        "diameter_slice": "3",
        "centroid_x_mm": "0",
        "centroid_y_mm": "41",
        "centroid_z_mm": "108.75",
        "first_slice": "2",
        "last_slice": "3",
        "first_slice_z_mm": "107.25",
        "last_slice_z_mm": "110.25",
        "side": "both",
        "left_ml": "0.048",
        "right_ml": "0.24",
        "midline": "image centre",
    }


@pytest.mark.parametrize("by_table", [True, False])
def test_changes_are_those_since_the_first_and_the_previous_scan(
    by_table: bool, write_predictions: Callable[..., Path], tmp_path: Path, output: Path
) -> None:
    folder = write_predictions({"p1_t1": box(2), "p1_t2": box(6), "p1_t3": box(3)})
    table = tmp_path / "scans.csv"
    table.write_text("case,patient,date\np1_t2,p1,2024-02-02\np1_t1,p1,2024-02-01\np1_t3,p1,2024-03-01\n")
    settings = QuantifySettings(scans=table) if by_table else QuantifySettings(patient_pattern=r"(p\d+)_")
    quantify([folder], output, settings=settings, num_processes=1, progress=False)
    edh = [row for row in rows(output / "longitudinal.csv") if row["class"] == "edh"]
    assert [list(row.values()) for row in edh] == [
        ["p1", "edh", "1", "1", "p1_t1", *(["2024-02-01", "0"] if by_table else ["", ""]),
            "0.096", "0", "0", "", "", "1"],
        ["p1", "edh", "1", "2", "p1_t2", *(["2024-02-02", "1"] if by_table else ["", ""]),
            "0.288", "0.192", "200", "0.192", "200", "1"],
        ["p1", "edh", "1", "3", "p1_t3", *(["2024-03-01", "29"] if by_table else ["", ""]),
            "0.144", "0.048", "50", "-0.144", "-50", "1"],
    ]  # fmt: skip


def test_a_change_from_nothing_has_no_percentage(write_predictions: Callable[..., Path], output: Path) -> None:
    folder = write_predictions({"p1_t1": box(0), "p1_t2": box(6)})
    quantify([folder], output, settings=QuantifySettings(patient_pattern="(p1)"), num_processes=1, progress=False)
    second = rows(output / "longitudinal.csv")[1]
    assert (second["change_from_first_ml"], second["change_from_first_percent"]) == ("0.288", "")
    assert (second["change_from_previous_ml"], second["change_from_previous_percent"]) == ("0.288", "")


def test_the_record_holds_everything(predictions: Path, output: Path) -> None:
    settings = QuantifySettings(patient_pattern=r"(p\d)", mesh=True, smallest_ml=0.1)
    found = quantify([predictions], output, settings=settings, num_processes=1, progress=False)
    record = json.loads((output / "quantities.json").read_text())
    assert set(record["versions"]) >= {"nnunetv2_cfseg", "python", "numpy", "SimpleITK", "trimesh"}
    assert record["settings"]["smallest_ml"] == 0.1
    assert record["settings"]["patient_pattern"] == r"(p\d)"
    assert [case["case"] for case in record["cases"]] == ["p1_t1", "p1_t2", "p2_t1"] == [c.case for c in found.cases]
    first, second, _ = (case["classes"][0] for case in record["cases"])
    assert (first["lesions"], first["lesion_list"], first["mesh"]) == (0, [], None)
    assert first["largest_diameter_mm"] is None
    assert second["lesion_list"][0]["diameter_mm"] == pytest.approx(sqrt(98))
    assert second["mesh"]["files"] == ["meshes/p1_t2_edh.stl", "meshes/p1_t2_edh.ply"]
    assert second["mesh"]["volume_ml"] == pytest.approx(0.288, rel=0.02)
    assert record["cases"][0]["midline"]["reason"] == "no image was given"
    assert len(record["longitudinal"]) == 6
    for table in ("classes", "lesions", "longitudinal"):
        assert list(record["columns"][table]) == (output / f"{table}.csv").read_text().splitlines()[0].split(",")
    assert sorted(path.name for path in output.iterdir()) == [
        "classes.csv", "lesions.csv", "longitudinal.csv", "meshes", "quantities.json"]  # fmt: skip


def test_processes_give_the_same_tables(predictions: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        quantify([predictions], tmp_path / str(processes), num_processes=processes, progress=False)
    for name in ("classes.csv", "lesions.csv", "quantities.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_bar_is_shown(predictions: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quantify([predictions], output, num_processes=1)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (QuantifySettings(smallest_ml=-1), "must be >= 0 ml, got -1"),
        (QuantifySettings(smallest_ml=float("nan")), "must be >= 0 ml, got nan"),
        (QuantifySettings(scans=Path("a.csv"), patient_pattern="(a)"), "by a table or by a pattern, got both"),
        (QuantifySettings(patient_pattern="(x)"), "each case must match the patient's pattern"),
        (QuantifySettings(scans=Path("none.csv")), "none.csv must be a file"),
    ],
)
def test_settings_out_of_range_are_refused(
    settings: QuantifySettings, message: str, predictions: Path, output: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        quantify([predictions], output, settings=settings, progress=False)
    assert not output.exists()


def test_no_processes_are_refused(predictions: Path, output: Path) -> None:
    with pytest.raises(ValueError, match="number of processes must be >= 1, got 0"):
        quantify([predictions], output, num_processes=0)


def test_an_output_that_is_a_file_is_refused(predictions: Path, output: Path) -> None:
    output.touch()
    with pytest.raises(ValueError, match="output must be a folder, and is a file"):
        quantify([predictions], output)


def test_a_folder_without_dataset_json_needs_one(predictions: Path, output: Path) -> None:
    dataset_json = predictions.parent / "elsewhere.json"
    (predictions / "dataset.json").rename(dataset_json)
    with pytest.raises(ValueError, match=r"dataset\.json must be a file, and there is none"):
        quantify([predictions], output, progress=False)
    assert len(quantify([predictions], output, dataset_json=dataset_json, num_processes=1, progress=False).cases) == 3


def test_a_bad_case_leaves_no_table(predictions: Path, output: Path) -> None:
    (predictions / "p1_t2.nii.gz").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"cannot be read.*p1_t2"):
        quantify([predictions], output, num_processes=1, progress=False)
    assert list(output.iterdir()) == []


def test_meshes_of_one_name_are_refused(write_predictions: Callable[..., Path], output: Path) -> None:
    labels = {"background": 0, "b_c": 1, "c": 2}
    folder = write_predictions({"a": box(2), "a_b": box(2)}, labels=labels)
    with pytest.raises(ValueError, match="a_b_c is that of b_c in a and of c in a_b"):
        quantify([folder], output, settings=QuantifySettings(mesh=True), progress=False)
    assert quantify([folder], output, num_processes=1, progress=False).by_symmetry == 0
