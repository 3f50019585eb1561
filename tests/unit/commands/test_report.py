"""``cfseg report``: its flags, what it prints, and that it refuses before it measures."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.evaluation import evaluate

from ..evaluation.report.evaluations import write_dataset
from ..evaluation.report.reader import Reader
from ..evaluation.report.test_curves import write_log


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


def run(data: Path, *flags: str) -> int:
    return cli.main(["report", str(data / "truth"), str(data / "made"), "-np", "1", "--no_pbar", *flags])


def refusal(data: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one line on stderr, after a look at what must not have been written."""
    before = sorted(data.rglob("*"))
    assert run(data, *flags) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line, *others = captured.err.splitlines()
    assert others == []
    assert sorted(data.rglob("*")) == before
    return line.removeprefix("cfseg report: ")


class TestOutput:
    def test_is_one_file_beside_the_predictions(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = set(data.rglob("*"))
        assert run(data) == 0
        assert set(data.rglob("*")) - before == {data / "made" / "report.html"}
        captured = capsys.readouterr()
        assert captured.out == f"Wrote {data / 'made' / 'report.html'}\n"
        assert captured.err == ""
        assert Reader((data / "made" / "report.html").read_text()).headings[0] == (1, "Evaluation of made")

    def test_does_all_that_flags_ask(self, data: Path, tmp_path: Path) -> None:
        write_log(tmp_path / "model" / "fold_0", "2026_11_23_21_33_03", (0, 0.9))
        output = tmp_path / "new" / "mine.html"
        flags = ["-i", str(data / "images"), "-djfile", str(data / "made" / "dataset.json"), "-o", str(output)]
        flags += ["-model", str(tmp_path / "model"), "--title", "Mine & yours", "--cases", "1", "--tolerance", "2.5"]
        flags += ["--lesion_overlap", "0.5", "--seed", "4", "--factor", "2"]
        assert run(data, *flags) == 0
        reader = Reader(output.read_text())
        titles = [words for _, words in reader.headings]
        assert titles[0] == "Mine & yours"
        assert {"Training", "Slice browser"} <= set(titles)
        assert "the browser holds the first 1" in reader.text
        settings = dict(reader.tables["What it was measured with"])
        assert settings["tolerance of the surface Dice"] == "2.5 mm"
        assert settings["overlap for a lesion to count as found"] == "0.5"
        assert settings["thin slices in a thick one"] == "2"
        assert settings["bootstrap"] == "2000 resamples of the cases, seed 4, 95% intervals"
        assert "boundary-slab Dice" in reader.tables["Every class in numbers"][0]

    def test_shows_the_command_that_gives_it_again(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        title = "it's $HOME; \\ 100%"
        assert run(data, "-i", str(data / "images"), "--title", title, "-o", str(tmp_path / "a b.html"), "--chill") == 0
        html = (tmp_path / "a b.html").read_text()
        shown = Reader(html).text.partition("The command that made this page:")[2].strip().partition("\n\n")[0]
        first, *arguments = shlex.split(shown.replace("\\\n", " ").split("\n")[0])
        assert first == "cfseg"
        (tmp_path / "a b.html").unlink()
        assert not [word for word in arguments if str(tmp_path) in word]
        monkeypatch.chdir(tmp_path)
        assert cli.main([*arguments, "-np", "1", "--no_pbar"]) == 0
        assert (tmp_path / "a b.html").read_text() == html

    def test_counts_only_pairs_if_told_to(self, data: Path, tmp_path: Path) -> None:
        (data / "made" / "two.nii.gz").unlink()
        assert run(data, "-o", str(tmp_path / "r.html"), "--chill") == 0
        assert "1 case without a prediction left out: two." in Reader((tmp_path / "r.html").read_text()).text


class TestFromATable:
    @pytest.fixture
    def page(self, data: Path, tmp_path: Path) -> str:
        """Of what was measured for it."""
        output = tmp_path / "report.html"
        assert run(data, "-i", str(data / "images"), "-o", str(output)) == 0
        return output.read_text()

    @pytest.fixture
    def table(self, data: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Of the data, measured a moment ago; from now on nothing can be measured."""
        output = data / "scores.json"
        assert cli.main(["evaluate", str(data / "truth"), str(data / "made"), "-o", str(output), "-np", "1"]) == 0
        monkeypatch.setattr(evaluate, "_measure_case", _measured)
        return output.with_suffix(".csv")

    def test_is_the_page_of_the_measured(self, data: Path, page: str, table: Path, tmp_path: Path) -> None:
        output = tmp_path / "report.html"
        assert run(data, "-i", str(data / "images"), "-o", str(output), "--from", str(table)) == 0
        line = " \\\n    --from data/scores.csv"
        assert line in output.read_text()
        assert output.read_text().replace(line, "") == page

    def test_refuses_other_settings(self, data: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
        capsys.readouterr()
        line = refusal(data, capsys, "--from", str(table), "--tolerance", "2")
        assert line == f"the table was measured with tolerance_mm 1.0 instead of 2.0: {table}"

    def test_refuses_to_overwrite_the_table(self, data: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
        capsys.readouterr()
        page = table.rename(data / "scores.html")
        assert str(page) in refusal(data, capsys, "--from", str(page), "-o", str(page))

    def test_needs_a_reference(self, data: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["report", str(data / "made"), "--from", str(table)]) == 2
        assert "--from needs a reference" in capsys.readouterr().err


def _measured(*_: object, **__: object) -> None:
    raise AssertionError("measured, where it must not be")


class TestRefusal:
    @pytest.fixture(autouse=True)
    def _measures_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An evaluation takes minutes; what is wrong with a flag is known before."""

        monkeypatch.setattr(evaluate, "_measure_case", _measured)

    def test_output_that_is_no_page(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rule = "the output must be a file that ends with .html, got: "
        assert refusal(data, capsys, "-o", "report.json") == f"{rule}report.json"
        (data / "folder.html").mkdir()
        assert refusal(data, capsys, "-o", str(data / "folder.html")).startswith(rule)

    def test_negative_numbers(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert refusal(data, capsys, "--seed", "-1") == "the seed must be >= 0, got -1"
        assert refusal(data, capsys, "--cases", "-2") == "the number of cases to show must be >= 0, got -2"

    def test_image_that_is_missing(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (data / "images" / "two_0000.nii.gz").unlink()
        message = refusal(data, capsys, "-i", str(data / "images"))
        assert message.startswith("each case needs an image, two_0000.nii.gz or two.nii.gz, and there is none in: ")

    def test_model_without_logs(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert refusal(data, capsys, "-model", str(data)).startswith("there is no fold_X/training_log")

    def test_folder_without_dataset_json(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (data / "made" / "dataset.json").unlink()
        assert refusal(data, capsys).startswith("there is no dataset.json, name one with -djfile")
