"""Odd input to ``cfseg report``, with and without references: a page that is right, or one sentence and no page."""

from __future__ import annotations

import base64
import getpass
import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import SimpleITK as sitk
from fixtures.dicom_series import write_dicom
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.evaluation.report.write import Extras, write_report

from ..unit.evaluation.report.evaluations import make_evaluation, write_dataset
from ..unit.evaluation.report.reader import Reader

SHAPE, SPACING = (10, 16, 14), (1.5, 1.5, 3.0)
HOSTILE = (
    "<script>alert(1)<", "{{7*7}}", "${7*7}", "{% raw %}", "'\"`>onload=x", "<!--", "&lt;&amp;",
    "</style><svg onload=x>", "javascript:alert(1)", "..", "-o", "=1+1", "\u202egnp",
    "a\u0301\u4e2d\U0001f9e0", "n" * 230,
)  # fmt: skip
Spoil = Callable[[Path], object]


def write(file: Path, values: np.ndarray, *, spacing: tuple[float, ...] = SPACING, shift_mm: float = 0.0) -> None:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin((shift_mm, 0, 0))
    sitk.WriteImage(image, str(file))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def report(data: Path, *flags: str, truth: bool, output: Path | None = None) -> tuple[int, Path]:
    """The exit status, and the page."""
    output = output or data.parent / "page.html"
    folders = [str(data / "truth")] * truth + [str(data / "made")]
    return cli.main(["report", *folders, "-o", str(output), "-np", "1", "--no_pbar", *flags]), output


def scan(low: float = 0) -> np.ndarray:
    return np.full(SHAPE, low, np.int16)


def with_nan() -> np.ndarray:
    values = np.zeros(SHAPE, np.float32)
    values[3] = np.nan
    return values


