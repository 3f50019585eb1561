"""Choose and check the folders and cases to compare, before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from nnunetv2_cfseg.imaging.segmentations import case_files
from nnunetv2_cfseg.nnunet.dataset_json import read_dataset_json

#: Number of missing cases that an error message names.
MOST_NAMED = 5
DATASET_JSON = "dataset.json"


@dataclass(frozen=True)
class CommonCases:
    """Which cases are compared.

    Attributes:
        compared: cases that every folder has, in the order of the truth.
        left_out: the other cases of the truth, each with the names of the folders that have it.
        without_truth: cases that only folders of predictions have.
    """

    compared: tuple[str, ...]
    left_out: Mapping[str, tuple[str, ...]]
    without_truth: tuple[str, ...] = ()


def name_folders(folders: Sequence[Path], names: Sequence[str] | None = None) -> dict[str, Path]:
    """Give every folder its name in tables: by default the end of its path that no other folder has.

    Raises:
        ValueError: there are fewer than two folders, a folder is missing or named twice, or the names do not differ or
            are not one for each folder.
    """
    if len(folders) < 2:
        raise ValueError(f"a comparison needs at least two folders, got {len(folders)}: {_listed(folders)}")
    for first, second in combinations(folders, 2):
        if first.resolve() == second.resolve():
            raise ValueError(f"a folder cannot be compared with itself, it is named twice: {second}")
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"there is no such folder of predictions: {folder}")
    if names is None:
        names = [_shortest_tail(folder, folders) for folder in folders]
    elif len(names) != len(folders):
        raise ValueError(
            f"names must be one for each of the {len(folders)} folders, got {len(names)}: {_listed(names)}"
        )
    elif len(set(names)) != len(names) or not all(name.strip() for name in names):
        raise ValueError(f"names must differ and not be empty, got: {_listed(names)}")
    return dict(zip(names, folders, strict=True))


def find_dataset_json(folders: Sequence[Path]) -> Path:
    """The ``dataset.json`` that nnU-Net wrote into the first folder.

    Raises:
        ValueError: it has none, or the ``dataset.json`` of another folder has other labels: the same value might mean
            another class.
    """
    file = folders[0] / DATASET_JSON
    if not file.is_file():
        raise ValueError(f"there is no dataset.json, name one with -djfile: {file}")
    labels = read_dataset_json(file)["labels"]
    for other in (folder / DATASET_JSON for folder in folders[1:]):
        if other.is_file() and read_dataset_json(other)["labels"] != labels:
            raise ValueError(
                f"the labels differ from those in {file}; compared predictions must have the same labels, or name a "
                f"dataset.json for all with -djfile: {other}"
            )
    return file


def name_of(reference: Path, folders: Mapping[str, Path]) -> str:
    """The name of the folder that all others are compared with.

    Raises:
        ValueError: it is not one of the folders.
    """
    for name, folder in folders.items():
        if folder.resolve() == reference.resolve():
            return name
    raise ValueError(f"-ref must be one of the compared folders ({_listed(folders.values())}), got: {reference}")


def common_cases(
    truth: Path, folders: Mapping[str, Path], *, file_ending: str, only_common: bool = False
) -> CommonCases:
    """Find the cases that the truth and every folder have.

    Args:
        truth: folder of reference segmentations.
        folders: folders of predictions, by name.
        file_ending: of all segmentations.
        only_common: leave out the cases that a folder, or the truth, lacks.

    Raises:
        ValueError: a folder or the truth lacks a case and ``only_common`` is not set, or there is no common case.
    """
    cases = case_files(truth, file_ending)
    predicted = {name: case_files(folder, file_ending) for name, folder in folders.items()}
    owners = {case: tuple(name for name, files in predicted.items() if case in files) for case in cases}
    left_out = {case: names for case, names in owners.items() if len(names) < len(folders)}
    if left_out and not only_common:
        raise ValueError(_missing_cases(left_out, folders))
    without_truth = tuple(sorted({case for files in predicted.values() for case in files} - cases.keys()))
    if without_truth and not only_common:
        raise ValueError(_unknown_cases(without_truth, predicted, truth))
    if len(left_out) == len(cases):
        raise ValueError(f"no case is in all folders, and a comparison needs one: {_listed(folders.values())}")
    return CommonCases(tuple(case for case in cases if case not in left_out), left_out, without_truth)


def _missing_cases(left_out: Mapping[str, tuple[str, ...]], folders: Mapping[str, Path]) -> str:
    """An error message with the cases that are missing in the first folder that lacks any."""
    missing_in = {name: [case for case, owners in left_out.items() if name not in owners] for name in folders}
    name, missing = next((name, cases) for name, cases in missing_in.items() if cases)
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return (
        f"no prediction of {', '.join(missing[:MOST_NAMED])}{more}; every folder must have every case of the truth "
        f"(--chill leaves out cases that a folder lacks): {folders[name]}"
    )


def _unknown_cases(without_truth: tuple[str, ...], predicted: Mapping[str, Mapping[str, Path]], truth: Path) -> str:
    file = next(files[without_truth[0]] for files in predicted.values() if without_truth[0] in files)
    return f"no reference in {truth} for a prediction (--chill leaves it out): {file}"


def _shortest_tail(folder: Path, folders: Sequence[Path]) -> str:
    """The shortest end of the folder's path that no other folder has."""
    others = [other.resolve().parts for other in folders if other.resolve() != folder.resolve()]
    parts = folder.resolve().parts
    count = next(n for n in range(1, len(parts) + 1) if all(other[-n:] != parts[-n:] for other in others))
    return str(Path(*parts[-count:]))


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "none"
