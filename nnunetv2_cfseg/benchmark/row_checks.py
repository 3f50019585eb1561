"""Check that the settings of a benchmark's rows fit together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnunetv2_cfseg.benchmark.limits import LONGEST_NAME, short

if TYPE_CHECKING:
    from nnunetv2_cfseg.benchmark.matrix import Matrix, Row

#: Labels that a row may name; empty for the dataset's own.
LABELS = ("", "thin")
#: Settings that only rows that train have, and only rows that predict.
OF_TRAINING = ("planner", "preset", "plans", "configuration", "changes", "labels", "after")
OF_PREDICTION = ("predict", "arguments")
#: A folder below another one: plain names separated by slashes.
FOLDER = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*", re.ASCII)


def check_kind(row: Row) -> None:
    """Check that a row has a trainer, an existing model or existing predictions, and only settings of that kind.

    Raises:
        ValueError: it has none or several of them, or settings of another kind.
    """
    kinds = [name for name in ("trainer", "model", "predictions") if getattr(row, name)]
    if len(kinds) != 1:
        given = " and ".join(kinds) or "none of them"
        raise ValueError(f"a row must have a trainer, a model or predictions, got {given}: row {row.name}")
    if kinds == ["trainer"]:
        return
    check_folder(getattr(row, kinds[0]), f"{kinds[0]} of row {row.name}")
    foreign = OF_TRAINING if kinds == ["model"] else (*OF_TRAINING, *OF_PREDICTION)
    if used := [name for name in foreign if getattr(row, name) != _default(row, name)]:
        raise ValueError(f"a row with {kinds[0]} trains nothing and cannot have {', '.join(used)}: row {row.name}")


def check_folder(folder: Any, what: str) -> None:
    """Check a folder, which must lie in the dataset's folder.

    Raises:
        ValueError: the path might lead elsewhere.
    """
    if not isinstance(folder, str) or len(folder) > LONGEST_NAME or not FOLDER.fullmatch(folder):
        raise ValueError(f"{what} must be a folder below the dataset's, of plain names, got {short(folder)}")


def check_labels(row: Row) -> None:
    """Check which labels a row is trained on.

    Raises:
        ValueError: there are no such labels.
    """
    if row.labels not in LABELS:
        raise ValueError(f"labels must be thin or left out, got {short(row.labels)}: row {row.name}")


def check_order(matrix: Matrix) -> None:
    """Check rows that start from the weights of another row.

    Raises:
        ValueError: the other row does not exist, trains nothing or another network, is for fewer datasets, or itself
            starts from this row.
    """
    rows = {row.name: row for row in matrix.rows}
    for row in matrix.rows:
        if not row.after:
            continue
        if row.after not in rows:
            raise ValueError(f"after must name a row, {', '.join(rows)}, got {short(row.after)}: row {row.name}")
        _check_circle(row, rows)
        _check_same_network(matrix, row, rows[row.after])


def _check_circle(row: Row, rows: dict[str, Row]) -> None:
    chain = [row.name]
    while (before := rows[chain[-1]].after) in rows:
        if before in chain:
            raise ValueError(f"rows must not start from each other, got {' after '.join([*chain, before])}")
        chain.append(before)


def _check_same_network(matrix: Matrix, row: Row, before: Row) -> None:
    if not before.trainer:
        raise ValueError(f"after must name a row that trains, got {before.name}: row {row.name}")
    for dataset in matrix.datasets:
        if row in matrix.rows_of(dataset) and before not in matrix.rows_of(dataset):
            raise ValueError(f"row {before.name} is not for {dataset}, but a row after it is: row {row.name}")
    first, second = (_network(matrix, each) for each in (before, row))
    if first != second:
        raise ValueError(
            f"a row must have the network of the row that it is after, {before.name}, got other plans, configuration "
            f"or architecture: row {row.name}"
        )


def _network(matrix: Matrix, row: Row) -> Sequence[Any]:
    """The settings of a row that determine its network; loading the weights checks the rest."""
    architecture = {path: value for path, value in row.changes.items() if path.split(".")[0] == "architecture"}
    return matrix.plans_of(row), matrix.configuration_of(row), architecture


def _default(row: Row, name: str) -> Any:
    return type(row).__dataclass_fields__[name].default if name != "changes" else {}
