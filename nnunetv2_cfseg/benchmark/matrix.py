"""The matrix of a benchmark: rows, datasets, folds and seeds, and the cells that they form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.benchmark import limits
from nnunetv2_cfseg.benchmark.matrix_file import MatrixFile
from nnunetv2_cfseg.benchmark.row import NNUNET_PLANNER, PRESET_PLANNERS, Row
from nnunetv2_cfseg.benchmark.row_order import check_order
from nnunetv2_cfseg.files.schema import check_document
from nnunetv2_cfseg.files.yaml_files import read_yaml
from nnunetv2_cfseg.nnunet.datasets import dataset_number


@dataclass(frozen=True)
class Matrix:
    """All settings of a benchmark.

    Attributes:
        rows: in the order of the tables.
        datasets: ids or names of datasets in ``nnUNet_raw``.
        folds: folds of each dataset's splits, or ``all``.
        seeds: seeds of each fold.
        budget_s: seconds of training of a cell; None for trainers that count epochs.
        reference: name of the row that the others are tested against.
        configuration: configuration of the plans, for rows that name no other.
        device: device for training and prediction.
        gpu_memory_target_gb: GPU memory that plans are made for.
    """

    rows: tuple[Row, ...]
    datasets: tuple[str, ...]
    folds: tuple[str, ...] = ("0",)
    seeds: tuple[int, ...] = (1,)
    budget_s: float | None = None
    reference: str = ""
    configuration: str = "3d_fullres"
    device: str = "cpu"
    gpu_memory_target_gb: float = 8.0

    def __post_init__(self) -> None:
        for name in ("rows", "datasets", "folds", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"a benchmark needs {name}, and has none")
        for name, values in (("rows", [row.slug for row in self.rows]), ("datasets", self.datasets),
                             ("folds", self.folds), ("seeds", self.seeds)):  # fmt: skip
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must differ from each other, got {', '.join(map(str, values))}")
        self._check_limits()
        names = [row.name for row in self.rows]
        if self.reference and self.reference not in names:
            raise ValueError(f"the reference must be one of the rows {', '.join(names)}, got {self.reference}")
        for row in filter(lambda row: row.trainer, self.rows):
            timed = row.trainer.endswith("_timed")
            if timed != (self.budget_s is not None):
                raise ValueError(
                    "either all trainers must end with _timed and budget_s must be given, or all must count epochs "
                    f"without a budget_s, got {row.trainer} and budget_s {self.budget_s}"
                )
            if row.preset and row.planner not in PRESET_PLANNERS:
                planner = row.planner or NNUNET_PLANNER
                raise ValueError(f"a preset is for {' and '.join(PRESET_PLANNERS)}, got {planner}: row {row.name}")
        check_order(self.rows, self.datasets, network_of=self._network_of)

    def _check_limits(self) -> None:
        for dataset in self.datasets:
            limits.check_plain(dataset, "a dataset")
        limits.check_plain(self.configuration, "configuration")
        for fold in self.folds:
            limits.check_fold(fold)
        for seed in self.seeds:
            if not 0 <= seed <= limits.MOST_SEED:
                raise ValueError(f"a seed must be from 0 to {limits.MOST_SEED}, got {limits.short(seed)}")
        if self.device not in limits.DEVICES:
            raise ValueError(f"device must be {', '.join(limits.DEVICES)}, got {limits.short(self.device)}")
        if self.budget_s is not None:
            limits.check_number(self.budget_s, "budget_s", most=limits.LONGEST_BUDGET_S)
        limits.check_number(self.gpu_memory_target_gb, "gpu_memory_target_gb", most=limits.MOST_GPU_MEMORY_GB)
        count = len(self.rows) * len(self.datasets) * len(self.folds) * len(self.seeds)
        if count > limits.MOST_CELLS:
            raise ValueError(f"a benchmark must have at most {limits.MOST_CELLS} cells, got {count}")

    def cells(self) -> Iterator[Cell]:
        """All cells, seed by seed, so that a benchmark that is stopped has all rows of some seeds."""
        for seed in self.seeds:
            for dataset in self.datasets:
                for fold in self.folds:
                    for row in self.rows_of(dataset):
                        yield self._cell(dataset, row, fold, seed)

    def _cell(self, dataset: str, row: Row, fold: str, seed: int) -> Cell:
        return Cell(
            dataset, row, fold, seed,
            planned=self.plans_of(row), plans=self.trained_plans(row), configuration=self.configuration_of(row),
        )  # fmt: skip

    def cell_before(self, cell: Cell) -> Cell | None:
        """The cell whose weights a cell starts from; None if it starts from random weights."""
        before = {row.name: row for row in self.rows}.get(cell.row.after)
        return None if before is None else self._cell(cell.dataset, before, cell.fold, cell.seed)

    def rows_of(self, dataset: str) -> list[Row]:
        """The rows that run on a dataset."""
        return [row for row in self.rows if row.is_for(dataset)]

    def with_dataset_names(self, name_of: Callable[[str], str]) -> Matrix:
        """The matrix with other names of its datasets, also in its rows; other datasets of rows keep their names."""
        datasets = tuple(map(name_of, self.datasets))
        names = {dataset_number(name): name for name in datasets}
        rows = tuple(
            replace(row, datasets=tuple(names.get(dataset_number(dataset), dataset) for dataset in row.datasets))
            for row in self.rows
        )
        return replace(self, rows=rows, datasets=datasets)

    def configuration_of(self, row: Row) -> str:
        """The configuration of a row's plans."""
        return row.configuration or self.configuration

    def _network_of(self, row: Row) -> tuple[Any, ...]:
        """The settings of a row that determine its network; loading the weights checks the rest."""
        architecture = {path: value for path, value in row.changes.items() if path.split(".")[0] == "architecture"}
        return self.plans_of(row), self.configuration_of(row), architecture

    def plans_of(self, row: Row) -> str:
        """The name of a row's plans before its changes."""
        if row.plans:
            return row.plans
        planner = row.planner or NNUNET_PLANNER
        default = {
            NNUNET_PLANNER: "nnUNetPlans", "CFSegPlanner": "nnUNetCFSegPlans",
            "CompactPlanner": "nnUNetCompactPlans",
            "ThinThickPlanner": "nnUNetThinThickPlans", "nnUNetPlannerResEncM": "nnUNetResEncUNetMPlans",
            "nnUNetPlannerResEncL": "nnUNetResEncUNetLPlans", "nnUNetPlannerResEncXL": "nnUNetResEncUNetXLPlans",
        }.get(planner, planner)  # fmt: skip
        preset = f"_{row.preset}" if row.preset else ""
        return f"{default}{preset}_{self.gpu_memory_target_gb:g}GB"

    def trained_plans(self, row: Row) -> str:
        """The name of the plans that a row is trained with; empty if it trains nothing."""
        if not row.trainer:
            return ""
        return f"{self.plans_of(row)}_{row.slug}" if row.changes else self.plans_of(row)