#: What is done to the image or the prediction of case one, and what the sentence must name.
SPOILT: dict[str, tuple[Spoil, str]] = {
    "image of another size": (lambda d: write(d / "images/one_0000.nii.gz", np.zeros((10, 16, 15), np.int16)), "15"),
    "image of another spacing": (lambda d: write(d / "images/one_0000.nii.gz", scan(), spacing=(1.5, 1.5, 3.5)), "3.5"),
    "image elsewhere": (lambda d: write(d / "images/one_0000.nii.gz", scan(), shift_mm=10), "10"),
    "image with NaN": (lambda d: write(d / "images/one_0000.nii.gz", with_nan()), "224"),
    "image that is truncated": (lambda d: truncate(d / "images/one_0000.nii.gz"), "one_0000.nii.gz"),
    "image that is none": (lambda d: (d / "images/one_0000.nii.gz").write_bytes(b"none"), "one_0000.nii.gz"),
    "image that is missing": (lambda d: (d / "images/one_0000.nii.gz").unlink(), "one_0000.nii.gz"),
    "image of 4 axes": (lambda d: write(d / "images/one_0000.nii.gz", np.zeros((2, *SHAPE), np.int16),
                                        spacing=(1.5, 1.5, 3.0, 1.0)), "one_0000.nii.gz"),
    "prediction that is truncated": (lambda d: truncate(d / "made/one.nii.gz"), "one.nii.gz"),
    "prediction of halves": (lambda d: write(d / "made/one.nii.gz", np.full(SHAPE, 0.5, np.float32)), "0.5"),
    "prediction of NaN": (lambda d: write(d / "made/one.nii.gz", with_nan()), "nan"),
    "prediction of another label": (lambda d: write(d / "made/one.nii.gz", np.full(SHAPE, 7, np.uint8)), "7"),
    "prediction of a negative label": (lambda d: write(d / "made/one.nii.gz", np.full(SHAPE, -1, np.int16)), "-1"),
    "no predictions": (lambda d: [file.unlink() for file in (d / "made").glob("*.nii.gz")], ".nii.gz"),
    "no dataset.json": (lambda d: (d / "made/dataset.json").unlink(), "dataset.json"),
    "dataset.json of no labels": (lambda d: (d / "made/dataset.json").write_text('{"file_ending": ".nii"}'), "labels"),
    "dataset.json that is a list": (lambda d: (d / "made/dataset.json").write_text("[]"), "dataset.json"),
    "dataset.json that is cut": (lambda d: (d / "made/dataset.json").write_text('{"labels": {'), "dataset.json"),
    "name that is not UTF-8": (lambda d: os.rename(d / "made/one.nii.gz", os.fsencode(d / "made") + b"/\xff.nii.gz"),
                               "UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("truth", [True, False], ids=["with reference", "without"])
@pytest.mark.parametrize("what", SPOILT)
def test_bad_input_is_one_sentence_and_no_page(
    what: str, truth: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset(tmp_path / "data", names=["one", "two"])
    spoil, named = SPOILT[what]
    spoil(data)
    if what == "name that is not UTF-8" and truth:
        os.rename(data / "truth/one.nii.gz", os.fsencode(data / "truth") + b"/\xff.nii.gz")
    if what == "name that is not UTF-8":
        os.rename(data / "images/one_0000.nii.gz", os.fsencode(data / "images") + b"/\xff_0000.nii.gz")
    status, page = report(data, "-i", str(data / "images"), truth=truth)
    captured = capsys.readouterr()
    assert status == 2
    assert len(captured.err.splitlines()) == 1
    assert named in captured.err
    assert captured.out == ""
    assert not page.exists()
    assert not [file for file in tmp_path.rglob("*") if file.name.endswith(".tmp")]


@pytest.mark.parametrize("truth", [True, False], ids=["with reference", "without"])
@pytest.mark.parametrize("output", ["made/dataset.json", "made/one.nii.gz", "made", "x.htm", "made/link.html",
                                    "made/classes.html"])  # fmt: skip
def test_an_input_is_never_written_over(
    output: str, truth: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset(tmp_path / "data", names=["one"])
    (data / "made/link.html").symlink_to("one.nii.gz")
    (data / "made/classes.html").write_text((data / "made/dataset.json").read_text())
    before = {file: file.read_bytes() for file in data.rglob("*") if file.is_file()}
    status, _ = report(data, "-djfile", str(data / "made/classes.html"), truth=truth, output=data / output)
    assert status == 2
    assert Path(output).name in capsys.readouterr().err
    assert {file: file.read_bytes() for file in data.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--seed", "-1"], "--seed"), (["--cases", "-1"], "-1"), (["-np", "0"], "0"), (["--title", "a\nb"], "a\\nb"),
        (["--title", "\udcff"], "udcff"), (["-model", "."], "training_log"), (["-i", "nowhere"], "nowhere"),
        (["--series", "0"], "0"), (["--series", "1"], "--series"), (["-djfile", "nowhere.json"], "nowhere.json"),
        (["--tolerance", "2"], "--tolerance"), (["--lesion_overlap", "0.5"], "--lesion_overlap"),
        (["--factor", "2"], "--factor"), (["--chill"], "--chill"),
    ],
)  # fmt: skip
def test_a_flag_that_does_not_fit_is_named(
    flags: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, page = report(write_dataset(tmp_path / "data"), *flags, truth=False)
    assert status == 2
    assert named in capsys.readouterr().err
    assert not page.exists()


@pytest.mark.parametrize("truth", [True, False], ids=["with reference", "without"])
def test_names_are_text_and_nothing_else(truth: bool, tmp_path: Path) -> None:
    names = [name.replace("/", "_") for name in HOSTILE if name not in ("..",)]
    data = write_dataset(tmp_path / "data", names=names, labels=[*HOSTILE, "liver"][:4])
    plain = write_dataset(tmp_path / "plain" / "data", names=[f"c{i}" for i in range(len(names))], labels=list("abcd"))
    pages = []
    for folder in (data, plain):
        status, page = report(folder, "-i", str(folder / "images"), truth=truth)
        assert status == 0
        pages.append(Reader(page.read_text()))
    found, expected = (Counter(tag for tag, _ in page.attributes) for page in pages)
    assert found == expected
    assert not [value for value in pages[0].all("href") if value.lower().startswith("javascript:")]
    assert "{{7*7}}" in pages[0].text
    assert {row[0] for row in pages[0].tables["Every case"][1:]} == set(names)


@cache
def tags_of_a_page(text: str) -> Counter[str]:
    """How many tags of each kind a page has whose names, title and command are a text."""
    evaluation = make_evaluation({text: [0.5, "missed"], f"{text}2": ["absent", 0.25]}, names=[text, f"{text}b"])
    with TemporaryDirectory() as folder:
        page = write_report(evaluation, Path(folder, "r.html"), cases=0, extras=Extras(text, command=text))
        return Counter(tag for tag, _ in Reader(page.read_text()).attributes)


@settings(max_examples=10)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=60))
def test_any_text_stays_text(text: str) -> None:
    assert tags_of_a_page(text) == tags_of_a_page("a")


@pytest.mark.parametrize("truth", [True, False], ids=["with reference", "without"])
@pytest.mark.parametrize("shape", [(1, 16, 14), (2, 1, 1), (1, 1, 1), (3, 1, 9)])
def test_scans_of_hardly_any_voxels_are_shown(shape: tuple[int, ...], truth: bool, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", names=["one"])
    for file, values in (("truth/one", 1), ("made/one", 1), ("images/one_0000", 40)):
        write(data / f"{file}.nii.gz", np.full(shape, values, np.int16))
    status, page = report(data, "-i", str(data / "images"), truth=truth)
    assert status == 0
    assert f'"size": {list(shape[::-1])}' in page.read_text()


@pytest.mark.parametrize("truth", [True, False], ids=["with reference", "without"])
@pytest.mark.parametrize("value", [0, 1])
def test_classes_that_are_nowhere_or_everywhere_give_no_nan(value: int, truth: bool, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    for file in (*(data / "truth").iterdir(), *(data / "made").glob("*.nii.gz")):
        write(file, np.full(SHAPE, value, np.uint8))
    status, page = report(data, truth=truth)
    assert status == 0
    words = re.findall(r"\w+", Reader(page.read_text()).text)
    assert not {"nan", "inf", "None"} & set(words)


@pytest.mark.parametrize("labels", [{"background": 0, "a": 1, "b": 2, "c": 300},
                                    {"background": 0, "a": [1, 2, 300], "b": [2, 300]}])  # fmt: skip
@pytest.mark.parametrize("truth", [True, False], ids=["with reference", "without"])
def test_labels_above_a_byte_that_no_file_holds_do_no_harm(labels: dict, truth: bool, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    content = {"labels": labels, "regions_class_order": [1, 2], "file_ending": ".nii.gz"}
    (data / "made/dataset.json").write_text(json.dumps(content))
    assert report(data, truth=truth)[0] == 0


class TestPaths:
    @pytest.mark.parametrize("truth", [True, False], ids=["with reference", "without"])
    def test_of_the_machine_are_not_in_the_page(self, truth: bool, tmp_path: Path) -> None:
        data = write_dataset(tmp_path / "data")
        _, page = report(data, "-i", str(data / "images"), truth=truth, output=data / "made" / "report.html")
        html = page.read_text()
        held = [
            base64.b64decode(text).decode()
            for text in re.findall(r'href="data:[a-z/]+;base64,([^"]*)"', html)
        ]  # fmt: skip
        assert held
        for text in (html, *held):
            assert str(tmp_path) not in text
            assert not re.search(rf"[/\\]{re.escape(getpass.getuser())}[/\\]", text)
        assert all("made/one.nii.gz" not in text for text in held)

    @pytest.mark.parametrize("truth", [True, False], ids=["with reference", "without"])
    def test_in_the_command_lead_back(self, truth: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = write_dataset(tmp_path / "da ta")
        flags = ["-i", str(data / "images"), "--cases", "2", "--title", "it's $HOME"]
        _, page = report(data, *flags, truth=truth, output=tmp_path / "out" / "a b.html")
        html = page.read_text()
        shown = re.search(r'<pre tabindex="0">(cfseg report .*?)</pre>', html, re.S)
        assert shown is not None
        words = shlex.split(shown[1].replace("&#39;", "'").replace("&#34;", '"').replace("\\\n", " "))
        page.unlink()
        monkeypatch.chdir(page.parent)
        assert cli.main([*words[1:], "-np", "1", "--no_pbar"]) == 0
        assert page.read_text() == html

    def test_elsewhere_are_left_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(getpass, "getuser", lambda: "anna")
        data = write_dataset(tmp_path / "anna" / "data")
        _, page = report(data, "-i", str(data / "images"), truth=True, output=tmp_path / "out" / "r.html")
        html = page.read_text()
        assert "anna" not in html
        assert "add their paths" in html


class TestDicom:
    @pytest.mark.parametrize("truth", [True, False], ids=["with reference", "without"])
    @pytest.mark.parametrize("kind", ["a folder for each case", "the folder of the only case"])
    def test_is_shown_as_the_file_is(self, kind: str, truth: bool, tmp_path: Path) -> None:
        data = write_dataset(tmp_path / "data", names=["one"])
        _, from_files = report(data, "-i", str(data / "images"), truth=truth)
        image = sitk.ReadImage(str(data / "images/one_0000.nii.gz"))
        folder = write_dicom(tmp_path / "dicom" / ("one" if kind.startswith("a folder") else "IM 0"), image)
        images = folder.parent if kind.startswith("a folder") else folder
        status, page = report(data, "-i", str(images), truth=truth, output=tmp_path / "dicom.html")
        assert status == 0
        packed = [re.search(r'data-volume="image">([^<]*)<', file.read_text()) for file in (from_files, page)]
        assert packed[0] is not None
        assert packed[1] is not None
        assert packed[0][1] == packed[1][1]

    def test_of_another_patient_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        data = write_dataset(tmp_path / "data", names=["one"])
        image = sitk.ReadImage(str(data / "images/one_0000.nii.gz"))
        image.SetOrigin((0, 0, 30))
        folder = write_dicom(tmp_path / "one", image)
        assert report(data, "-i", str(folder), truth=False)[0] == 2
        assert "(0, 0, 30)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["{gt} -i {i} {pred}", "-i {i} {gt} {pred}", "{gt} {pred} -i {i}", "{gt} --chill {pred} -i {i}"]
)
def test_flags_may_stand_between_the_folders(words: str, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    arguments = [word.format(gt=data / "truth", pred=data / "made", i=data / "images") for word in words.split()]
    assert cli.main(["report", *arguments, "--no_pbar", "-np", "1"]) == 0
    assert "Evaluation of made" in (data / "made/report.html").read_text()


@pytest.mark.parametrize("words", [["a", "b", "c"], ["a", "-i", "x", "b", "c"], [], ["a", "--unknown"]])
def test_too_many_words_and_too_few_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", *words])
    assert ended.value.code == 2
    assert "usage: cfseg report" in capsys.readouterr().err or words
