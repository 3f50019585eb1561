"""Limit what a benchmark's file may say, so that a stranger's file cannot write elsewhere or run other code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from math import isfinite
from typing import Any

DEVICES = ("cpu", "cuda", "mps")
MOST_CELLS = 10_000
MOST_FOLD = 999
MOST_SEED = 2**32 - 1
LONGEST_NAME = 100
LONGEST_BUDGET_S = timedelta(days=30).total_seconds()
MOST_GPU_MEMORY_GB = 10_000
MOST_JOBS = 1000
MOST_VALUES, LARGEST_VALUE = 1000, 1e9

#: Names of files and folders: plans, configurations, datasets.
PLAIN = re.compile(r"\w[\w.+-]*", re.ASCII)
#: Names of Python classes: trainers, planners.
IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
#: Classes that plans may name, which nnU-Net imports by their path.
CLASS_PATH = re.compile(
    r"(torch\.nn(\.modules\.[a-z]+)?|dynamic_network_architectures\.(architectures|building_blocks)\.[a-z_0-9]+"
    r"|nnunetv2_cfseg\.networks(\.[a-z_]+)?)\.[A-Z]\w*",
    re.ASCII,
)
#: Flags of prediction with one dash that a row may have. Others are unsafe: argparse reads ``-oelsewhere`` as ``-o``.
SHORT_FLAGS = ("-chk", "-step_size", "-npp", "-nps")
#: Flags with two dashes that a row may not have.
REFUSED_FLAGS = ("--trust_checkpoint", "--continue_prediction", "--c")


def check_plain(name: Any, what: str) -> None:
    """Check a name of a file or folder, which must not lead out of its folder.

    Raises:
        ValueError: it is not a plain name.
    """
    if not _matches(PLAIN, name):
        raise ValueError(f"{what} must be a plain name of letters, digits, _ . + and -, got {short(name)}")


def check_class_name(name: Any, what: str) -> None:
    """Check the name of a class that nnU-Net looks up.

    Raises:
        ValueError: it is not an identifier.
    """
    if not _matches(IDENTIFIER, name):
        raise ValueError(f"{what} must be the name of a class, got {short(name)}")


def check_title(name: Any, slug: str) -> None:
    """Check the name of a row, from which the name of its folder (``slug``) is made.

    Raises:
        ValueError: it has control characters, is too long, or its slug is empty.
    """
    if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME or not slug:
        raise ValueError(
            f"a row's name must have letters or digits, and at most {LONGEST_NAME} characters that can be printed, "
            f"got {short(name)}"
        )


def check_fold(fold: Any) -> None:
    """Check a fold, which is a number or ``all``.

    Raises:
        ValueError: it is neither.
    """
    is_number = isinstance(fold, str) and fold.isascii() and fold.isdecimal() and str(int(fold[:9])) == fold
    if fold != "all" and not (is_number and int(fold) <= MOST_FOLD):
        raise ValueError(f"a fold must be a number from 0 to {MOST_FOLD}, or all, got {short(fold)}")


def check_number(value: float, name: str, *, low: float = 0, most: float) -> None:
    """Check that a number is finite, above ``low`` and at most ``most``.

    Raises:
        ValueError: it is not.
    """
    if not (isfinite(value) and low < value <= most):
        raise ValueError(f"{name} must be > {low:g} and at most {most:.0f}, got {value:g}")


def check_arguments(arguments: Iterable[Any], row: str) -> None:
    """Check a row's additional flags of prediction: none that the benchmark sets itself, and no paths.

    Raises:
        ValueError: a flag or a value is not allowed.
    """
    for word in arguments:
        if not isinstance(word, str) or not word.isprintable() or "/" in word or "\\" in word or ".." in word:
            raise ValueError(f"arguments must be flags and plain values, no paths, got {short(word)} of row {row}")
        flag = word.partition("=")[0]
        if not flag.startswith("-") or re.fullmatch(r"-[\d.]+", flag):
            continue
        is_refused = any(refused.startswith(flag) for refused in REFUSED_FLAGS)  # argparse completes flags
        if is_refused or not (flag.startswith("--") or flag in SHORT_FLAGS):
            raise ValueError(f"arguments must not have flags that the benchmark sets, got {short(word)} of row {row}")


def check_changes(changes: Any, row: str) -> None:
    """Check changes to plans, whose values may be numbers, plain words and classes of networks.

    Raises:
        ValueError: a setting or value is something else; the message names the row.
    """
    if not isinstance(changes, Mapping):
        raise ValueError(f"changes must map settings of the plans to values, got {short(changes)} of row {row}")
    for path, value in changes.items():
        if not isinstance(path, str) or not re.fullmatch(r"\w+(\.\w+)*", path):
            example = "architecture.arch_kwargs.depth"
            raise ValueError(f"a change must name a setting as in {example}, got {short(path)} of row {row}")
        _check_values(value, f"{path} of row {row}")


def _check_values(value: Any, where: str) -> None:
    """Check a value and all values in it, with a limit: YAML aliases can make a small file huge or recursive."""
    waiting, seen = [value], 0
    while waiting:
        value, seen = waiting.pop(), seen + 1
        if seen > MOST_VALUES:
            raise ValueError(f"a change must have at most {MOST_VALUES} values, got more for {where}")
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        else:
            _check_value(value, where)


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, str):
        if not (_matches(CLASS_PATH, value) or re.fullmatch(r"[\w+ -]{0,100}", value)):
            raise ValueError(f"a change must be a plain word or a class of networks, got {short(value)} for {where}")
    elif value is not None and not (isinstance(value, int | float) and abs(value) <= LARGEST_VALUE):
        raise ValueError(f"a change must be finite numbers, words, lists or mappings, got {short(value)} for {where}")


def short(value: Any) -> str:
    """A value for an error message, with control characters escaped, and cut at 80 characters."""
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _matches(pattern: re.Pattern[str], name: Any) -> bool:
    return isinstance(name, str) and len(name) <= LONGEST_NAME and pattern.fullmatch(name) is not None
