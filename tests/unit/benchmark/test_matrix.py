"""What a benchmark may say, and the cells that it makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_cfseg.benchmark.matrix import Matrix, make_matrix, only_rows, read_matrix
from nnunetv2_cfseg.benchmark.row import Row

YAML = """
datasets: [501]
seeds: [1, 2]
budget_s: 60
reference: U-Net
gpu_memory_target_gb: 1
rows:
  ours:
    trainer: nnUNetTrainerCFSeg_timed
    planner: CFSegPlanner
    predict: cfseg predict
    arguments: [--shifts, 4]
  ours, shallow:
    trainer: nnUNetTrainerCFSeg_timed
    planner: CFSegPlanner
    changes: {architecture.arch_kwargs.depth: 1}
  U-Net: {trainer: nnUNetTrainer_timed}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "benchmark.yaml"
    path.write_text(YAML)
    return path


def rows(*trainers: str) -> list[Row]:
    return [Row(trainer, trainer) for trainer in trainers]


def test_a_file(file: Path) -> None:
    matrix = read_matrix(file)
    assert matrix.datasets == ("501",)
    assert (matrix.seeds, matrix.folds, matrix.budget_s) == ((1, 2), ("0",), 60)
    ours, shallow, unet = matrix.rows
    assert (ours.predict, ours.arguments) == ("cfseg predict", ("--shifts", "4"))
    assert matrix.trained_plans(ours) == "nnUNetCFSegPlans_1GB"
    assert matrix.trained_plans(shallow) == "nnUNetCFSegPlans_1GB_ours_shallow"
    assert matrix.trained_plans(unet) == "nnUNetPlans_1GB"


def test_a_preset_has_plans_of_its_own(file: Path) -> None:
    file.write_text(YAML.replace("planner: CFSegPlanner", "planner: CFSegPlanner\n    preset: karimi", 1))
    matrix = read_matrix(file)
    assert matrix.plans_of(matrix.rows[0]) == "nnUNetCFSegPlans_karimi_1GB"


def test_flags_overwrite_a_file(file: Path) -> None:
    matrix = read_matrix(file, datasets=["7", "8"], budget_s=None, seeds=[3], device="cuda")
    assert (matrix.datasets, matrix.budget_s, matrix.seeds, matrix.device) == (("7", "8"), 60, (3,), "cuda")


def test_cells_have_all_rows_of_a_seed_before_the_next(file: Path) -> None:
    cells = list(read_matrix(file, folds=[0, 1]).cells())
    assert len(cells) == len({cell.folder for cell in cells}) == 12
    assert [cell.seed for cell in cells] == [1] * 6 + [2] * 6
    assert [cell.row.name for cell in cells[:3]] == ["ours", "ours, shallow", "U-Net"]
    assert str(cells[1]) == "ours, shallow on 501, fold 0, seed 1"
    assert cells[1].folder == Path("cells/501/ours_shallow/fold_0_seed_1")


def test_a_row_may_be_for_some_datasets(file: Path) -> None:
    file.write_text(YAML.replace("{trainer: nnUNetTrainer_timed}", "{trainer: nnUNetTrainer_timed, datasets: [501]}"))
    matrix = read_matrix(file, datasets=["501", "502"], seeds=[1])
    assert [f"{cell.row.name} {cell.dataset}" for cell in matrix.cells()] == [
        "ours 501", "ours, shallow 501", "U-Net 501", "ours 502", "ours, shallow 502",
    ]  # fmt: skip
    named = matrix.with_dataset_names({"501": "Dataset501_A", "502": "Dataset502_B"}.__getitem__)
    assert [row.name for row in named.rows_of("Dataset502_B")] == ["ours", "ours, shallow"]
    assert [row.name for row in named.rows_of("Dataset501_A")] == ["ours", "ours, shallow", "U-Net"]


def test_datasets_that_are_not_run_need_not_be_there(file: Path) -> None:
    named_by_row = "{trainer: nnUNetTrainer_timed, datasets: [Dataset501_A, 718]}"
    text = YAML.replace("{trainer: nnUNetTrainer_timed}", named_by_row)
    file.write_text(text.replace("datasets: [501]", "datasets: [501, 718]", 1))
    named = read_matrix(file, datasets=["501"]).with_dataset_names({"501": "Dataset501_A"}.__getitem__)
    assert named.datasets == ("Dataset501_A",)
    assert [row.name for row in named.rows_of("Dataset501_A")] == ["ours", "ours, shallow", "U-Net"]


