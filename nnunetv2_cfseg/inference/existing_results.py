"""What stands in an output folder already: what is done, what may be written again, and what must not be touched."""

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

#: Files that are looked into at once.
THREADS = 4


@dataclass(frozen=True)
class ExistingResults:
    """What an output folder holds of the cases that are to be segmented.

    Attributes:
        to_do: cases to segment.
        volumes_ml: of each label value in each case that is done.
        unrecorded: of the done ones, those of which nothing says what they were made from.
    """

    to_do: list[Case] = field(default_factory=list)
    volumes_ml: dict[str, dict[int, float]] = field(default_factory=dict)
    unrecorded: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Policy:
    """What may be left as it is and what may be replaced.

    Attributes:
        resume: leave out what is done.
        overwrite: replace what was made of another scan, what nobody knows the origin of, and what was edited.
    """

    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class _Found:
    case: Case
    volumes_ml: dict[int, float] | None = None
    recorded: bool = True
    refused: str | None = None


def look(
    cases: Sequence[Case], output: Path, recipe: Recipe, *, endings: Sequence[str], policy: Policy
) -> ExistingResults:
    """Compare cases with what stands in the output folder; nothing is changed.

    A segmentation of the same bytes may be made again. With ``resume`` it is done if it was made with the same model
    and settings and is whole; one without a record, as older versions and nnU-Net leave it, if it is whole and lies on
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
        found = list(pool.map(find, cases))
    refused = [one.refused for one in found if one.refused is not None]
    if refused:
        more = f" (and {len(refused) - 1} more like it)" if len(refused) > 1 else ""
        advice = "give this scan another name with --name" if len(cases) == 1 else "use another folder"
        raise ValueError(f"{refused[0]}{more}; {advice}, or replace what is there with --overwrite")
    standing = ExistingResults()
    for one in found:
        if one.volumes_ml is None:
            standing.to_do.append(one.case)
            continue
        standing.volumes_ml[one.case.name] = one.volumes_ml
        if not one.recorded:
            standing.unrecorded.append(one.case.name)
    return standing


def check_model_files(output: Path, files: Mapping[str, Mapping[str, Any]], *, overwrite: bool) -> None:
    """Refuse a folder whose ``dataset.json`` and ``plans.json`` are another model's.

    Args:
        files: names and contents.
        overwrite: allow it.

    Raises:
        ValueError: what stands there differs.
    """
    for name, content in files.items():
        file = output / name
        if not overwrite and file.exists() and not _is_json_of(file, content):
            raise ValueError(
                f"the output folder holds another model's {name}, so what is in it was made by that; use another "
                f"folder, or replace it with --overwrite: {printable(file)}"
            )


@contextmanager
def model_files(
    output: Path, files: Mapping[str, Mapping[str, Any]], *, file_ending: str, alone: bool
) -> Iterator[None]:
    """Write them where they are not there already, and take them back if no segmentation comes to lie beside them.

    Args:
        files: names and contents.
        file_ending: of segmentations.
        alone: no other run writes there.
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
    """A segmentation that is whole and lies on its scan's grid; None for any other.

    Args:
        file: of the segmentation.
        case: the scan.
    """
    try:
        volume = read_volume(file)
        return volume if _fits(volume.geometry, case) else None
    except Exception:  # whatever a broken file raises
        return None


def _find(case: Case, *, output: Path, recipe: Recipe, endings: Sequence[str], policy: Policy) -> _Found:
    outputs = [output / f"{case.name}{ending}" for ending in endings]
    file = outputs[0]
    if not file.exists() or (policy.overwrite and not policy.resume):
        return _Found(case)
    try:
        source = describe_input(case)
    except (ValueError, OSError):
        return _Found(case)  # it fails when it is read, and nothing is replaced
    record = read_record(output, case.name)
    if record is None:
        return _unrecorded(case, outputs, policy)
    if not same_input(record["input"], source):
        refused = (
            f"{printable(file)} was made of another scan ({input_name(record['input'])}) than {printable(case.place)}"
        )
        return _Found(case, refused=None if policy.overwrite else refused)
    if file.name not in record["outputs"]:
        return _Found(case)  # a run was killed as it wrote the case
    edited = None if is_whole(record, [file]) else read_back(file, case)
    made = policy.resume and recipe.made(record)
    if edited is not None:
        if made and all(output.is_file() for output in outputs):
            return _Found(case, volumes_ml(edited.values, edited.geometry))
        refused = f"{printable(file)} was edited since it was made"
        return _Found(case, refused=None if policy.overwrite else refused)
    if made and is_whole(record, outputs):
        return _Found(case, _volumes_of(record, file, case))
    return _Found(case)


def _unrecorded(case: Case, outputs: Sequence[Path], policy: Policy) -> _Found:
    """Of an older version, of nnU-Net, or of somewhere else."""
    segmentation = read_back(outputs[0], case) if policy.resume else None
    if segmentation is not None and all(output.is_file() for output in outputs):
        return _Found(case, volumes_ml(segmentation.values, segmentation.geometry), recorded=False)
    refused = f"nothing says which scan {printable(outputs[0])} was made of"
    return _Found(case, refused=None if policy.overwrite else refused)


def _volumes_of(record: Mapping[str, Any], file: Path, case: Case) -> dict[int, float] | None:
    known = record.get("volumes_ml")
    try:
        return {int(value): float(ml) for value, ml in known.items()}  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError):
        segmentation = read_back(file, case)
        return None if segmentation is None else volumes_ml(segmentation.values, segmentation.geometry)


def _fits(found: VolumeGeometry, case: Case) -> bool:
    if case.series is not None:
        return found.shape[0] == len(case.sources)
    return grid_difference(found, read_geometry(case.files[0])) is None


def _is_json_of(file: Path, content: Mapping[str, Any]) -> bool:
    try:
        return bool(as_read_back(read_json(file)) == as_read_back(content))
    except ValueError:
        return False