@dataclass(frozen=True)
class Cell:
    """A row on one dataset, fold and seed: one training with its prediction and evaluation.

    Attributes:
        planned: name of the plans that a planner makes, or that exist.
        plans: name of the plans to train with: the same, or new ones with the row's changes.
        configuration: configuration of the plans.
    """

    dataset: str
    row: Row
    fold: str
    seed: int
    planned: str
    plans: str
    configuration: str

    @property
    def folder(self) -> Path:
        """The cell's folder, relative to the benchmark's."""
        return Path("cells", self.dataset, self.row.slug, f"fold_{self.fold}_seed_{self.seed}")

    def __str__(self) -> str:
        return f"{self.row.name} on {self.dataset}, fold {self.fold}, seed {self.seed}"


def read_matrix(file: Path, **overwrite: Any) -> Matrix:
    """Read a matrix from a YAML file, in which ``rows`` maps names to the attributes of :class:`Row`.

    Args:
        overwrite: settings that replace those of the file, unless they are None.

    Raises:
        ValueError: the file is not YAML, or has settings that a benchmark does not have.
        OSError: the file cannot be read.
    """
    content = read_yaml(file)
    if not isinstance(content, dict) or not isinstance(content.get("rows"), dict):
        raise ValueError(f"a benchmark must be a mapping with rows by their names: {file}")
    check_document(content, MatrixFile, str(file))
    try:
        rows = tuple(_row(name, entry) for name, entry in content.pop("rows").items())
        _check_datasets_of_rows(rows, content.get("datasets"), overwrite.get("datasets"))
        _check_keys(content)
        return make_matrix(rows, **{**content, **{key: value for key, value in overwrite.items() if value is not None}})
    except ValueError as error:
        raise ValueError(f"{error}: {file}") from error


