"""Kinds of names: of cases, of files and of cells, and of inputs that would share one."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.cli import main
from nnunetv2_cfseg.data.pairing.sources import find_sources
from nnunetv2_cfseg.errors.printable import printable
from nnunetv2_cfseg.files.case_names import LONGEST_BYTES, check_case_name, check_distinct, check_utf8
from nnunetv2_cfseg.files.csv_cells import original_cell, safe_cell, table_to_csv
from nnunetv2_cfseg.files.output_paths import check_not_read, check_not_taken
from nnunetv2_cfseg.imaging.segmentations import case_files
from nnunetv2_cfseg.inference.outputs import write_volumes
from nnunetv2_cfseg.inference.scans import find_cases
from nnunetv2_cfseg.quantify.inputs import find_scans
from nnunetv2_cfseg.quantify.output import write_csv

Write = Callable[..., Path]
PLACE = Path("scans") / "the_file.nii.gz"
BAD_NAMES = [
    "", ".", "..", "...", " ", ". ", ".hidden", "a\nb", "a\tb", "\x00", "a\x1b[2J", "a\u2028b", "a\u202egpj",
    "a\udcffb",
    "a/b", "../a", "a\\b", "x" * 241, "\N{GRINNING FACE}" * 61, "\u00e9" * 121, "a\rb", "\x7f",
]  # fmt: skip
GOOD_NAMES = [
    "a", "-a", "--help", "a b", "a.b.c", "1", "caf\u00e9", "cafe\u0301", "\u60a3\u8005", "\N{GRINNING FACE}",
    "a'b\"c", "$(id)", "*", "a_0000",
    "x" * LONGEST_BYTES, "dataset", "plans", "volumes", "provenance", "CON", "a\u200db", "a ", "a.",
]  # fmt: skip
TWINS = [
    ("Case1", "case1"), ("STRASSE", "stra\u00dfe"), ("caf\u00e9", "cafe\u0301"), ("CAF\u00c9", "cafe\u0301"),
    ("a", "a."), ("a", "a "),
    ("\u0130x", "i\u0307x"), ("\u212b", "\u00c5"),
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_name_of_a_case_is_refused_and_shown(name: str) -> None:
    with pytest.raises(ValueError, match="the_file") as refusal:
        check_case_name(name, PLACE)
    str(refusal.value).encode()
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_odd_names_are_names(name: str) -> None:
    check_case_name(name, PLACE)


@given(st.text(max_size=80))
def test_a_name_is_refused_or_can_be_a_file(name: str) -> None:
    try:
        check_case_name(name, PLACE, ending=".nii.gz")
    except ValueError:
        return
    assert Path("out", f"{name}.nii.gz").name == f"{name}.nii.gz"  # no folder, no end of the text
    assert name.encode()
    assert "\n" not in name


@pytest.mark.parametrize("pair", TWINS)
def test_names_that_some_disks_take_for_one(pair: tuple[str, str]) -> None:
    one, other = (Path("scans") / f"{name}_0000.nii.gz" for name in pair)
    with pytest.raises(ValueError, match="must differ") as refusal:
        check_distinct(zip(pair, (one, other), strict=True))
    assert printable(one) in str(refusal.value)
    assert printable(other) in str(refusal.value)


def test_names_that_differ_are_left_alone() -> None:
    check_distinct((name, Path(name)) for name in ("a", "b", "a_1", "a-1", "a1", "\u00e4", "ae"))


@given(st.text(max_size=40), st.text(max_size=40))
def test_alike_is_alike_in_either_order(one: str, other: str) -> None:
    def refused(*names: str) -> bool:
        try:
            check_distinct((name, Path("x")) for name in names)
        except ValueError:
            return True
        return False

    assert refused(one, other) == refused(other, one)
    assert refused(one, one)
    assert refused(one, unicodedata.normalize("NFD", one))


@pytest.mark.parametrize("pair", TWINS)
def test_a_folder_of_twins_is_refused_where_files_are_named_after_cases(
    pair: tuple[str, str], write_scan: Write
) -> None:
    for name in pair:
        folder = write_scan(f"{name}_0000.nii.gz", shape=(2, 3, 4)).parent
    with pytest.raises(ValueError, match="must differ"):
        find_cases(folder, file_ending=".nii.gz", channels=1)
    for name in pair:
        (folder / f"{name}.nii.gz").touch()
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0}, "file_ending": ".nii.gz", "numTraining": 2}
    (folder.parent / "dataset.json").write_text(json.dumps(content))
    (folder / "labels").mkdir()
    for name in pair:
        (folder / f"{name}.nii.gz").rename(folder / "labels" / f"{name}.nii.gz")
    with pytest.raises(ValueError, match="must differ"):
        find_sources(folder, folder / "labels", dataset_json=folder.parent / "dataset.json")


@pytest.mark.parametrize("name", ["", ".", "a/b", "a\nb", ".a", "x" * 250])
def test_a_name_that_is_given_must_be_one(name: str, write_scan: Write) -> None:
    with pytest.raises(ValueError, match="case's name"):
        find_cases(write_scan(shape=(2, 3, 4)), file_ending=".nii.gz", channels=1, name=name)


def test_a_name_is_for_one_scan(write_scan: Write) -> None:
    one = write_scan("a_0000.nii.gz", shape=(2, 3, 4))
    assert find_cases(one, file_ending=".nii.gz", channels=1, name="patient_7")[0].name == "patient_7"
    write_scan("b_0000.nii.gz", shape=(2, 3, 4))
    with pytest.raises(ValueError, match="--name is for one scan, but there are 2"):
        find_cases(one.parent, file_ending=".nii.gz", channels=1, name="patient_7")


def test_a_case_in_two_places_is_named_with_both(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "case.nii.gz").touch()
    with pytest.raises(ValueError, match=r"a/case.nii.gz and .*b/case.nii.gz"):
        find_scans([tmp_path / "a", tmp_path / "b"], file_ending=".nii.gz")


def not_utf8(folder: Path, name: str) -> Path:
    """A file whose name has a byte that is not UTF-8."""
    file = Path(os.fsdecode(os.fsencode(folder / name) + b"\xff.nii.gz"))
    file.touch()
    return file


def test_names_that_are_not_utf8_are_refused_where_files_are_listed(tmp_path: Path) -> None:
    """SimpleITK would end the process."""
    file = not_utf8(tmp_path, "a_0000")
    with pytest.raises(ValueError, match="UTF-8"):
        case_files(tmp_path, ".nii.gz")
    with pytest.raises(ValueError, match="UTF-8"):
        find_scans([file], file_ending=".nii.gz")
    with pytest.raises(ValueError, match="UTF-8"):
        find_cases(tmp_path, file_ending=".nii.gz", channels=1)
    with pytest.raises(ValueError, match="UTF-8") as refusal:
        check_utf8(file)
    str(refusal.value).encode()


@pytest.mark.parametrize("command", ["evaluate GT PRED", "quantify PRED -o OUT", "compare PRED GT -gt GT -o OUT"])
def test_a_command_says_which_name_is_not_utf8(command: str, tmp_path: Path) -> None:
    for name in ("GT", "PRED"):
        (tmp_path / name).mkdir()
        not_utf8(tmp_path / name, "case")
    content = {"labels": {"background": 0, "x": 1}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
    (tmp_path / "PRED" / "dataset.json").write_text(json.dumps(content))
    done = subprocess.run(
        [sys.executable, "-m", "nnunetv2_cfseg.cli", *command.split()], cwd=tmp_path, capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert b"UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")', "-x", "--a", "\uff1d1"]
HARMLESS = ["a", "1", "-1", "-1.5e3", "+2", "", "a=1", "'a", " 1", "(1, 2)"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"case": [text, "b"], text: [-1.5, 2.0]})
    rows = list(csv.reader(io.StringIO(table_to_csv(table), newline="")))
    cell = "'" + text.replace("\r", " ")
    assert rows == [["case", cell], [cell, "-1.5"], ["b", "2.0"]]
    write_csv(tmp_path / "a.csv", ["case", "ml"], [{"case": text, "ml": -1.5}])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream))[1:] == [[cell, "-1.5"]]


@pytest.mark.parametrize("text", HARMLESS)
def test_other_cells_are_what_they_were(text: str) -> None:
    assert safe_cell(text) == text


@given(st.one_of(st.floats(), st.integers(), st.booleans(), st.none()))
def test_numbers_stay_numbers(value: object) -> None:
    assert safe_cell(value) is value


@given(st.text().filter(lambda text: "'" not in text and len(text.splitlines()) < 2))
def test_an_escaped_name_is_found_again(text: str) -> None:
    line = "".join(text.splitlines())
    assert original_cell(safe_cell(line)) == line
    assert not safe_cell(line).lstrip().startswith(("=", "@"))


def test_a_name_of_several_lines_is_one_cell() -> None:
    assert safe_cell("a\r\n=b\n") == "a =b"
    assert safe_cell("\n=b") == "' =b"


def test_volumes_of_such_cases_are_added_to_and_replaced(tmp_path: Path) -> None:
    file, labels = tmp_path / "volumes.csv", {"background": 0, "=x": 1}
    write_volumes({"=a": {1: 1.0}, "-b": {1: 2.0}}, labels, file)
    write_volumes({"=a": {1: 3.0}}, labels, file)
    with file.open(newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["case", "class", "volume_ml"], ["'-b", "'=x", "2.0000"], ["'=a", "'=x", "3.0000"],
        ]  # fmt: skip


@pytest.mark.parametrize("how", ["same", "relative", "symlink", "hard link", "through a link to the folder"])
def test_an_output_is_no_input_under_any_name(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    source = folder / "labels.json"
    source.write_text("{}")
    output = source
    if how == "relative":
        monkeypatch.chdir(tmp_path)
        output = Path("folder/../folder/labels.json")
    elif how == "symlink":
        output = tmp_path / "other.json"
        output.symlink_to(source)
    elif how == "hard link":
        output = tmp_path / "other.json"
        output.hardlink_to(source)
    elif how == "through a link to the folder":
        (tmp_path / "link").symlink_to(folder)
        output = tmp_path / "link" / "labels.json"
    with pytest.raises(ValueError, match=r"must not replace a file that is read.*\.json"):
        check_not_read([tmp_path / "a.json", output], [None, source])
    check_not_read([tmp_path / "a.json"], [None, source])


@pytest.mark.parametrize(
    "name",
    [
        "dataset.json",
        "plans.json",
        "DATASET.json",
        "thin_thick.json",
        "splits_final.json",
        "volumes.csv",
        "bundle.json",
    ],
)
def test_a_name_that_others_read_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name of its own"):
        check_not_taken([tmp_path / "summary.json", tmp_path / name])


@pytest.mark.parametrize("name", ["dataset.json", "plans.json", "volumes.json", "mine.json"])
def test_evaluate_leaves_its_inputs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("GT", "PRED"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.nii.gz").touch()
    content = json.dumps({"labels": {"background": 0, "x": 1}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"})
    for file in ("dataset.json", "plans.json", "volumes.csv", "mine.json"):
        (tmp_path / "PRED" / file).write_text(content)
    folders = [str(tmp_path / folder) for folder in ("GT", "PRED")]
    flags = ["-djfile", str(tmp_path / "PRED" / "mine.json"), "-o", str(tmp_path / "PRED" / name), "--no_pbar"]
    assert main(["evaluate", *folders, *flags]) == 2
    assert name.removesuffix(".json") in capsys.readouterr().err
    assert {file.read_text() for file in (tmp_path / "PRED").glob("*.[jc]s*")} == {content}
