"""A raw nnU-Net dataset at the door: are the CTs in HU, and are the labels those of ``dataset.json``?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nnunetv2_cfseg.data.parallel import run_all
from nnunetv2_cfseg.imaging.geometry import grid_difference
from nnunetv2_cfseg.imaging.read import read_scan, read_volume


def read_dataset_json(file: Path) -> dict[str, Any]:
    """Read a raw dataset's ``dataset.json``.

    Raises:
        ValueError: it is missing, no JSON, or lacks an entry that nnU-Net needs.
    """
    if not file.is_file():
        raise ValueError(f"a raw dataset needs a dataset.json, and there is none: {file}")
    try:
        dataset_json = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"dataset.json must be JSON ({error}): {file}") from error
    for entry in ("labels", "channel_names", "file_ending", "numTraining"):
        if entry not in dataset_json:
            raise ValueError(f"dataset.json must have {entry}, and has {', '.join(dataset_json)}: {file}")
    return dataset_json


def check_cases(
    cases: dict[str, dict[str, Any]], dataset_json: dict[str, Any], *, num_processes: int = 1, progress: bool = True
) -> None:
    """Look into every training case.

    Args:
        cases: nnU-Net's: for each case ``images``, one file a channel, and ``label``.
        dataset_json: of the dataset; CT channels are those named CT.

    Raises:
        ValueError: dataset.json names another number of channels; an unreadable file, a CT that is not in HU, a label
            of another size than its image, or a label value that dataset.json does not name. The message names the
            case or the file.
    """
    known = _label_values(dataset_json["labels"])
    is_ct = [name.lower() == "ct" for name in dataset_json["channel_names"].values()]
    for name, case in cases.items():
        if len(case["images"]) != len(is_ct):
            raise ValueError(
                f"dataset.json names {len(is_ct)} channels, and there are {len(case['images'])} images of {name}"
            )
    jobs = [(case["images"], case["label"], is_ct, known) for case in cases.values()]
    for _ in tqdm(
        run_all(_check_case, jobs, num_processes=min(num_processes, max(1, len(jobs)))),
        total=len(jobs),
        desc="Checking cases",
        disable=not progress,
    ):
        pass


def check_hounsfield(values: np.ndarray, file: str | Path) -> None:
    """Refuse a CT whose values cannot be HU.

    A scan in HU holds air near -1000, or nothing but tissue where everything else was cut away. Values from 0 to 255
    are a windowed picture; values from 0 to some thousands lack the rescale intercept; a range below 50 was rescaled.

    Raises:
        ValueError: with the range found and the file.
    """
    low, high = float(values.min()), float(values.max())
    is_picture_or_raw = low >= 0 and (100 < high <= 255 or high >= 1000)
    if not np.isfinite(high - low) or high - low < 50 or is_picture_or_raw:
        raise ValueError(
            f"a CT must be in Hounsfield units (air near -1000), and its values run from {low:g} to {high:g}: {file}"
        )


def check_labels(values: np.ndarray, known: set[int], file: str | Path) -> None:
    """Refuse a segmentation with label values that the dataset does not have.

    Raises:
        ValueError: with the values and the file.
    """
    unknown = sorted(set(np.unique(values).tolist()) - known)
    if unknown:
        named = str(unknown) if len(unknown) <= 5 else f"{unknown[:5]} and {len(unknown) - 5} more"
        raise ValueError(f"labels must be those of dataset.json {sorted(known)}, got also {named}: {file}")


def _check_case(job: tuple[list[str], str, list[bool], set[int]]) -> None:
    images, label, is_ct, known = job
    segmentation = read_volume(Path(label))
    for name, ct in zip(images, is_ct, strict=True):
        file = Path(name)
        image = read_scan(file)
        if difference := grid_difference(segmentation.geometry, image.geometry):
            raise ValueError(f"a label must have its image's {difference}: {label}")
        if ct:
            check_hounsfield(image.values, file)
    check_labels(segmentation.values, known, label)


def _label_values(labels: dict[str, int | list[int]]) -> set[int]:
    """All values of dataset.json's labels; a region names several."""
    values: set[int] = set()
    for value in labels.values():
        values.update(value if isinstance(value, list | tuple) else [value])
    return values
