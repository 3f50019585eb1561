"""Rows on thin labels, rows after others, and rows that train nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnunetv2_cfseg.benchmark import cell as cells
from nnunetv2_cfseg.benchmark import launch
from nnunetv2_cfseg.benchmark.cell import run_cell
from nnunetv2_cfseg.benchmark.cell_queue import CellQueue
from nnunetv2_cfseg.benchmark.collect import collect
from nnunetv2_cfseg.benchmark.launch import run_cells
from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix, make_matrix, only_rows, read_matrix
from nnunetv2_cfseg.benchmark.prepare import prepare
from nnunetv2_cfseg.benchmark.row import Row
from nnunetv2_cfseg.benchmark.run import announcement
from nnunetv2_cfseg.benchmark.settings_file import remember
from nnunetv2_cfseg.benchmark.tables import blocks
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.text_files import read_json

DATASET = "Dataset007_Tiny"
COPY = Row("copy", "T_timed", planner="ThinThickPlanner", predict="cfseg predict")
AFTER = replace(COPY, name="after it", after="copy")
THIN = replace(COPY, name="oracle", labels="thin")
MODEL = Row("given model", model="T__P__3d_fullres", predict="cfseg predict", arguments=("--shifts", "4"))
CEILING = Row("ceiling", predictions="labelsTs")


def matrix_of(*rows: Row, **settings: Any) -> Matrix:
    return Matrix(rows, (DATASET,), **{"budget_s": 60, "gpu_memory_target_gb": 1, **settings})


class TestSettings:
    def test_are_those_of_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "benchmark.yaml"
        file.write_text(
            "datasets: [7]\nbudget_s: 60\nrows:\n  a: {trainer: T_timed}\n  b: {trainer: T_timed, after: a}\n"
            "  c: {trainer: T_timed, labels: thin}\n  d: {predictions: labelsTs}\n  e: {model: x/y}\n"
        )
        a, b, c, d, e = read_matrix(file).rows
        assert (a.after, b.after, c.labels, d.predictions, e.model) == ("", "a", "thin", "labelsTs", "x/y")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"trainer": "T", "model": "m"}, "a trainer, a model or predictions, got trainer and model: row r$"),
            ({"model": "m", "predictions": "p"}, "got model and predictions: row r$"),
            ({"trainer": ""}, "the trainer of row r must be the name of a class, got ''$"),
            ({"trainer": "T", "labels": "thick"}, "labels must be thin or left out, got 'thick': row r$"),
            (
                {"predictions": "p", "labels": "thin"},
                "a row with predictions trains nothing and cannot have labels: row r$",
            ),
            ({"predictions": "p", "arguments": ("--x",)}, "cannot have arguments: row r$"),
            ({"predictions": "p", "after": "a", "preset": "paper"}, "cannot have preset, after: row r$"),
            ({"model": "m", "changes": {"batch_size": 1}}, "a row with model trains nothing and cannot have changes"),
            ({"model": "m", "plans": "P", "configuration": "2d"}, "cannot have plans, configuration: row r$"),
        ],
    )
    def test_that_do_not_go_together(self, settings: Mapping[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Row("r", **settings)

    @pytest.mark.parametrize("kind", ["model", "predictions"])
    @pytest.mark.parametrize("folder", ["/etc", "..", "a/../../b", "a//b", ".hidden", "-o", "a b", "a\n", "x" * 101, 5])
    def test_that_lead_out_of_the_datasets_folder(self, kind: str, folder: Any) -> None:
        with pytest.raises(
            ValueError, match=f"{kind} of row r must be a folder below the dataset's, of plain names, got"
        ):
            Row("r", **{kind: folder})

    def test_a_preset_is_no_setting_of_a_row_that_trains_nothing(self) -> None:
        with pytest.raises(ValueError, match="cannot have preset: row r"):
            Row("r", model="m", preset="paper")

    def test_trainers_are_all_timed_or_none_and_others_do_not_matter(self) -> None:
        matrix_of(COPY, MODEL, CEILING)
        matrix_of(replace(COPY, trainer="T"), MODEL, CEILING, budget_s=None)


class TestAfter:
    def test_is_the_same_cell_of_the_other_row(self) -> None:
        matrix = matrix_of(AFTER, COPY, seeds=(1, 2))
        cells = {(cell.row.name, cell.seed): cell for cell in matrix.cells()}
        for seed in (1, 2):
            assert matrix.cell_before(cells["copy", seed]) is None
            assert matrix.cell_before(cells["after it", seed]) == cells["copy", seed]

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ((AFTER,), "after must name a row, after it, got 'copy': row after it$"),
            ((replace(COPY, after="copy"),), "rows must not start from each other, got copy after copy$"),
            (
                (replace(COPY, after="c"), replace(COPY, name="b", after="copy"), replace(COPY, name="c", after="b")),
                "rows must not start from each other, got copy after c after b after copy$",
            ),
            ((CEILING, replace(AFTER, after="ceiling")), "after must name a row that trains, got ceiling: row after"),
            ((COPY, replace(AFTER, preset="paper")), "must have the network of the row that it is after, copy, got "),
            ((COPY, replace(AFTER, configuration="2d")), "must have the network of the row that it is after, copy"),
            (
                (COPY, replace(AFTER, changes={"architecture.arch_kwargs.depth": 1})),
                "other plans, configuration or architecture: row after it$",
            ),
            (
                (replace(COPY, datasets=("8",)), AFTER),
                "row copy is not for Dataset007",
            ),
        ],
    )
    def test_must_fit(self, rows: tuple[Row, ...], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            matrix_of(*rows)

    def test_may_change_what_is_no_network(self) -> None:
        matrix_of(COPY, replace(AFTER, trainer="U_timed", labels="thin", changes={"cfseg.x": 1, "batch_size": 4}))

    def test_rows_that_are_chosen_must_hold_the_first(self) -> None:
        matrix = matrix_of(COPY, AFTER)
        assert len(only_rows(matrix, ["after it", "copy"]).rows) == 2
        with pytest.raises(ValueError, match="after must name a row, after it, got 'copy'"):
            only_rows(matrix, ["after it"])


class TestOrder:
    def test_waits_for_the_first(self) -> None:
        matrix = matrix_of(AFTER, COPY, CEILING)
        queue = CellQueue(matrix, list(matrix.cells()))
        first, second = queue.take(), queue.take()
        assert first is not None
        assert second is not None
        assert [first.row, second.row] == [COPY, CEILING]
        assert queue
        assert queue.take() is None
        queue.end(second, failed=False)
        assert queue.take() is None
        queue.end(first, failed=False)
        last = queue.take()
        assert last is not None
        assert (last.row, queue.failed_before(last), bool(queue)) == (AFTER, None, False)

    def test_what_is_done_already_is_not_waited_for(self) -> None:
        matrix = matrix_of(COPY, AFTER)
        (_, after) = matrix.cells()
        assert CellQueue(matrix, [after]).take() == after

    @pytest.mark.parametrize("jobs", [1, 3])
    @pytest.mark.parametrize("fails", [True, False])
    def test_on_this_machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, fails: bool) -> None:
        ended: list[str] = []

        def fake(_matrix: Matrix, cell: Cell, *_: Any, **__: Any) -> None:
            if cell.row.after:
                assert cell.row.after in ended
            if fails and cell.row is COPY:
                raise ValueError("no room")
            ended.append(cell.row.name)

        monkeypatch.setattr(launch, "run_cell", fake)
        last = replace(COPY, name="last", after="after it")
        matrix = matrix_of(last, AFTER, COPY, CEILING)
        found = dict.fromkeys(ended)
        for cell, failure in run_cells(
            matrix, list(matrix.cells()), tmp_path, launcher="local", jobs=jobs, threads=1, slurm={}
        ):
            found[cell.row.name] = failure and failure.reason
        reasons = {
            "copy": "no room", "ceiling": None, "after it": "it starts from the weights of row copy, which failed",
            "last": "it starts from the weights of row after it, which failed",
        }  # fmt: skip
        assert found == (reasons if fails else dict.fromkeys(reasons))

    def test_on_a_cluster(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Jobs end when they are looked at; none may be handed in before the one that it needs has ended."""
        handed_in: list[str] = []
        ended: list[str] = []

        class Job:
            def __init__(self, _try_cell: Any, _matrix: Matrix, cell: Cell, *_: Any, **__: Any) -> None:
                assert not cell.row.after or cell.row.after in ended
                self.name = cell.row.name
                handed_in.append(self.name)

            def done(self) -> bool:
                return True

        def outcome(job: Job, _: Path) -> None:
            ended.append(job.name)

        monkeypatch.setattr(launch, "slurm_executor", lambda *_: SimpleNamespace(submit=Job))
        monkeypatch.setattr(launch, "outcome", outcome)
        monkeypatch.setattr(launch.time, "sleep", lambda _: None)
        matrix = matrix_of(AFTER, COPY, CEILING)
        found = list(run_cells(matrix, list(matrix.cells()), tmp_path, launcher="slurm", jobs=3, threads=1, slurm={}))
        assert len(found) == 3
        assert handed_in == ["copy", "ceiling", "after it"]