def make_matrix(rows: Sequence[Row], **settings: Any) -> Matrix:
    """Make a matrix from settings in the types of YAML or flags.

    Raises:
        ValueError: a setting does not exist or has another type.
    """
    _check_keys(settings)
    for name, kind in (("datasets", str), ("folds", str), ("seeds", int)):
        if name in settings:
            values = settings[name] if isinstance(settings[name], (list, tuple)) else [settings[name]]
            settings[name] = tuple(_as(kind, value, name) for value in values)
    for name in ("budget_s", "gpu_memory_target_gb"):
        if settings.get(name) is not None:
            settings[name] = _as(float, settings[name], name)
    for name in ("reference", "configuration", "device"):
        if name in settings and not isinstance(settings[name], str):
            raise ValueError(f"{name} must be text, got {limits.short(settings[name])}")
    return Matrix(rows=tuple(rows), **{"datasets": (), **settings})


def _check_keys(settings: Mapping[Any, Any]) -> None:
    known = {attribute.name for attribute in fields(Matrix)} - {"rows"}
    if unknown := sorted(map(str, set(settings) - known)):
        raise ValueError(f"a benchmark has no {', '.join(unknown)}; its settings are {', '.join(sorted(known))}")


def _row(name: str, entry: Any) -> Row:
    if not isinstance(entry, dict) or not {"trainer", "model", "predictions"} & entry.keys():
        raise ValueError(
            f"a row must be a mapping with a trainer, a model or predictions, got {limits.short(entry)} of {name}"
        )
    known = {attribute.name for attribute in fields(Row)} - {"name"}
    if unknown := sorted(map(str, set(entry) - known)):
        raise ValueError(f"a row has no {', '.join(unknown)}; its settings are {', '.join(sorted(known))}: row {name}")
    lists: dict[str, Any] = {
        key: _words(entry.get(key, ()), f"{key} of row {name}") for key in ("arguments", "datasets")
    }
    texts = {key: value for key, value in entry.items() if key not in ("changes", *lists)}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise ValueError(f"{key} must be text, got {limits.short(value)} of row {name}")
    return Row(name=str(name), **lists, **texts, changes=entry.get("changes", {}))


def _words(values: Any, what: str) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str | int | float) for value in values):
        raise ValueError(f"{what} must be a list of words, got {limits.short(values)}")
    return tuple(map(str, values))


def _check_datasets_of_rows(rows: Sequence[Row], listed: Any, asked: Sequence[str] | None) -> None:
    """Refuse a row whose datasets are neither listed in the file nor asked for, because it would never run."""
    if not listed:
        return
    in_file = listed if isinstance(listed, list) else [listed]
    known = {dataset_number(str(dataset)) for dataset in (*in_file, *(asked or ()))}
    for row in rows:
        if stray := [dataset for dataset in row.datasets if dataset_number(dataset) not in known]:
            raise ValueError(
                f"datasets of a row must be among those that the file lists, got {', '.join(stray)} of row {row.name}"
            )


def _as(kind: type, value: Any, name: str) -> Any:
    try:
        if isinstance(value, bool) or (kind is int and isinstance(value, float)):  # True is not 1, and 1.5 is not 1
            raise TypeError
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be of type {kind.__name__}, got {value!r}") from None


def only_rows(matrix: Matrix, names: Sequence[str]) -> Matrix:
    """The matrix with only the named rows.

    Raises:
        ValueError: no row has one of the names.
    """
    known = {row.name: row for row in matrix.rows}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"there is no row {', '.join(unknown)}; the rows are {', '.join(known)}")
    reference = matrix.reference if matrix.reference in names else ""
    return replace(matrix, rows=tuple(known[name] for name in names), reference=reference)
