"""The page about segmentations that nothing is there to compare with."""

from __future__ import annotations

import base64
import re
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from nnunetv2_cfseg.evaluation.report.links import find_images
from nnunetv2_cfseg.evaluation.report.observations import Observations, observe_folder
from nnunetv2_cfseg.evaluation.report.unreferenced import write_unreferenced_report
from nnunetv2_cfseg.evaluation.report.viewer import case_link
from nnunetv2_cfseg.imaging.segmentations import case_files
from nnunetv2_cfseg.nnunet.classes import read_classes

from .evaluations import write_dataset
from .reader import Reader
from .test_curves import write_log


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three predictions of liver and tumour, the last one empty."""
    return write_dataset(tmp_path / "data")


def observed(dataset: Path) -> Observations:
    files = case_files(dataset / "made", ".nii.gz")
    return observe_folder(files, read_classes(dataset / "made" / "dataset.json"), progress=False)


def page(dataset: Path, output: Path, **settings: object) -> str:
    observations = observed(dataset)
    images = find_images(observations.cases, dataset / "images")
    return write_unreferenced_report(observations, output, images=images, **settings).read_text()  # type: ignore[arg-type]


def test_says_that_there_is_no_reference(dataset: Path, tmp_path: Path) -> None:
    reader = Reader(page(dataset, tmp_path / "r.html"))
    assert "There is no reference: this page shows what was segmented, but not whether it is right." in (reader.text)
    assert "4 structures were found in 3 segmentations of 2 classes" in reader.text
    assert reader.headings[0] == (1, "Segmentations of made")


def test_speaks_of_no_comparison(dataset: Path, tmp_path: Path) -> None:
    html = page(dataset, tmp_path / "r.html")
    text = Reader(html).text
    for word in ("Dice", "truth", "HD95", "missed", "false alarm", "error", "nan"):
        assert not re.search(rf"\b{word}", text, re.I), word
    assert "ground truth" not in html.lower()


def test_shows_volumes_of_classes_and_cases(dataset: Path, tmp_path: Path) -> None:
    tables = Reader(page(dataset, tmp_path / "r.html")).tables
    _, liver, tumour = tables["Every class in numbers"]
    # 4 x 3 x 4 and 4 x 3 x 5 voxels of 6.75 mm3.
    for row, name in ((liver, "liver"), (tumour, "tumour")):
        assert row[:2] == [name, "2 of 3"]
        assert row[2].startswith("0.36|")
        assert row[3:] == ["0.32", "0.40", "1", "0"]
    _, *cases = tables["Every case"]
    assert [row[0] for row in cases] == ["one", "three", "two"]
    assert [row[1] for row in cases] == ["0", "1", "0"]


def test_lists_what_is_odd_and_leads_there(dataset: Path, tmp_path: Path) -> None:
    reader = Reader(page(dataset, tmp_path / "r.html"))
    assert reader.tables["What is worth a look"][1:] == [["three", "nothing was found in this scan", "all classes"]]
    assert case_link("three") in reader.all("href")
    assert (2, "Slice browser") in reader.headings


def test_says_so_if_nothing_is_odd(tmp_path: Path) -> None:
    reader = Reader(page(write_dataset(tmp_path / "data", names=["one"]), tmp_path / "r.html"))
    assert "The list is empty." in reader.text
    assert "What is worth a look" not in reader.tables


def test_holds_its_table(dataset: Path, tmp_path: Path) -> None:
    reader = Reader(page(dataset, tmp_path / "mine.html"))
    (link,) = [tag for tag in reader.tags("a") if "download" in tag]
    held = pd.read_csv(
        StringIO(base64.b64decode(link["href"].split(",")[1]).decode()), dtype={"label": str}, keep_default_na=False
    )
    expected = observed(dataset).table
    pd.testing.assert_frame_equal(held, expected, check_dtype=False)


def test_contents_lead_to_sections_in_order(dataset: Path, tmp_path: Path) -> None:
    write_log(tmp_path / "model" / "fold_0", "2026_11_23_21_33_03", (0, 0.9))
    reader = Reader(page(dataset, tmp_path / "r.html", model=tmp_path / "model"))
    titles = [words for level, words in reader.headings if level == 2]
    assert titles == [
        "Slice browser", "Worth a look", "Every class", "Training", "Case by case", "Settings and files",
    ]  # fmt: skip
    anchors = [href[1:] for href in reader.all("href") if re.fullmatch(r"#\w+", href)]
    assert set(anchors) <= set(reader.all("id"))


def test_cases_with_most_remarks_come_first(dataset: Path, tmp_path: Path) -> None:
    html = page(dataset, tmp_path / "r.html", cases=1)
    assert "Of 3 cases the browser holds the first 1" in html
    assert re.findall(r'<button type="button" data-case="\d+"><span class="name">(\w+)', html) == ["three"]


def test_can_do_without_browser_and_images(dataset: Path, tmp_path: Path) -> None:
    without = Reader(write_unreferenced_report(observed(dataset), tmp_path / "a.html").read_text())
    assert "There is no folder of images, so only labels are shown." in without.text
    none = Reader(page(dataset, tmp_path / "b.html", cases=0))
    assert (2, "Slice browser") not in none.headings
    with pytest.raises(ValueError, match="must be >= 0, got -1"):
        page(dataset, tmp_path / "c.html", cases=-1)
