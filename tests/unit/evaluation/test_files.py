"""Files of an evaluation: pairs, and each refusal with the rule, the value and the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunetv2_cfseg.evaluation.files import Case, Unpaired, find_factor, find_unpaired, pair_cases

ENDING = ".nii.gz"


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


class TestPairCases:
    def test_pairs_by_name(self, tmp_path: Path) -> None:
        truth, prediction = fill(tmp_path / "t", "b.nii.gz", "a.nii.gz"), fill(tmp_path / "p", "a.nii.gz", "b.nii.gz")
        assert pair_cases(truth, prediction, ENDING) == [
            Case(name, truth / f"{name}.nii.gz", prediction / f"{name}.nii.gz") for name in ("a", "b")
        ]
        assert find_unpaired(truth, prediction, ENDING) == Unpaired()

    def test_names_the_first_reference_without_a_prediction(self, tmp_path: Path) -> None:
        truth = fill(tmp_path / "t", *(f"{name}.nii.gz" for name in "abcd"))
        prediction = fill(tmp_path / "p", "a.nii.gz", "e.nii.gz")
        with pytest.raises(ValueError, match=f"no prediction in {prediction} .* {truth}/b.nii.gz$"):
            pair_cases(truth, prediction, ENDING)

    def test_names_the_first_prediction_without_a_reference(self, tmp_path: Path) -> None:
        truth, prediction = fill(tmp_path / "t", "b.nii.gz"), fill(tmp_path / "p", "a.nii.gz", "b.nii.gz")
        with pytest.raises(ValueError, match=f"no reference in {truth} .* {prediction}/a.nii.gz$"):
            pair_cases(truth, prediction, ENDING)

    def test_leaves_both_out_where_it_is_chill(self, tmp_path: Path) -> None:
        truth = fill(tmp_path / "t", *(f"{name}.nii.gz" for name in "abc"))
        prediction = fill(tmp_path / "p", *(f"{name}.nii.gz" for name in "bde"))
        assert [case.name for case in pair_cases(truth, prediction, ENDING, chill=True)] == ["b"]
        assert find_unpaired(truth, prediction, ENDING) == Unpaired(("a", "c"), ("d", "e"))

    def test_refuses_folders_without_a_pair_even_so(self, tmp_path: Path) -> None:
        truth, prediction = fill(tmp_path / "t", "a.nii.gz"), fill(tmp_path / "p", "b.nii.gz")
        with pytest.raises(ValueError, match=f"no prediction in {prediction} .* {truth}$"):
            pair_cases(truth, prediction, ENDING, chill=True)


class TestFindFactor:
    @pytest.fixture
    def raw(self, tmp_path: Path) -> Path:
        (tmp_path / "raw" / "labelsTs").mkdir(parents=True)
        (tmp_path / "raw" / "labelsTs_thick").mkdir()
        return tmp_path / "raw"

    def test_is_none_without_a_sidecar(self, raw: Path) -> None:
        assert find_factor(raw / "labelsTs", raw / "dataset.json") is None

    def test_lies_beside_the_references_or_dataset_json(self, raw: Path, tmp_path: Path) -> None:
        (raw / "thin_thick.json").write_text(json.dumps({"factor": 5, "cases": {}}))
        assert find_factor(raw / "labelsTs", tmp_path / "dataset.json") == 5
        assert find_factor(tmp_path / "elsewhere", raw / "dataset.json") == 5
        assert find_factor(tmp_path / "elsewhere" / "labels", tmp_path / "dataset.json") is None

    def test_finds_the_parent_of_the_folder_one_is_in(self, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (raw / "thin_thick.json").write_text('{"factor": 5}')
        monkeypatch.chdir(raw / "labelsTs")
        assert find_factor(Path(), Path("dataset.json")) == 5

    def test_is_none_where_the_references_are_thick(self, raw: Path) -> None:
        (raw / "thin_thick.json").write_text('{"factor": 5}')
        assert find_factor(raw / "labelsTs_thick", raw / "dataset.json") is None

    @pytest.mark.parametrize("content", ['{"factor": "5"}', '{"factor": 2.5}', '{"factor": 1}', "{}"])
    def test_is_none_where_none_is_given(self, raw: Path, content: str) -> None:
        (raw / "thin_thick.json").write_text(content)
        assert find_factor(raw / "labelsTs", raw / "dataset.json") is None

    def test_refuses_a_sidecar_that_is_no_json(self, raw: Path) -> None:
        (raw / "thin_thick.json").write_text("{")
        with pytest.raises(ValueError, match=r"thin_thick.json must be JSON .*thin_thick.json$"):
            find_factor(raw / "labelsTs", raw / "dataset.json")
