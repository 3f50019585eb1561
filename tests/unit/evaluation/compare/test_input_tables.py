"""What is compared is checked before anything is measured."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from nnunetv2_cfseg.evaluation.compare.input_tables import common_cases, find_dataset_json, name_folders, name_of
from nnunetv2_cfseg.evaluation.compare.metrics import COMPARABLE, METRICS, check_metrics
from nnunetv2_cfseg.evaluation.metric_definitions import COLUMNS


def folder(path: Path, cases: Iterable[str] = (), labels: dict | None = None) -> Path:
    path.mkdir(parents=True)
    for case in cases:
        (path / f"{case}.nii.gz").touch()
    if labels is not None:
        (path / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    return path


class TestNames:
    @pytest.mark.parametrize(
        ("paths", "names"),
        [
            (["a", "b"], ["a", "b"]),
            (["x/pred", "y/other"], ["pred", "other"]),
            (["x/pred", "y/pred"], ["x/pred", "y/pred"]),
            (["x/pred", "y/pred", "y/other"], ["x/pred", "y/pred", "other"]),
            (["1/run/pred", "2/run/pred", "2/walk/pred"], ["1/run/pred", "2/run/pred", "walk/pred"]),
        ],
    )
    def test_are_the_shortest_ends_of_paths_that_differ(
        self, tmp_path: Path, paths: list[str], names: list[str]
    ) -> None:
        folders = [folder(tmp_path / path) for path in paths]
        assert name_folders(folders) == dict(zip(names, folders, strict=True))

    def test_of_a_folder_inside_its_namesake_differ(self, tmp_path: Path) -> None:
        outer = folder(tmp_path / "pred")
        names = list(name_folders([outer, folder(outer / "pred")]))
        assert names == [f"{tmp_path.name}/pred", "pred/pred"]

    def test_are_known_of_the_current_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder(tmp_path / "here"))
        assert list(name_folders([Path("."), folder(tmp_path / "there")])) == ["here", "there"]

    def test_can_be_given(self, tmp_path: Path) -> None:
        folders = [folder(tmp_path / "a"), folder(tmp_path / "b")]
        assert name_folders(folders, ["old", "new"]) == {"old": folders[0], "new": folders[1]}

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["x"], r"one for each of the 2 folders, got 1: x$"),
            (["x", "y", "z"], r"one for each of the 2 folders, got 3: x, y, z$"),
            (["x", "x"], r"must differ and not be empty, got: x, x$"),
            (["x", " "], r"must differ and not be empty"),
        ],
    )
    def test_that_do_not_tell_folders_apart_are_refused(self, tmp_path: Path, names: list[str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            name_folders([folder(tmp_path / "a"), folder(tmp_path / "b")], names)


class TestFolders:
    def test_must_be_two(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"at least two folders, got 1: .*/a$"):
            name_folders([folder(tmp_path / "a")])

    def test_must_differ(self, tmp_path: Path) -> None:
        a, b = folder(tmp_path / "a"), folder(tmp_path / "b")
        with pytest.raises(ValueError, match=r"with itself.*: .*/b/\.\./a$"):
            name_folders([a, b, b / ".." / "a"])

    def test_must_differ_behind_links(self, tmp_path: Path) -> None:
        a = folder(tmp_path / "a")
        (tmp_path / "link").symlink_to(a)
        with pytest.raises(ValueError, match="with itself"):
            name_folders([a, tmp_path / "link"])

    def test_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"no such folder .*: .*/none$"):
            name_folders([folder(tmp_path / "a"), tmp_path / "none"])

    def test_the_reference_is_one_of_them(self, tmp_path: Path) -> None:
        named = name_folders([folder(tmp_path / "a"), folder(tmp_path / "b")])
        assert name_of(tmp_path / "a" / ".." / "b", named) == "b"
        with pytest.raises(ValueError, match=r"-ref must be one of .*/a, .*/b\), got: .*/c$"):
            name_of(tmp_path / "c", named)


class TestCases:
    def test_are_those_of_the_truth(self, tmp_path: Path) -> None:
        named = name_folders([folder(tmp_path / name, ["c2", "c1"]) for name in "ab"])
        found = common_cases(folder(tmp_path / "gt", ["c1", "c2"]), named, file_ending=".nii.gz")
        assert (found.compared, found.left_out, found.without_truth) == (("c1", "c2"), {}, ())

    def test_that_a_folder_lacks_are_named(self, tmp_path: Path) -> None:
        truth = folder(tmp_path / "gt", ["c1", "c2", "c3"])
        named = name_folders([folder(tmp_path / "a", ["c1", "c2", "c3"]), folder(tmp_path / "b", ["c1"])])
        with pytest.raises(ValueError, match=r"no prediction of c2, c3; .*--chill.*: .*/b$"):
            common_cases(truth, named, file_ending=".nii.gz")

    def test_of_which_many_are_missing_are_named_in_part(self, tmp_path: Path) -> None:
        cases = [f"c{number}" for number in range(9)]
        named = name_folders([folder(tmp_path / "a", cases[:1]), folder(tmp_path / "b", cases)])
        with pytest.raises(ValueError, match=r"no prediction of c1, c2, c3, c4, c5 and 3 more; .*: .*/a$"):
            common_cases(folder(tmp_path / "gt", cases), named, file_ending=".nii.gz")

    def test_without_truth_are_named(self, tmp_path: Path) -> None:
        named = name_folders([folder(tmp_path / "a", ["c1"]), folder(tmp_path / "b", ["c1", "c2"])])
        with pytest.raises(ValueError, match=r"no reference in .*/gt .*: .*/b/c2\.nii\.gz$"):
            common_cases(folder(tmp_path / "gt", ["c1"]), named, file_ending=".nii.gz")

    def test_that_only_some_have_can_be_left_out(self, tmp_path: Path) -> None:
        truth = folder(tmp_path / "gt", ["c1", "c2", "c3", "c4"])
        named = name_folders([folder(tmp_path / "a", ["c1", "c2"]), folder(tmp_path / "b", ["c2", "c3", "c5"])])
        found = common_cases(truth, named, file_ending=".nii.gz", only_common=True)
        assert found.compared == ("c2",)
        assert found.left_out == {"c1": ("a",), "c3": ("b",), "c4": ()}
        assert found.without_truth == ("c5",)

    def test_must_not_all_be_left_out(self, tmp_path: Path) -> None:
        named = name_folders([folder(tmp_path / "a", ["c1"]), folder(tmp_path / "b", ["c2"])])
        with pytest.raises(ValueError, match=r"no case is in all folders.*: .*/a, .*/b$"):
            common_cases(folder(tmp_path / "gt", ["c1", "c2"]), named, file_ending=".nii.gz", only_common=True)


class TestDatasetJson:
    LABELS = {"background": 0, "liver": 1}

    def test_is_the_first_folders(self, tmp_path: Path) -> None:
        folders = [folder(tmp_path / "a", labels=self.LABELS), folder(tmp_path / "b")]
        assert find_dataset_json(folders) == tmp_path / "a" / "dataset.json"

    def test_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"no dataset.json.*-djfile: .*/a/dataset\.json$"):
            find_dataset_json([folder(tmp_path / "a"), folder(tmp_path / "b", labels=self.LABELS)])

    def test_with_other_labels_is_refused(self, tmp_path: Path) -> None:
        """Where 1 is liver in one and spleen in the other, Dice would be that of neither."""
        other = folder(tmp_path / "b", labels={"background": 0, "spleen": 1})
        with pytest.raises(ValueError, match=r"labels differ.*a/dataset\.json; .*: .*/b/dataset\.json$"):
            find_dataset_json([folder(tmp_path / "a", labels=self.LABELS), other])


class TestMetrics:
    def test_that_have_a_direction_are_taken(self) -> None:
        check_metrics(METRICS)
        check_metrics(COMPARABLE)
        assert set(COMPARABLE) == {column.key for column in COLUMNS if column.better in (1, -1)}

    @pytest.mark.parametrize("metric", ["dice", "volume_ml", "volume_error_ml", "lesions"])
    def test_that_have_none_are_refused_with_those_that_do(self, metric: str) -> None:
        with pytest.raises(
            ValueError, match=rf"'{metric}' is not a metric .* Dice, IoU, HD95_mm, .*boundary_Dice$"
        ) as error:
            check_metrics(["Dice", metric])
        assert " volume_error_ml," not in str(error.value)

    @pytest.mark.parametrize(("metrics", "got"), [([], "none"), (["Dice", "NSD", "Dice"], "Dice, NSD, Dice")])
    def test_must_be_there_once(self, metrics: list[str], got: str) -> None:
        with pytest.raises(ValueError, match=rf"at least one metric, .*got: {got}$"):
            check_metrics(metrics)
