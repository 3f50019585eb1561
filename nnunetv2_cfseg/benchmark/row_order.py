"""Checks rows of a benchmark that start from the weights of other rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnunetv2_cfseg.benchmark.limits import short
from nnunetv2_cfseg.benchmark.row import Row


def check_order(rows: Sequence[Row], datasets: Sequence[str], *, network_of: Callable[[Row], Any]) -> None:
    """Check rows that start from the weights of another row.

    Args:
        rows: all rows of a benchmark.
        datasets: its datasets.
        network_of: what determines a row's network; rows of one network have equal values.

    Raises:
        ValueError: the other row does not exist, trains nothing or another network, is for fewer datasets, or itself
            starts from this row.
    """
    named = {row.name: row for row in rows}
    for row in rows:
        if not row.after:
            continue
        if row.after not in named:
            raise ValueError(f"after must name a row, {', '.join(named)}, got {short(row.after)}: row {row.name}")
        _check_circle(row, named)
        before = named[row.after]
        _check_before(row, before, datasets)
        if network_of(before) != network_of(row):
            raise ValueError(
                f"a row must have the network of the row that it is after, {before.name}, got other plans, "
                f"configuration or architecture: row {row.name}"
            )


def _check_circle(row: Row, rows: Mapping[str, Row]) -> None:
    chain = [row.name]
    while (before := rows[chain[-1]].after) in rows:
        if before in chain:
            raise ValueError(f"rows must not start from each other, got {' after '.join([*chain, before])}")
        chain.append(before)


def _check_before(row: Row, before: Row, datasets: Sequence[str]) -> None:
    if not before.trainer:
        raise ValueError(f"after must name a row that trains, got {before.name}: row {row.name}")
    for dataset in datasets:
        if row.is_for(dataset) and not before.is_for(dataset):
            raise ValueError(f"row {before.name} is not for {dataset}, but a row after it is: row {row.name}")
