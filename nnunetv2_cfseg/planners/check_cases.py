"""Checks of each training case of a raw dataset: CT is in HU, labels match their image's grid and dataset.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_cfseg.imaging.geometry import grid_difference
from nnunetv2_cfseg.imaging.hounsfield import check_hounsfield
from nnunetv2_cfseg.imaging.labels import check_labels
from nnunetv2_cfseg.imaging.notices import say
from nnunetv2_cfseg.imaging.read import read_scan, read_volume
from nnunetv2_cfseg.nnunet.dataset_json import ignored_value, label_values
from nnunetv2_cfseg.processes.parallel_map import parallel_map
from nnunetv2_cfseg.processes.progress_bar import progress_bar


def check_cases(
    cases: Mapping[str, Any],
    dataset_json: dict[str, Any],
    *,
    num_processes: int = 1,
    progress: bool = True,
    assume_hu: bool = False,
) -> None:
    """Read and check every training case.

    Args:
        cases: as in nnU-Net, for each case ``images``, one file per channel, and ``label``.
        dataset_json: of the dataset; CT channels are those named CT.
        assume_hu: do not check the values of CTs.

    Raises:
        ValueError: dataset.json names another number of channels, a file is unreadable, a CT is not in HU, a label is
            not on its image's grid, a label value is not in dataset.json, or no label has any foreground. The message
            names the case or the file.
    """
    known = label_values(dataset_json["labels"])
    is_ct = tuple(name.lower() == "ct" for name in dataset_json["channel_names"].values())
    for name, case in cases.items():
        if len(case["images"]) != len(is_ct):
            raise ValueError(
                f"dataset.json names {len(is_ct)} channels, but there are {len(case['images'])} images of {name}"
            )
    jobs = [_Job(tuple(case["images"]), case["label"], is_ct, frozenset(known), assume_hu) for case in cases.values()]
    values = parallel_map(_check_case, jobs, num_processes=min(num_processes, max(1, len(jobs))))
    present = set().union(*progress_bar(values, doing="Checking cases", total=len(jobs), show=progress))
    _check_foreground(present, dataset_json["labels"], [job.label for job in jobs])


@dataclass(frozen=True)
class _Job:
    images: tuple[str, ...]
    label: str
    is_ct: tuple[bool, ...]
    known: frozenset[int]
    assume_hu: bool


def _check_case(job: _Job) -> set[int]:
    """Check one case; returns the values in its label."""
    segmentation = read_volume(Path(job.label))
    check_labels(segmentation.values, set(job.known), job.label)
    for name, ct in zip(job.images, job.is_ct, strict=True):
        image = read_scan(Path(name))
        if difference := grid_difference(segmentation.geometry, image.geometry):
            raise ValueError(f"a label must have its image's {difference}: {job.label}")
        if ct:
            check_hounsfield(image.values, name, assume_hu=job.assume_hu)
    return {int(value) for value in np.unique(segmentation.values)}


def _check_foreground(present: set[int], labels: Mapping[str, int | list[int]], files: list[str]) -> None:
    """Refuse a dataset without any foreground, and warn about labels that no case has."""
    if files and not present - {0, ignored_value(labels)}:
        raise ValueError(
            f"all {len(files)} labels are empty (values {sorted(present)}), so there is nothing to learn: "
            f"{Path(files[0]).parent}"
        )
    unseen = [name for name, value in labels.items() if not present.intersection(label_values({name: value}))]
    unseen = [name for name in unseen if name != "background"]
    if files and unseen:
        more = f" and {len(unseen) - 5} more" if len(unseen) > 5 else ""
        say(f"no case has a voxel of {', '.join(unseen[:5])}{more}, which dataset.json names: {Path(files[0]).parent}")
