"""Make plans and preprocessed data of a benchmark once, where nnU-Net keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.benchmark.limits import check_plain
from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix
from nnunetv2_cfseg.benchmark.row import NNUNET_PLANNER, OUR_PLANNERS
from nnunetv2_cfseg.benchmark.thin_labels import data_folders, link_thin_dataset, trained_dataset
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.cfseg_section import SECTION
from nnunetv2_cfseg.nnunet.datasets import RAW, Dataset, find_dataset
from nnunetv2_cfseg.nnunet.environment import require_folders
from nnunetv2_cfseg.nnunet.plans import configurations_of, resolve
from nnunetv2_cfseg.nnunet.renamed_keys import new_path, with_new_names
from nnunetv2_cfseg.nnunet.splits import NNUNET_FOLDS, SPLITS, read_splits, write_splits
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner


def dataset_name(dataset: str) -> str:
    """The full name, such as ``Dataset501_Name``, of a dataset id or name.

    Raises:
        ValueError: ``nnUNet_raw`` has no such dataset, or several.
    """
    require_folders()
    in_raw = find_dataset(dataset, [RAW])
    if not (in_raw.raw / "dataset.json").is_file():
        raise ValueError(f"there is no dataset.json in the raw dataset: {in_raw.raw}")
    return in_raw.name


def prepare(matrix: Matrix, runner: CommandRunner, *, processes: int) -> None:
    """Plan and preprocess whatever does not exist yet.

    Args:
        runner: runs the commands.
        processes: number of processes of nnU-Net's preprocessing.

    Raises:
        ValueError: a command failed, or plans that a row names do not exist and the row has no planner.
    """
    # Folds and seeds share their plans.
    cells = {(cell.dataset, cell.row.slug): cell for cell in matrix.cells() if cell.row.trainer}
    for cell in sorted(cells.values(), key=lambda cell: cell.row.labels):  # thin labels last: they use others' folds
        if cell.row.labels:
            link_thin_dataset(cell.dataset, runner.folder)
        dataset = trained_dataset(cell, runner.folder)
        _prepare(matrix, cell, dataset, runner, processes)
        write_nnunet_splits(dataset)


def _prepare(matrix: Matrix, cell: Cell, dataset: Dataset, runner: CommandRunner, processes: int) -> None:
    if not check_plans(cell, dataset):
        _plan_and_preprocess(matrix, cell, dataset, runner, processes)
    if cell.row.changes:
        write_changed_plans(dataset.preprocessed, cell.planned, cell.plans, cell.configuration, cell.row.changes)


def check_plans(cell: Cell, dataset: Dataset) -> bool:
    """Whether a cell's plans exist with their preprocessed data, so that nothing needs to be made.

    Args:
        dataset: that the cell is trained on.

    Raises:
        ValueError: they do not and the row has no planner; or they exist without the configuration, or without a
            setting that the row changes.
    """
    is_made = is_preprocessed(dataset, cell.planned, cell.configuration)
    if cell.row.plans and not cell.row.planner and not is_made:
        raise ValueError(
            f"plans {cell.planned} of row {cell.row.name} are not there and preprocessed, and it has no planner: "
            f"{dataset.preprocessed}"
        )
    file = dataset.preprocessed / f"{cell.planned}.json"
    if cell.row.changes and file.is_file():
        changed_plans(file, cell.configuration, cell.row.changes)
    return is_made


def is_preprocessed(dataset: Dataset, plans: str, configuration: str) -> bool:
    """Whether the plans and the preprocessed data of every case exist."""
    file = dataset.preprocessed / f"{plans}.json"
    if not file.is_file():
        return False
    content = read_json(file)
    planned = configurations_of(content, str(file))
    if configuration not in planned:
        raise ValueError(
            f"there is no configuration {configuration} in the plans; theirs are {', '.join(planned)}: {file}"
        )
    identifier = resolve(content, configuration, str(file)).get("data_identifier")
    check_plain(identifier, f"data_identifier of {configuration} in {file}")
    data = dataset.preprocessed / str(identifier)
    cases = dataset.preprocessed_cases
    return bool(cases) and set(cases) <= {properties.stem for properties in data.glob("*.pkl")}


def write_nnunet_splits(dataset: Dataset) -> None:
    """Write the folds that nnU-Net writes when it first trains, because parallel cells would all write them."""
    source = Dataset(dataset.name)
    if source != dataset and (source.preprocessed / SPLITS).is_file():  # thin labels use the thick ones' folds
        write_splits(dataset.preprocessed, read_splits(source.preprocessed / SPLITS))
    if not (dataset.preprocessed / SPLITS).is_file():
        from nnunetv2.utilities.crossval_split import generate_crossval_split  # slow to import

        folds = generate_crossval_split(dataset.preprocessed_cases, seed=12345, n_splits=NNUNET_FOLDS)
        write_splits(dataset.preprocessed, folds)


def _plan_and_preprocess(matrix: Matrix, cell: Cell, dataset: Dataset, runner: CommandRunner, processes: int) -> None:
    row, plans, configuration = cell.row, cell.planned, cell.configuration
    number, memory, count = dataset.number, f"{matrix.gpu_memory_target_gb:g}", str(processes)
    labels = f"{row.labels}_labels_" if row.labels else ""
    log = Path("logs", f"prepare_{dataset.name}_{labels}{plans}_{configuration}.log")
    if row.planner in OUR_PLANNERS:
        commands = [
            ["cfseg", "plan_and_preprocess", "-d", number, "-pl", row.planner, "-preset", row.preset,
             "-gpu_memory_target", memory, "-overwrite_plans_name", plans, "-c", configuration, "-np", count,
             "-npfp", count],
        ]  # fmt: skip
    else:
        commands = [["nnUNetv2_preprocess", "-d", number, "-plans_name", plans, "-c", configuration, "-np", count]]
        if not (dataset.preprocessed / f"{plans}.json").is_file():  # a row of another configuration may have made them
            commands = [
                ["nnUNetv2_extract_fingerprint", "-d", number, "-np", count],
                ["nnUNetv2_plan_experiment", "-d", number, "-pl", row.planner or NNUNET_PLANNER,
                 "-gpu_memory_target", memory, "-overwrite_plans_name", plans],
                *commands,
            ]  # fmt: skip
    for command in commands:
        runner.run(command, environment=data_folders(row, runner.folder), log=log)


def write_changed_plans(folder: Path, plans: str, name: str, configuration: str, changes: Mapping[str, Any]) -> None:
    """Write plans with changed settings for the same preprocessed data.

    Args:
        folder: folder of the preprocessed dataset.
        plans: name of the existing plans.
        name: name of the plans to write.
        configuration: the configuration to change.
        changes: new values by path in the configuration, such as ``architecture.arch_kwargs.depth``.

    Raises:
        ValueError: the plans do not have one of the paths.
    """
    content = changed_plans(folder / f"{plans}.json", configuration, changes)
    write_json(folder / f"{name}.json", {**content, "plans_name": name})


def changed_plans(file: Path, configuration: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The content of plans with changed settings.

    Args:
        file: the existing plans.
        configuration: the configuration to change.
        changes: new values by path in the configuration.

    Raises:
        ValueError: the plans do not have one of the paths.
    """
    content = read_json(file)
    planned = dict(configurations_of(content, str(file)))
    planned[configuration] = changed = dict(planned[configuration])
    if isinstance(changed.get(SECTION), dict):
        changed[SECTION] = with_new_names(changed[SECTION], file=str(file))
    content["configurations"] = planned
    for path, value in changes.items():
        *parents, key = new_setting(path).split(".")
        section = changed
        for parent in parents:
            if not isinstance(section.get(parent), dict):
                raise ValueError(f"a change must name a setting of the plans, got {path}: {file}")
            section = section[parent]
        if key not in section and parents[-1:] != ["arch_kwargs"]:  # a network has defaults that plans leave out
            raise ValueError(f"a change must name a setting of the plans, got {path}: {file}")
        section[key] = value
    return content


def new_setting(path: str) -> str:
    """The present name of a setting of a configuration, for files of benchmarks that use an old name."""
    section = f"{SECTION}."
    return section + new_path(path.removeprefix(section)) if path.startswith(section) else path
