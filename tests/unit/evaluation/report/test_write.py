"""The report's file: whole or not at all, alone, with links that lead somewhere."""

from __future__ import annotations

import base64
import json
import re
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from nnunetv2_cfseg.evaluation.report import write
from nnunetv2_cfseg.evaluation.report.viewer import case_link
from nnunetv2_cfseg.evaluation.report.write import write_report
from nnunetv2_cfseg.evaluation.summary import summarise
from nnunetv2_cfseg.files.json_text import as_read_back

from .evaluations import evaluate_dataset, make_evaluation, write_dataset
from .reader import Reader
from .test_curves import write_log


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


def links_in_viewer(html: str) -> list[str]:
    description = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.S)
    assert description is not None
    return [href for case in json.loads(description[1])["cases"] for _, href in case["links"]]


class TestAlone:
    def test_loads_nothing(self, dataset: Path, tmp_path: Path) -> None:
        html = write_report(evaluate_dataset(dataset), tmp_path / "r.html", images=dataset / "images").read_text()
        reader = Reader(html)
        assert not reader.all("src")
        assert not reader.tags("link")
        assert not reader.tags("iframe")
        assert not [href for href in reader.all("href") if re.match(r"(?!data:)[a-z]+:|//", href)]
        styles = "".join(re.findall(r"<style>.*?</style>", html, re.S))
        assert "url(" not in styles
        assert "@import" not in styles
        assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|import\(|sendBeacon", html)

    def test_forbids_the_browser_to_load_anything(self, dataset: Path, tmp_path: Path) -> None:
        reader = Reader(write_report(evaluate_dataset(dataset), tmp_path / "r.html").read_text())
        (policy,) = [meta["content"] for meta in reader.tags("meta") if "http-equiv" in meta]
        assert policy.startswith("default-src 'none';")
        assert "http" not in policy

    def test_holds_the_table_and_the_summary(self, dataset: Path, tmp_path: Path) -> None:
        evaluation = evaluate_dataset(dataset)
        reader = Reader(write_report(evaluation, tmp_path / "mine.html", seed=3).read_text())
        held = {
            a["download"]: base64.b64decode(a["href"].split(",")[1]).decode()
            for a in reader.tags("a")
            if "download" in a
        }
        assert set(held) == {"mine.csv", "mine.json"}
        pd.testing.assert_frame_equal(pd.read_csv(StringIO(held["mine.csv"]), dtype={"label": str}), evaluation.table)
        held_summary, summary = json.loads(held["mine.json"]), as_read_back(summarise(evaluation, seed=3))
        for case, own in zip(held_summary["metric_per_case"], summary["metric_per_case"], strict=True):
            for name in ("prediction_file", "reference_file"):
                assert str(tmp_path / case.pop(name)) == own.pop(name)  # no folder of this machine is in the page
        assert held_summary == summary

    def test_is_the_same_again(self, dataset: Path, tmp_path: Path) -> None:
        files = [write_report(evaluate_dataset(dataset), tmp_path / "r.html").read_bytes() for _ in range(2)]
        assert files[0] == files[1]


class TestLinks:
    def test_lead_to_files(self, tmp_path: Path) -> None:
        data = write_dataset(tmp_path / "da ta", names=["scan #1 50%", "b?c&d", "e"])
        output = tmp_path / "out" / "there" / "report.html"
        html = write_report(evaluate_dataset(data), output, images=data / "images").read_text()
        folders = [href for href in Reader(html).all("href") if not href.startswith(("#", "data:"))]
        files = links_in_viewer(html)
        assert len(folders) == 3
        assert len(files) == 9
        for href in (*folders, *files):
            path = output.parent / unquote(href)
            assert "?" not in href
            assert "#" not in href
            assert path.is_dir() if href.endswith("/") else path.is_file()

    def test_of_cases_lead_into_the_browser(self, dataset: Path, tmp_path: Path) -> None:
        reader = Reader(write_report(evaluate_dataset(dataset), tmp_path / "r.html", cases=2).read_text())
        hrefs = [href for href in reader.all("href") if href.startswith("#viewer")]
        # The empty prediction is the worst; all others are alike.
        assert hrefs == [case_link("three"), case_link("one")]
        assert set(reader.all("data-href")) == set(hrefs)


class TestBrowser:
    def test_says_which_cases_it_leaves_out(self, dataset: Path, tmp_path: Path) -> None:
        evaluation = evaluate_dataset(dataset)
        some = Reader(write_report(evaluation, tmp_path / "some.html", cases=2).read_text())
        every = Reader(write_report(evaluation, tmp_path / "every.html", cases=3).read_text())
        assert "Of 3 cases the browser holds the first 2; all 3 are in the tables." in some.text
        assert "holds the worst" not in every.text
        assert (2, "Slice browser") in some.headings

    def test_can_be_left_out(self, dataset: Path, tmp_path: Path) -> None:
        reader = Reader(write_report(evaluate_dataset(dataset), tmp_path / "r.html", cases=0).read_text())
        assert (2, "Slice browser") not in reader.headings
        assert "#browser" not in reader.all("href")
        assert not reader.all("data-href")

    def test_names_become_no_markup(self, tmp_path: Path) -> None:
        evil = "<img src=x onerror=alert(1)>'\"&"
        label = "</script><script>alert(1)</script>"
        data = write_dataset(tmp_path / "data", names=[evil], labels=[label, "tumour"])
        html = write_report(evaluate_dataset(data), tmp_path / "r.html", images=data / "images").read_text()
        reader = Reader(html)
        assert not reader.tags("img")
        assert label in reader.text
        assert evil in reader.text
        plain = write_dataset(tmp_path / "plain", names=["a"])
        expected = Reader(
            write_report(evaluate_dataset(plain), tmp_path / "p.html", images=plain / "images").read_text()
        )
        assert len(reader.tags("script")) == len(expected.tags("script"))

    def test_shares_its_voxels_among_its_cases(
        self, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(write, "VOXELS", 1200)
        monkeypatch.setattr(write, "VOXELS_OF_CASE", 600)
        sizes = {}
        for cases in (1, 3):
            html = write_report(evaluate_dataset(dataset), tmp_path / "r.html", images=dataset / "images", cases=cases)
            found = re.findall(r'"size": ?\[(\d+), ?(\d+), ?(\d+)\]', html.read_text())
            sizes[cases] = max(int(x) * int(y) * int(z) for x, y, z in found)
        assert sizes[3] <= 400 < sizes[1] <= 600


class TestImages:
    def test_may_lack_the_number_of_their_channel(self, dataset: Path, tmp_path: Path) -> None:
        (dataset / "images" / "one_0000.nii.gz").rename(dataset / "images" / "one.nii.gz")
        assert write_report(evaluate_dataset(dataset), tmp_path / "r.html", images=dataset / "images").is_file()

    def test_that_are_missing_are_named(self, dataset: Path, tmp_path: Path) -> None:
        (dataset / "images" / "two_0000.nii.gz").unlink()
        with pytest.raises(
            ValueError, match=r"needs an image, two_0000.nii.gz or two.nii.gz, and there is none in: .*images"
        ):
            write_report(evaluate_dataset(dataset), tmp_path / "r.html", images=dataset / "images")
        with pytest.raises(ValueError, match="images must lie in a folder, and there is none: "):
            write_report(evaluate_dataset(dataset), tmp_path / "r.html", images=dataset / "nowhere")

    def test_are_not_needed(self, dataset: Path, tmp_path: Path) -> None:
        text = Reader(write_report(evaluate_dataset(dataset), tmp_path / "r.html").read_text()).text
        assert "There is no folder of images, so only labels are shown." in text


class TestTraining:
    def test_is_shown_fold_by_fold(self, tmp_path: Path) -> None:
        for fold in (0, 1):
            write_log(tmp_path / "model" / f"fold_{fold}", "2026_11_23_21_33_03", (0, 0.9), (1, 0.5), done=fold == 0)
        evaluation = make_evaluation({"liver": [0.5, 0.6]})
        reader = Reader(write_report(evaluation, tmp_path / "r.html", cases=0, model=tmp_path / "model").read_text())
        assert reader.headings[4:7] == [(2, "Training"), (3, "Fold 0"), (3, "Fold 1")]
        assert (
            "2 epochs of 2 s on average, 3 s together. Mean pseudo Dice was highest in epoch 0: 0.500." in reader.text
        )
        assert reader.text.count("its last log does not say that training ended") == 1
        charts = [svg["aria-label"] for svg in reader.tags("svg") if "epochs" in svg.get("aria-label", "")]
        assert charts[:3] == [
            "Loss over 2 epochs; at the end training 0.500, validation 0.500",
            "Pseudo Dice over 2 epochs; at the end liver 0.500, mean 0.500",
            "Learning rate over 2 epochs; at the end learning rate 0.001",
        ]

    def test_of_other_classes_is_shown_by_number(self, tmp_path: Path) -> None:
        write_log(tmp_path / "model" / "fold_0", "2026_11_23_21_33_03", (0, 0.9))
        evaluation = make_evaluation({"liver": [0.5], "tumour": [0.5]})
        reader = Reader(write_report(evaluation, tmp_path / "r.html", cases=0, model=tmp_path / "model").read_text())
        assert "Pseudo Dice over 1 epoch; at the end class 1 0.500, mean 0.500" in reader.all("aria-label")

    def test_without_logs_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no fold_X/training_log"):
            write_report(make_evaluation({"liver": [0.5]}), tmp_path / "r.html", cases=0, model=tmp_path)


class TestFile:
    def test_appears_whole_or_not_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        evaluation, output = make_evaluation({"liver": [0.5]}), tmp_path / "deep" / "r.html"
        write_report(evaluation, output, cases=0)
        before = output.read_bytes()

        def full(*_: object) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr("nnunetv2_cfseg.files.atomic_files.os.replace", full)
        with pytest.raises(OSError, match="no space left"):
            write_report(make_evaluation({"liver": [0.9]}), output, cases=0)
        assert list(output.parent.iterdir()) == [output]
        assert output.read_bytes() == before

    def test_refuses_a_negative_number_of_cases(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="number of cases to show must be >= 0, got -1"):
            write_report(make_evaluation({"liver": [0.5]}), tmp_path / "r.html", cases=-1)
        assert not list(tmp_path.iterdir())
