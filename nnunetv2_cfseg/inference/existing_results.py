"""What an output folder already holds: finished cases, those that may be written again, those that must be kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.errors.printable import printable
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.json_text import as_read_back
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.imaging.geometry import Volume, VolumeGeometry, grid_difference
from nnunetv2_cfseg.imaging.read import read_geometry, read_volume
from nnunetv2_cfseg.inference.outputs import volumes_ml
from nnunetv2_cfseg.inference.records import Recipe, describe_input, input_name, is_whole, read_record, same_input
from nnunetv2_cfseg.inference.scans import Case

#: How many cases are compared at once.
THREADS = 4


@dataclass(frozen=True)
class ExistingResults:
    """What an output folder already holds of the cases to be segmented.

    Attributes:
        to_do: cases that still have to be segmented.
        volumes_ml: volume of each label value in each finished case.
        unrecorded: finished cases without a record of what they were made from.
    """

    to_do: list[Case] = field(default_factory=list)
    volumes_ml: dict[str, dict[int, float]] = field(default_factory=dict)
    unrecorded: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Policy:
    """Which existing results are kept and which may be replaced.

    Attributes:
        resume: skip finished cases.
        overwrite: replace results of another scan, results of unknown origin, and edited results.
    """

    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class _Existing:
    case: Case
    volumes_ml: dict[int, float] | None = None
    recorded: bool = True
    refused: str | None = None


def look(
    cases: Sequence[Case], output: Path, recipe: Recipe, *, endings: Sequence[str], policy: Policy
) -> ExistingResults:
    """Compare cases with the output folder's content; nothing is changed.

    A segmentation of the same scan may be replaced. With ``resume`` it counts as finished if it was made with the same
    model and settings and is whole; one without a record, as older versions and nnU-Net leave it, if it is whole and on
    the scan's grid.

    Args:
        cases: to segment.
        output: folder.
        recipe: of this run.
        endings: of a case's outputs, that of the segmentation first.

    Raises:
        ValueError: a segmentation of another scan, one of unknown origin, or one that was edited would be replaced.
    """
    find = partial(_find, output=output, recipe=recipe, endings=endings, policy=policy)
    with ThreadPoolExecutor(THREADS) as pool:
        existing = list(pool.map(find, cases))
    refused = [result.refused for result in existing if result.refused is not None]
    if refused:
        more = f" (and {len(refused) - 1} more like it)" if len(refused) > 1 else ""
        advice = "give this scan another name with --name" if len(cases) == 1 else "use another folder"
        raise ValueError(f"{refused[0]}{more}; {advice}, or replace what is there with --overwrite")
    results = ExistingResults()
    for result in existing:
        if result.volumes_ml is None:
            results.to_do.append(result.case)
            continue
        results.volumes_ml[result.case.name] = result.volumes_ml
        if not result.recorded:
            results.unrecorded.append(result.case.name)
    return results


def check_model_files(output: Path, files: Mapping[str, Mapping[str, Any]], *, overwrite: bool) -> None:
    """Refuse a folder whose ``dataset.json`` and ``plans.json`` are another model's.

    Args:
        files: names and contents.
        overwrite: allow it.

    Raises:
        ValueError: an existing file differs.
    """
    for name, content in files.items():
        file = output / name
        if not overwrite and file.exists() and not _is_json_of(file, content):
            raise ValueError(
                f"the output folder holds another model's {name}, so its segmentations are that model's; use another "
                f"folder, or replace it with --overwrite: {printable(file)}"
            )


@contextmanager
def model_files(
    output: Path, files: Mapping[str, Mapping[str, Any]], *, file_ending: str, alone: bool
) -> Iterator[None]:
    """Write the model's missing files, and remove them again if no segmentation is written beside them.

    Args:
        files: names and contents.
        file_ending: of segmentations.
        alone: no other run writes to the folder.
    """
    missing = [name for name, content in files.items() if not _is_json_of(output / name, content)]
    try:
        for name in missing:
            write_json(output / name, files[name])
        yield
    finally:
        if alone and not any(file.name.endswith(file_ending) for file in output.iterdir()):
            for name in missing:
                (output / name).unlink(missing_ok=True)


def read_back(file: Path, case: Case) -> Volume | None:
    """Read a segmentation; None if it is broken or not on its scan's grid.

    Args:
        file: of the segmentation.
        case: the scan.
    """
    try:
        volume = read_volume(file)
        return volume if _fits(volume.geometry, case) else None
    except Exception:  # whatever a broken file raises
        return None


def _find(case: Case, *, output: Path, recipe: Recipe, endings: Sequence[str], policy: Policy) -> _Existing:
    outputs = [output / f"{case.name}{ending}" for ending in endings]
    file = outputs[0]
    if not file.exists() or (policy.overwrite and not policy.resume):
        return _Existing(case)
    try:
        source = describe_input(case)
    except (ValueError, OSError):
        return _Existing(case)  # it will fail when it is read, and nothing will be replaced
    record = read_record(output, case.name)
    if record is None:
        return _unrecorded(case, outputs, policy)
    if not same_input(record["input"], source):
        refused = (
            f"{printable(file)} was made of another scan ({input_name(record['input'])}) than {printable(case.place)}"
        )
        return _Existing(case, refused=None if policy.overwrite else refused)
    if file.name not in record["outputs"]:
        return _Existing(case)  # a run was killed while it wrote the case
    edited = None if is_whole(record, [file]) else read_back(file, case)
    made = policy.resume and recipe.made(record)
    if edited is not None:
        if made and all(output.is_file() for output in outputs):
            return _Existing(case, volumes_ml(edited.values, edited.geometry))
        refused = f"{printable(file)} was edited since it was made"
        return _Existing(case, refused=None if policy.overwrite else refused)
    if made and is_whole(record, outputs):
        return _Existing(case, _volumes_of(record, file, case))
    return _Existing(case)


def _unrecorded(case: Case, outputs: Sequence[Path], policy: Policy) -> _Existing:
    """Judge a segmentation without a record: from an older version, from nnU-Net, or from elsewhere."""
    segmentation = read_back(outputs[0], case) if policy.resume else None
    if segmentation is not None and all(output.is_file() for output in outputs):
        return _Existing(case, volumes_ml(segmentation.values, segmentation.geometry), recorded=False)
    refused = f"there is no record of the scan that {printable(outputs[0])} was made of"
    return _Existing(case, refused=None if policy.overwrite else refused)


def _volumes_of(record: Mapping[str, Any], file: Path, case: Case) -> dict[int, float] | None:
    recorded = record.get("volumes_ml")
    try:
        return {int(value): float(ml) for value, ml in recorded.items()}  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError):
        segmentation = read_back(file, case)
        return None if segmentation is None else volumes_ml(segmentation.values, segmentation.geometry)


def _fits(geometry: VolumeGeometry, case: Case) -> bool:
    if case.series is not None:
        return geometry.shape[0] == len(case.sources)
    return grid_difference(geometry, read_geometry(case.files[0])) is None


def _is_json_of(file: Path, content: Mapping[str, Any]) -> bool:
    try:
        return bool(as_read_back(read_json(file)) == as_read_back(content))
    except ValueError:
        return False
