"""Plans and preprocessed data of a benchmark, made once and where nnU-Net keeps them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.benchmark.limits import check_plain
from nnunetv2_cfseg.benchmark.matrix import NNUNET_PLANNER, OUR_PLANNERS, Matrix, Row, dataset_number
from nnunetv2_cfseg.benchmark.thin_labels import data_folders, link_thin_dataset, preprocessed
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.text_files import read_any_json, read_json
from nnunetv2_cfseg.nnunet.environment import require_folders
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner


def dataset_name(dataset: str) -> str:
    """``Dataset501_Name`` of an id or a name.

    Raises:
        ValueError: ``nnUNet_raw`` has none, or several.
    """
    require_folders()
    raw = Path(os.environ["nnUNet_raw"])
    if (raw / dataset / "dataset.json").is_file():
        return dataset
    found = sorted(folder.name for folder in raw.glob(f"Dataset{int(dataset):03d}_*")) if dataset.isdecimal() else []
    if len(found) != 1:
        raise ValueError(
            f"a dataset must be an id or a name in nnUNet_raw, got {dataset!r}, which {len(found)} fit: {raw}"
        )
    return found[0]


def prepare(matrix: Matrix, runner: CommandRunner, *, processes: int) -> None:
    """Plan and preprocess what is not there yet.

    Args:
        runner: of the commands.
        processes: of nnU-Net's preprocessing.

    Raises:
        ValueError: a command failed, or plans that a row names are not there and no planner is known.
    """
    for dataset in matrix.datasets:
        rows = [row for row in matrix.rows_of(dataset) if row.trainer]
        for row in sorted(rows, key=lambda row: row.labels):  # thin ones last: they take the folds of the others
            folder = preprocessed(row, dataset, runner.folder)
            if row.labels:
                link_thin_dataset(dataset, runner.folder)
            name, configuration = matrix.plans_of(row), matrix.configuration_of(row)
            if not is_preprocessed(folder, name, configuration):
                if row.plans and not row.planner:
                    raise ValueError(
                        f"plans that a row names must be there and preprocessed, or have a planner, got {name} of row "
                        f"{row.name}: {folder}"
                    )
                _plan_and_preprocess(matrix, row, dataset, runner, processes, folder)
            if row.changes:
                write_changed_plans(folder, name, matrix.trained_plans(row), configuration, row.changes)
            write_splits(folder, of=Path(os.environ["nnUNet_preprocessed"]) / dataset)


def is_preprocessed(folder: Path, plans: str, configuration: str) -> bool:
    """Whether plans are there, and the data of every case that they ask for."""
    file = folder / f"{plans}.json"
    if not file.is_file():
        return False
    planned = configurations_of(file)
    if configuration not in planned:
        raise ValueError(
            f"a benchmark's configuration must be one of {', '.join(planned)}, got {configuration}: {file}"
        )
    identifier = resolved(planned, configuration, file).get("data_identifier")
    check_plain(identifier, f"data_identifier of {configuration} in {file}")
    data = folder / str(identifier)
    cases = cases_of(folder)
    return bool(cases) and set(cases) <= {properties.stem for properties in data.glob("*.pkl")}


def cases_of(folder: Path) -> list[str]:
    """Of a preprocessed dataset, sorted."""
    ending = read_json(folder / "dataset.json")["file_ending"]
    return sorted(truth.name.removesuffix(ending) for truth in (folder / "gt_segmentations").glob(f"*{ending}"))


def write_splits(folder: Path, *, of: Path | None = None) -> None:
    """The folds that nnU-Net would write when it first trains: cells that begin together would write them at once.

    Args:
        folder: of the preprocessed dataset.
        of: another one of the same cases, whose folds are taken where it has some.
    """
    file = folder / "splits_final.json"
    if of is not None and of != folder and (of / file.name).is_file():
        write_json(file, read_any_json(of / file.name))
    if not file.is_file():
        from nnunetv2.utilities.crossval_split import generate_crossval_split  # slow to import

        write_json(file, generate_crossval_split(cases_of(folder), seed=12345, n_splits=5))


def configurations_of(file: Path) -> dict[str, dict[str, Any]]:
    """The configurations of plans.

    Raises:
        ValueError: the file has none, or they are no mappings.
    """
    planned = read_json(file).get("configurations")
    if not isinstance(planned, dict) or not all(isinstance(one, dict) for one in planned.values()):
        raise ValueError(f"plans must have configurations by their names: {file}")
    return planned


def resolved(configurations: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    """A configuration with what it inherits.

    Raises:
        ValueError: it inherits from one that is not there, or from itself.
    """
    chain: list[str] = []
    parent: Any = name
    while parent:
        if not isinstance(parent, str) or parent not in configurations or parent in chain:
            raise ValueError(f"a configuration must inherit from another one, got {parent!r} of {name}: {file}")
        chain.append(parent)
        parent = configurations[parent].get("inherits_from")
    return {key: value for one in reversed(chain) for key, value in configurations[one].items()}


def _plan_and_preprocess(
    matrix: Matrix, row: Row, dataset: str, runner: CommandRunner, processes: int, folder: Path
) -> None:
    number, plans = dataset_number(dataset), matrix.plans_of(row)
    memory, count = f"{matrix.gpu_memory_target_gb:g}", str(processes)
    configuration = matrix.configuration_of(row)
    of_labels = f"{row.labels}_labels_" if row.labels else ""
    log = Path("logs", f"prepare_{dataset}_{of_labels}{plans}_{configuration}.log")
    if row.planner in OUR_PLANNERS:
        commands = [
            ["cfseg", "plan_and_preprocess", "-d", number, "-pl", row.planner, "-preset", row.preset,
             "-gpu_memory_target", memory, "-overwrite_plans_name", plans, "-c", configuration, "-np", count,
             "-npfp", count],
        ]  # fmt: skip
    else:
        commands = [["nnUNetv2_preprocess", "-d", number, "-plans_name", plans, "-c", configuration, "-np", count]]
        if not (folder / f"{plans}.json").is_file():  # a row of another configuration may have made them
            commands = [
                ["nnUNetv2_extract_fingerprint", "-d", number, "-np", count],
                ["nnUNetv2_plan_experiment", "-d", number, "-pl", row.planner or NNUNET_PLANNER,
                 "-gpu_memory_target", memory, "-overwrite_plans_name", plans],
                *commands,
            ]  # fmt: skip
    for command in commands:
        runner.run(command, environment=data_folders(row, runner.folder), log=log)


def write_changed_plans(folder: Path, plans: str, name: str, configuration: str, changes: Mapping[str, Any]) -> None:
    """Write plans with other settings, for the same preprocessed data.

    Args:
        folder: of the preprocessed dataset.
        plans: name of those that are there.
        name: of those to write.
        configuration: that is changed.
        changes: values by their path in it, ``architecture.arch_kwargs.depth``.

    Raises:
        ValueError: a path that the plans do not have.
    """
    content = read_json(folder / f"{plans}.json")
    planned = configurations_of(folder / f"{plans}.json")
    content.update(plans_name=name, configurations=planned)
    for path, value in changes.items():
        *parents, key = path.split(".")
        place = planned[configuration]
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                raise ValueError(f"a change must name a setting of the plans, got {path}: {folder / plans}.json")
            place = place[parent]
        if key not in place and parents[-1:] != ["arch_kwargs"]:  # a network has defaults that plans leave out
            raise ValueError(f"a change must name a setting of the plans, got {path}: {folder / plans}.json")
        place[key] = value
    write_json(folder / f"{name}.json", content)