@pytest.fixture
def raw(nnunet_folders: SimpleNamespace) -> Path:
    """A dataset of pairs with two test cases."""
    folder: Path = nnunet_folders.raw / DATASET
    for part, name in (("imagesTs", "a_0000"), ("labelsTs", "a"), ("labelsTs_thin", "a"), ("imagesTr", "c_0000"),
                       ("labelsTr", "c"), ("labelsTr_thin", "c")):  # fmt: skip
        (folder / part).mkdir(parents=True)
        (folder / part / f"{name}.nii.gz").write_text(part)
    (folder / "dataset.json").write_text('{"file_ending": ".nii.gz"}')
    return folder


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Commands of cells with the environment that they would have run in."""
    commands: list[tuple[list[str], dict[str, str]]] = []

    class Fake:
        def __init__(self, folder: Path, steering: dict[str, str], **_: Any) -> None:
            self.folder, self.steering = folder, steering

        def run(self, command: list[str], **_: Any) -> None:
            commands.append((command, self.steering))
            if command[0] == "python":
                write_json(self.folder / "network.json", {"parameters": 1, "flops_per_voxel": 2.0})
            (self.folder / "summary.csv").write_text("case")

    monkeypatch.setattr(cells, "CommandRunner", Fake)
    return commands


def only_cell(matrix: Matrix, name: str) -> Cell:
    (cell,) = (cell for cell in matrix.cells() if cell.row.name == name)
    return cell


def value(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


class TestCell:
    def test_starts_from_the_weights_of_the_other(self, raw: Path, ran: list, tmp_path: Path) -> None:
        matrix = matrix_of(COPY, replace(AFTER, changes={"batch_size": 4}))
        first, after = matrix.cells()
        with pytest.raises(ValueError, match=r"weights of row copy, which do not exist: .*final\.pth$"):
            run_cell(matrix, after, tmp_path, threads=1)
        model = "T_timed__nnUNetThinThickPlans_1GB__3d_fullres"
        weights = tmp_path / first.folder / "nnUNet_results" / DATASET / model / "fold_0" / "checkpoint_final.pth"
        weights.parent.mkdir(parents=True)
        weights.touch()
        run_cell(matrix, after, tmp_path, threads=1)
        train = ran[0][0]
        assert value(train, "-pretrained_weights") == str(weights)
        assert value(train, "-p") == "nnUNetThinThickPlans_1GB_after_it"
        run_cell(matrix, first, tmp_path, threads=1)
        assert "-pretrained_weights" not in ran[3][0]

    def test_trains_on_thin_labels_and_is_scored_as_the_others(self, raw: Path, ran: list, tmp_path: Path) -> None:
        matrix = matrix_of(COPY, THIN)
        for cell in matrix.cells():
            run_cell(matrix, cell, tmp_path, threads=1)
        copy, thin = ran[0][1], ran[3][1]
        assert copy["nnUNet_raw"] == str(raw.parent)
        for name in ("nnUNet_raw", "nnUNet_preprocessed"):
            assert thin[name] == str(tmp_path / "thin_labels" / name)
        records = [read_json(tmp_path / cell.folder / "cell.json")["cell"]["scored_on"] for cell in matrix.cells()]
        assert records == 2 * ["the test set, labelsTs_thin"]

    def test_scores_predictions_without_training(self, raw: Path, ran: list, tmp_path: Path) -> None:
        matrix = matrix_of(COPY, CEILING)
        cell = only_cell(matrix, "ceiling")
        run_cell(matrix, cell, tmp_path, threads=1)
        ((evaluate, _),) = ran
        assert evaluate[:2] == ["cfseg", "evaluate"]
        folder = tmp_path / cell.folder
        assert (folder / "predictions" / "a.nii.gz").read_text() == "labelsTs"
        assert (folder / "truth" / "a.nii.gz").read_text() == "labelsTs_thin"
        record = read_json(folder / "cell.json")
        assert record["train"] == record["predict"] == {"seconds": 0.0, "peak_bytes": 0}
        assert record["network"] == {"parameters": None, "flops_per_voxel": None}

    def test_refuses_predictions_that_lack_a_case(self, raw: Path, ran: list, tmp_path: Path) -> None:
        matrix = matrix_of(replace(CEILING, predictions="labelsTr"))
        (cell,) = matrix.cells()
        with pytest.raises(ValueError, match=r"a prediction of row ceiling is missing: .*a\.nii\.gz$"):
            run_cell(matrix, cell, tmp_path, threads=1)

    @pytest.mark.parametrize(
        ("predict", "command"),
        [("cfseg predict", ["cfseg", "predict"]), ("nnUNetv2_predict", ["nnUNetv2_predict_from_modelfolder"])],
    )
    def test_predicts_with_a_model(
        self, raw: Path, ran: list, nnunet_folders: SimpleNamespace, tmp_path: Path, predict: str, command: list[str]
    ) -> None:
        matrix = matrix_of(replace(MODEL, predict=predict))
        (cell,) = matrix.cells()
        with pytest.raises(ValueError, match=r"the model of row given model is not a folder with plans\.json"):
            run_cell(matrix, cell, tmp_path, threads=1)
        model = nnunet_folders.results / DATASET / "T__P__3d_fullres"
        model.mkdir(parents=True)
        (model / "plans.json").touch()
        (model / "fold_0").mkdir()
        run_cell(matrix, cell, tmp_path, threads=1)
        (words, _), _ = ran
        assert words[: len(command)] == command
        assert (value(words, "-m"), value(words, "-f"), value(words, "-device")) == (str(model), "0", "cpu")
        assert not {"-d", "-tr", "-p", "-c"} & set(words)
        assert words[-2:] == ["--shifts", "4"]
        assert ("--disable_tta" in words) == (predict == "nnUNetv2_predict")


class TestPreparation:
    def test_plans_thin_labels_as_a_dataset_of_their_own(self, raw: Path, tmp_path: Path) -> None:
        environments: list[Mapping[str, str]] = []
        (raw / "splits_final.json").write_text("[]")
        out = tmp_path / "out"

        def run(command: list[str], *, environment: Mapping[str, str], log: Path) -> None:
            environments.append(environment)
            main = tmp_path / "nnUNet_preprocessed"
            folder = Path(environment.get("nnUNet_preprocessed", main)) / DATASET
            folder.mkdir(exist_ok=True)
            folds = [{"train": ["c"], "val": []}] if folder.parent == main else []
            (folder / "splits_final.json").write_text(json.dumps(folds))

        runner: Any = SimpleNamespace(run=run, folder=out)
        for _ in range(2):  # what is linked is not linked twice
            prepare(matrix_of(THIN, COPY, CEILING), runner, processes=1)
        thin = out / "thin_labels"
        expected = {name: str(thin / name) for name in ("nnUNet_raw", "nnUNet_preprocessed")}
        assert environments == 2 * [{}, expected]
        made = thin / "nnUNet_raw" / DATASET
        assert (made / "labelsTr" / "c.nii.gz").read_text() == "labelsTr_thin"
        assert (made / "imagesTr").resolve() == raw / "imagesTr"
        assert (made / "dataset.json").resolve() == raw / "dataset.json"
        assert sorted(file.name for file in made.glob("labelsTr*")) == ["labelsTr"]
        folds = read_folds(thin / "nnUNet_preprocessed" / DATASET)
        assert folds == read_folds(tmp_path / "nnUNet_preprocessed" / DATASET) == [{"train": ["c"], "val": []}]

    def test_refuses_a_dataset_without_thin_labels(self, raw: Path, tmp_path: Path) -> None:
        (raw / "labelsTr_thin").rename(raw / "gone")
        runner: Any = SimpleNamespace(run=None, folder=tmp_path / "out")
        with pytest.raises(ValueError, match=r"no thin labels; .*_thin$"):
            prepare(matrix_of(THIN), runner, processes=1)

    def test_plans_nothing_for_rows_that_train_nothing(self, raw: Path, tmp_path: Path) -> None:
        runner: Any = SimpleNamespace(run=None, folder=tmp_path)
        prepare(matrix_of(MODEL, CEILING), runner, processes=1)
        assert not list((tmp_path / "nnUNet_preprocessed").iterdir())


def read_folds(folder: Path) -> Any:
    return json.loads((folder / "splits_final.json").read_text())


class TestResults:
    def test_show_no_network_where_there_is_none(self, tmp_path: Path) -> None:
        matrix = matrix_of(COPY, CEILING)
        table = (
            "case,class,label,presence,Dice,boundary_Dice,NSD,HD95_mm\na,x,1,both,0.5,,0.5,3\nb,x,1,both,0.7,,0.5,3\n"
        )
        for cell in matrix.cells():
            folder = tmp_path / cell.folder
            folder.mkdir(parents=True)
            (folder / "summary.csv").write_text(table)
            network = {"parameters": 1_500_000, "flops_per_voxel": 2000.0}
            write_json(folder / "cell.json", {
                "cell": {"cases": 2, "scored_on": "the test set"}, "threads": 1, "machine": {},
                "train": {"seconds": 60.0, "peak_bytes": 1}, "predict": cells.NO_COSTS,
                "network": network if cell.row is COPY else cells.NO_NETWORK,
            })  # fmt: skip
        ranking = blocks(collect(list(matrix.cells()), tmp_path), "copy")[0]
        assert {row[0]: row[-2:] for row in ranking.rows} == {
            "copy": ("1.50", "2.0"),
            "ceiling": ("\N{EN DASH}", "\N{EN DASH}"),
        }

    def test_are_expected_sooner_of_rows_that_train_nothing(self, tmp_path: Path) -> None:
        assert "about 4 min with 1 at a time" in announcement(matrix_of(COPY, CEILING), tmp_path, 1)

    def test_of_a_folder_of_an_earlier_version_go_on(self, tmp_path: Path) -> None:
        """It knew fewer settings of rows."""
        matrix = matrix_of(COPY)
        (cell,) = matrix.cells()
        (tmp_path / cell.folder).mkdir(parents=True)
        remember(matrix, tmp_path)
        content = read_json(tmp_path / "benchmark.json")
        for name in ("labels", "after", "model", "predictions"):
            assert content["rows"]["copy"].pop(name) == ""
        write_json(tmp_path / "benchmark.json", content)
        remember(matrix, tmp_path)
        with pytest.raises(ValueError, match="row copy differs"):
            remember(matrix_of(replace(THIN, name="copy")), tmp_path)


def test_flags_make_rows_that_train() -> None:
    with pytest.raises(ValueError, match="after must name a row"):
        make_matrix([AFTER], datasets=[7], budget_s=60)
