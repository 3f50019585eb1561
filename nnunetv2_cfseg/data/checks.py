"""A raw nnU-Net dataset at the door: are the CTs in HU, and are the labels those of ``dataset.json``?"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nnunetv2_cfseg.imaging.geometry import grid_difference
from nnunetv2_cfseg.imaging.hounsfield import check_hounsfield as check_hounsfield
from nnunetv2_cfseg.imaging.read import read_scan, read_volume
from nnunetv2_cfseg.nnunet import dataset_json as dataset_json_schema


def read_dataset_json(file: Path) -> dict[str, Any]:
    """Read a raw dataset's ``dataset.json``.

    Raises:
        ValueError: it is missing, no JSON, or lacks an entry that nnU-Net needs.
    """
    return dataset_json_schema.read_dataset_json(file, dataset_json_schema.RawDatasetJson)


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
    for _ in tqdm(_run(jobs, num_processes), total=len(jobs), desc="Checking cases", disable=not progress):
        pass


def check_labels(values: np.ndarray, known: set[int], file: str | Path) -> None:
    """Refuse a segmentation with label values that the dataset does not have.

    Raises:
        ValueError: with the values and the file.
    """
    unknown = sorted(set(np.unique(values).tolist()) - known)
    if unknown:
        named = str(unknown) if len(unknown) <= 5 else f"{unknown[:5]} and {len(unknown) - 5} more"
        raise ValueError(f"labels must be those of dataset.json {sorted(known)}, got also {named}: {file}")


def _run(jobs: list[tuple], num_processes: int) -> Iterator[None]:
    if num_processes == 1:
        yield from map(_check_case, jobs)
        return
    with ProcessPoolExecutor(num_processes) as pool:
        try:
            yield from pool.map(_check_case, jobs)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


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
        values.update(map(int, value if isinstance(value, list | tuple) else [value]))
    return values
