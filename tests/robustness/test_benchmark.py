"""What a benchmark's file and flags may say: names that stay in their folder, numbers of a bearable size, no code."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.benchmark import run
from nnunetv2_cfseg.benchmark.cell import is_done
from nnunetv2_cfseg.benchmark.folds import check_folds
from nnunetv2_cfseg.benchmark.launch import Failure, run_cells, try_cell
from nnunetv2_cfseg.benchmark.matrix import Matrix, read_matrix
from nnunetv2_cfseg.benchmark.row import Row
from nnunetv2_cfseg.cli import main
from nnunetv2_cfseg.files.checksum import sha256

ROW = {"trainer": "nnUNetTrainer_timed", "planner": "CFSegPlanner", "predict": "cfseg predict"}
CONTENT = {"datasets": [501], "folds": [0], "seeds": [1], "budget_s": 60, "gpu_memory_target_gb": 1}
#: Names that lead out of a folder, or that no file system or terminal should see.
BAD_NAMES = ["..", "../x", "a/../../x", "/etc/passwd", "a/b", "a\\b", ".hidden", "-o", "a\nb", "a\0b", "\x1b[31m", " ",
             "a b", "a" * 300, "%s;rm -rf", "$(id)", "~root", "\N{RIGHT-TO-LEFT OVERRIDE}a"]  # fmt: skip
NO_NUMBERS = [float("nan"), float("inf"), float("-inf"), 0, -1, 1e300, "many", [1], {"a": 1}, True]


def matrix_of(tmp_path: Path, row: dict[str, Any] | None = None, **content: Any) -> Matrix:
    file = tmp_path / "benchmark.yaml"
    file.write_text(yaml.safe_dump({**CONTENT, **content, "rows": {"ours": {**ROW, **(row or {})}}}))
    return read_matrix(file)


def refused(tmp_path: Path, row: dict[str, Any] | None = None, **content: Any) -> str:
    with pytest.raises(ValueError, match=r"benchmark\.yaml") as error:
        matrix_of(tmp_path, row, **content)
    text = str(error.value)
    assert len(text.splitlines()) == 1, text
    assert text.isprintable(), text
    return text


@pytest.mark.parametrize("name", [*BAD_NAMES, ""])
class TestNames:
    @pytest.mark.parametrize("key", ["datasets", "folds"])
    def test_of_datasets_and_folds(self, tmp_path: Path, key: str, name: str) -> None:
        refused(tmp_path, **{key: [name]})

    def test_of_the_configuration(self, tmp_path: Path, name: str) -> None:
        refused(tmp_path, configuration=name)

    @pytest.mark.parametrize("key", ["plans", "trainer", "planner", "preset", "configuration"])
    def test_of_rows(self, tmp_path: Path, key: str, name: str) -> None:
        if name or key == "trainer":  # the others are left out where they are empty
            assert "ours" in refused(tmp_path, {key: name})

    def test_of_changed_values(self, tmp_path: Path, name: str) -> None:
        if name not in ("", " ", "a b", "-o"):  # plain words
            refused(tmp_path, {"changes": {"data_identifier": name}})


@pytest.mark.parametrize("name", ["..", "/", "\x1b[31m", "a\nb", "", "x" * 101, "\N{ZERO WIDTH SPACE}"])
def test_names_of_rows(tmp_path: Path, name: str) -> None:
    file = tmp_path / "benchmark.yaml"
    file.write_text(yaml.safe_dump({**CONTENT, "rows": {name: ROW}}))
    with pytest.raises(ValueError, match="row's name"):
        read_matrix(file)


@given(name=st.text(max_size=40))
def test_whatever_a_row_is_called_its_folder_is_a_plain_one(name: str) -> None:
    try:
        row = Row(name, "T")
    except ValueError:
        return
    (cell,) = Matrix((row,), ("Dataset001_A",)).cells()
    assert len(cell.folder.parts) == 4
    assert cell.folder.parts[:2] == ("cells", "Dataset001_A")
    assert row.slug.replace("_", "").isalnum()
    assert row.slug.isascii()


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("key", ["budget_s", "gpu_memory_target_gb"])
def test_numbers(tmp_path: Path, key: str, value: Any) -> None:
    assert key in refused(tmp_path, **{key: value})


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30, 1.5, True, None, "x", float("nan"), float("inf")])
def test_seeds(tmp_path: Path, seed: Any) -> None:
    refused(tmp_path, seeds=[seed])


@pytest.mark.parametrize("fold", [-1, 1000, 10**30, 1.5, True, "00", "0x1", "ALL", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_folds(tmp_path: Path, fold: Any) -> None:
    refused(tmp_path, folds=[fold])


def test_cells_are_counted_before_they_are_made(tmp_path: Path) -> None:
    assert "10100" in refused(tmp_path, seeds=list(range(101)), folds=list(range(100)))
    refused(tmp_path, seeds=list(range(10_001)))


@pytest.mark.parametrize(
    "row",
    [
        {"predict": "rm"}, {"predict": ["cfseg predict"]}, {"trainer": 1}, {"trainer": None}, {"plans": ["a"]},
        {"arguments": "-o /tmp"}, {"arguments": 5}, {"arguments": [["-o"]]}, {"datasets": 5}, {"changes": [1]},
        {"changes": {"a b": 1}}, {"changes": {1: 1}}, {"changes": {"../a": 1}}, {"changes": "x"},
        {"changes": {"batch_size": float("nan")}}, {"changes": {"batch_size": 1e30}},
    ],
)  # fmt: skip
def test_rows_of_other_kinds(tmp_path: Path, row: dict[str, Any]) -> None:
    refused(tmp_path, row)


@pytest.mark.parametrize(
    "arguments",
    [["-o", "elsewhere"], ["-o/etc"], ["-oelsewhere"], ["-i", "x"], ["-m", "x"], ["-d", "5"], ["-dev", "cuda"],
     ["-f", "0"], ["-tr", "T"], ["--trust_checkpoint"], ["--trust"], ["--t"], ["--c"], ["--cont"], ["--"],
     ["--continue_prediction"], ["-num_parts", "2"], ["-chk", "../x.pth"], ["--shifts", "/etc/x"], ["-chk", "a\nb"]],
)  # fmt: skip
def test_flags_that_the_benchmark_sets(tmp_path: Path, arguments: list[str]) -> None:
    assert "ours" in refused(tmp_path, {"arguments": arguments})


@pytest.mark.parametrize("arguments", [["--shifts", "4"], ["-chk", "checkpoint_best.pth"], ["-step_size", "0.5"],
                                       ["-npp", "1"], ["--mirror"], ["--x", "-1"]])  # fmt: skip
def test_flags_that_a_row_may_have(tmp_path: Path, arguments: list[str]) -> None:
    assert matrix_of(tmp_path, {"arguments": arguments}).rows[0].arguments == tuple(arguments)


@pytest.mark.parametrize(
    "path",
    ["os.system", "subprocess.Popen", "builtins.eval", "torch.nn.parallel.distributed.os.system", "torch.load",
     "torch.nn.modules.module.functools.partial", "nnunetv2_cfseg.processes.subprocess_runner.CommandRunner",
     "torch.nn.modules.x.y.Popen",
     "dynamic_network_architectures.os.Popen", "a.b"],
)  # fmt: skip
def test_changes_name_no_code(tmp_path: Path, path: str) -> None:
    for changes in ({"architecture.network_class_name": path}, {"architecture": {"deep": [{"list": path}]}}):
        refused(tmp_path, {"changes": changes})


@pytest.mark.parametrize(
    "value",
    ["dynamic_network_architectures.architectures.unet.PlainConvUNet", "torch.nn.modules.conv.Conv3d", "torch.nn.ReLU",
     "nnunetv2_cfseg.networks.BlockCenterTransformer", "post", 3, 0.5, None, True, [4, 6, 6], {"slab": 1.0}],
)  # fmt: skip
def test_changes_that_plans_have(tmp_path: Path, value: Any) -> None:
    assert matrix_of(tmp_path, {"changes": {"architecture.x": value}}).rows[0].changes == {"architecture.x": value}


def test_aliases_that_multiply(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    rows = "rows: {ours: {trainer: T, changes: {x: *a39}}}"
    file = tmp_path / "benchmark.yaml"
    file.write_text("\n".join(["datasets: [1]", *lines, rows]))
    with pytest.raises(ValueError, match=r"benchmark\.yaml"):
        read_matrix(file)
    file.write_text("datasets: [1]\nrows: {ours: {trainer: T, changes: {x: &x [*x]}}}")
    with pytest.raises(ValueError, match=r"benchmark\.yaml"):
        read_matrix(file)


@pytest.mark.parametrize("flags", [["--jobs", "1000000"], ["--jobs", "-1"], ["-np", "0"], ["-np", "1000000"],
                                   ["--threads", "1000000"], ["-gpu_memory_target", "nan"], ["--budget", "nan"],
                                   ["--seeds", "-3"], ["-f", "../x"], ["-c", "../x"], ["-d", "../x"],
                                   ["--slurm", "a=1"]])  # fmt: skip
def test_flags(tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "benchmark.yaml"
    file.write_text(yaml.safe_dump({**CONTENT, "rows": {"ours": ROW}}))
    assert main(["benchmark", str(file), "-o", str(tmp_path / "out"), *flags]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(
    nnunet_folders: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"-device {device} needs"):
        run.run(Matrix((Row("a", "T"),), ("1",), device=device), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def dataset(nnunet_folders: SimpleNamespace) -> SimpleNamespace:
    name = "Dataset007_Tiny"
    for folder in (nnunet_folders.raw, nnunet_folders.preprocessed):
        (folder / name).mkdir()
    (nnunet_folders.raw / name / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    return SimpleNamespace(name=name, raw=nnunet_folders.raw / name, preprocessed=nnunet_folders.preprocessed / name)


def of_folds(dataset: SimpleNamespace, *folds: str) -> Matrix:
    return Matrix((Row("a", "T"),), (dataset.name,), folds=folds)


@pytest.mark.parametrize("place", ["raw", "preprocessed"])
def test_folds_that_the_splits_lack(dataset: SimpleNamespace, place: str) -> None:
    splits = getattr(dataset, place) / "splits_final.json"
    splits.write_text(json.dumps([{"train": ["a"], "val": ["b"]}, {"train": ["a", "b"], "val": []}]))
    check_folds(of_folds(dataset, "0"))
    for fold in ("1", "2", "7", "999"):  # 1 has no validation cases
        with pytest.raises(ValueError, match=f"fold {fold}.*splits_final.json"):
            check_folds(of_folds(dataset, "0", fold))


def test_without_splits_there_will_be_nnunets_five(dataset: SimpleNamespace) -> None:
    check_folds(of_folds(dataset, "0", "4"))
    with pytest.raises(ValueError, match="no fold 5, nnU-Net makes 5 folds"):
        check_folds(of_folds(dataset, "5"))


def test_fold_all_needs_a_test_set(dataset: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="which fold all needs: "):
        check_folds(of_folds(dataset, "all"))
    for folder in ("imagesTs", "labelsTs"):
        (dataset.raw / folder).mkdir()
    (dataset.raw / "labelsTs" / "a.nii.gz").touch()
    check_folds(of_folds(dataset, "all"))


@pytest.mark.parametrize(
    "text", ["", "[", "{}", "1", "[1]", "[[]]", '[{"train": []}]', '[{"train": "ab", "val": ["b"]}]',
             '[{"train": [1], "val": [2]}]', '[{"train": [], "val": ["../a"]}]', "[" * 100_000, "null"],
)  # fmt: skip
def test_splits_that_are_none(dataset: SimpleNamespace, text: str) -> None:
    (dataset.preprocessed / "splits_final.json").write_text(text)
    with pytest.raises(ValueError, match=r"splits_final\.json"):
        check_folds(of_folds(dataset, "0"))


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (ValueError("no scans:\n here"), "no scans: here"),
            (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
            (MemoryError(), "MemoryError: "),
            (KeyError("labels"), "KeyError: 'labels'"),
        ],
    )
    def test_are_a_sentence_and_a_log(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr("nnunetv2_cfseg.benchmark.launch.run_cell", fail)
        matrix = Matrix((Row("a", "T"),), ("Dataset001_A",))
        (cell,) = matrix.cells()
        assert try_cell(matrix, cell, tmp_path, threads=1) == Failure(reason, cell.folder / "log.txt")

    def test_stop_no_other_cell(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail_first(_matrix: Any, cell: Any, *_: Any, **__: Any) -> None:
            if cell.seed == 1:
                raise ValueError("the first fails")

        monkeypatch.setattr("nnunetv2_cfseg.benchmark.launch.run_cell", fail_first)
        matrix = Matrix((Row("a", "T"),), ("Dataset001_A",), seeds=(1, 2, 3))
        ended = run_cells(matrix, list(matrix.cells()), tmp_path, launcher="local", jobs=2, threads=1, slurm={})
        reasons = {cell.seed: failure and failure.reason for cell, failure in ended}
        assert reasons == {1: "the first fails", 2: None, 3: None}

    def test_stand_in_the_table_and_on_the_page(self, tmp_path: Path) -> None:
        matrix = Matrix((Row("a", "T"),), ("Dataset001_A",))
        (cell,) = matrix.cells()
        run.write_results(
            matrix, [cell], tmp_path, "cfseg", [(cell, Failure("<b>no | room</b>", Path("cells/log.txt")))]
        )
        page, table = ((tmp_path / name).read_text() for name in ("report.html", "results.md"))
        assert "&lt;b&gt;no | room&lt;/b&gt;" in page
        assert "cells/log.txt" in page
        assert "0 of 1 cells" in table
        (line,) = [line for line in table.splitlines() if "room" in line]
        assert line.replace(r"\|", "").count("|") == 7


def test_a_cell_whose_table_is_cut_is_not_done(tmp_path: Path) -> None:
    table = tmp_path / "summary.csv"
    table.write_text("case,class\na,b\n")
    (tmp_path / "cell.json").write_text(json.dumps({"table_sha256": sha256(table)}))
    assert is_done(tmp_path)
    table.write_text("case,cl")
    assert not is_done(tmp_path)
    (tmp_path / "cell.json").write_text('{"table_sha')
    assert not is_done(tmp_path)
