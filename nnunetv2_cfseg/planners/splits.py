"""Folds that a raw dataset brings along."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from nnunetv2_cfseg.imaging.notices import say
from nnunetv2_cfseg.nnunet.splits import NNUNET_FOLDS, SPLITS, Folds, read_splits


def check_splits(raw: Path, preprocessed: Path, cases: Collection[str]) -> None:
    """Check the folds of a raw dataset, if it has any, before nnU-Net's planner copies them.

    The planner copies the file to the preprocessed dataset, where training reads it. It keeps an existing file there,
    and fails if that file does not begin with the same folds.

    Args:
        raw: folder of the raw dataset.
        preprocessed: folder of the preprocessed dataset, which may not exist yet.
        cases: names of the training cases.

    Raises:
        ValueError: the file is not nnU-Net's, a fold has a case that the dataset does not have, or the folds differ
            from the preprocessed dataset's.
    """
    if not (raw / SPLITS).is_file():
        return
    folds = _sets(read_splits(raw / SPLITS))
    unknown = sorted(set().union(*(names for fold in folds for names in fold.values())) - set(cases))
    if unknown:
        raise ValueError(f"unknown case {unknown[0]!r} in a fold; the dataset does not have it: {raw / SPLITS}")
    if (preprocessed / SPLITS).is_file() and _sets(read_splits(preprocessed / SPLITS))[: len(folds)] != folds:
        raise ValueError(
            f"the folds of the preprocessed dataset differ from those of the raw dataset; remove one of the files: "
            f"{preprocessed / SPLITS} and {raw / SPLITS}"
        )


def say_what_folds_lack(raw: Path, preprocessed: Path, cases: Collection[str]) -> None:
    """Warn about folds on which training would fail or validation would say little.

    Args:
        raw: folder of the raw dataset.
        preprocessed: folder of the preprocessed dataset, whose folds are used if it has any.
        cases: names of the training cases.

    Raises:
        ValueError: the file is not nnU-Net's.
    """
    file = next((folder / SPLITS for folder in (preprocessed, raw) if (folder / SPLITS).is_file()), None)
    if file is None:
        if len(cases) < NNUNET_FOLDS:
            say(
                f"nnU-Net makes {NNUNET_FOLDS} folds, for which {len(cases)} training {_cases(len(cases))} too few: "
                f"train the fold all, or write your own folds, a list of train and val, to {raw / SPLITS}"
            )
        return
    for number, fold in enumerate(_sets(read_splits(file))):
        for part in ("train", "val"):
            if not fold[part]:
                say(f"fold {number} has no cases in {part}, so training on it will fail: {file}")
        both = sorted(fold["train"] & fold["val"])
        if both:
            say(
                f"fold {number} trains on {len(both)} of the {len(fold['val'])} cases it is validated on, such as "
                f"{both[0]}, so its validation says little: {file}"
            )


def _cases(count: int) -> str:
    return "case is" if count == 1 else "cases are"


def _sets(folds: Folds) -> list[dict[str, set[str]]]:
    return [{part: set(names) for part, names in fold.items()} for fold in folds]