def test_a_row_may_be_for_a_dataset_that_a_flag_names(file: Path) -> None:
    file.write_text(YAML.replace("{trainer: nnUNetTrainer_timed}", "{trainer: nnUNetTrainer_timed, datasets: [718]}"))
    matrix = read_matrix(file, datasets=["Dataset718_B"], seeds=[1])
    assert [cell.row.name for cell in matrix.with_dataset_names(lambda name: name).cells()][-1] == "U-Net"


def test_one_dataset_by_two_names_is_refused(file: Path) -> None:
    matrix = read_matrix(file, datasets=["501", "Dataset501_A"])
    with pytest.raises(ValueError, match="datasets must differ from each other, got Dataset501_A, Dataset501_A"):
        matrix.with_dataset_names(lambda _: "Dataset501_A")


def test_some_rows(file: Path) -> None:
    matrix = read_matrix(file)
    assert [row.name for row in only_rows(matrix, ["U-Net", "ours"]).rows] == ["U-Net", "ours"]
    assert only_rows(matrix, ["ours"]).reference == ""
    with pytest.raises(ValueError, match="no row V-Net; the rows are ours, ours, shallow, U-Net"):
        only_rows(matrix, ["V-Net"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("datasets", "dataset", "a benchmark has no dataset; .*"),
        ("planner", "plannr", "a row has no plannr; .*: row ours"),
        (
            "trainer: nnUNetTrainer_timed",
            "plans: P",
            "a row must be a mapping with a trainer, a model or predictions, got a dict of U-Net",
        ),
        ("reference: U-Net", "reference: V-Net", "the reference must be one of the rows .*, got V-Net"),
        ("[1, 2]", "[1, 1]", "seeds must differ from each other, got 1, 1"),
        ("[1, 2]", "[]", "a benchmark needs seeds, and has none"),
        ("[1, 2]", "[one]", "seeds.* must be .*, got 'one'"),
        ("budget_s: 60", "budget_s: -1", "budget_s must be > 0 and at most 2592000, got -1"),
        ("budget_s: 60", "", "_timed and budget_s.* got nnUNetTrainerCFSeg_timed"),
        ("trainer: nnUNetTrainer_timed", "trainer: nnUNetTrainer", "_timed and budget_s.* got nnUNetTrainer and"),
        ("trainer: nnUNetTrainer_timed", "trainer: nnUNetTrainer_timed, preset: paper", "a preset is for CFSegPlanner"),
        (
            "trainer: nnUNetTrainer_timed",
            "trainer: nnUNetTrainer_timed, datasets: [501, 51]",
            "datasets of a row must be among those that the file lists, got 51 of row U-Net",
        ),
        ("cfseg predict", "cfseg guess", "predict must be nnUNetv2_predict or cfseg predict, got cfseg guess"),
        ("ours, shallow", "ours", "rows must differ"),
        ("rows:", "rows: [", "must be YAML"),
        ("rows:", "lines:", "a benchmark must be a mapping with rows by their names"),
    ],
)
def test_refuses(file: Path, old: str, new: str, message: str) -> None:
    if old == "ours, shallow":  # YAML keeps the last of two equal keys
        new = "ours!"
    file.write_text(YAML.replace(old, new, 1))
    with pytest.raises(ValueError, match=f"{message}.*{re.escape(str(file))}"):
        read_matrix(file)


@pytest.mark.parametrize("settings", [{"gpu_memory_target_gb": 0}, {"gpu_memory_target_gb": float("nan")}])
def test_refuses_memory(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="gpu_memory_target_gb must be > 0"):
        make_matrix(rows("nnUNetTrainer"), datasets=[1], **settings)


def test_trainers_that_count_epochs_have_no_budget() -> None:
    assert isinstance(make_matrix(rows("nnUNetTrainer_5epochs", "nnUNetTrainerCFSeg_5epochs"), datasets=[1]), Matrix)


@pytest.mark.parametrize(
    ("name", "count"), [("comparative", 60), ("ablation", 60), ("thin_thick", 11 * 3), ("real_ct", 3)]
)
def test_the_files_that_come_with_the_package(name: str, count: int) -> None:
    matrix = read_matrix(Path(__file__).parents[3] / "experiments" / f"{name}.yaml")
    assert len(list(matrix.cells())) >= count
    assert matrix.reference
