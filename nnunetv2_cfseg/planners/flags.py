"""Checks of the flags of planning, before any scan is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite

from nnunetv2_cfseg.files.plain_name import new_name

#: Range of accepted spacings; no scanner's voxels are outside it.
SMALLEST_MM, LARGEST_MM = 1e-3, 1e3
MOST_PROCESSES = 256


def check_flags(
    dataset_ids: Sequence[int],
    *,
    plans_name: str,
    gpu_memory_target_gb: float | None,
    overwrite_target_spacing: Sequence[float] | None,
    num_processes: Sequence[int],
    num_processes_fingerprint: int,
) -> None:
    """Refuse flags that would make nnU-Net fail after it has read all scans.

    Raises:
        ValueError: a flag is out of range; the message has the flag and its value.
    """
    if not dataset_ids:
        raise ValueError("-d must name a dataset, got none")
    for dataset_id, times in Counter(dataset_ids).items():
        if times > 1:
            raise ValueError(f"-d must name each dataset once, got {dataset_id} {times} times")
        if not 0 <= dataset_id <= 999:
            raise ValueError(f"-d must be the three digits in a dataset's name, got {dataset_id}")
    new_name(plans_name, "-overwrite_plans_name")
    if gpu_memory_target_gb is not None and not 0 < gpu_memory_target_gb < float("inf"):
        raise ValueError(f"-gpu_memory_target must be > 0 GB, got {gpu_memory_target_gb:g} GB")
    for mm in overwrite_target_spacing or ():
        if not isfinite(mm) or not SMALLEST_MM <= mm <= LARGEST_MM:
            raise ValueError(
                f"-overwrite_target_spacing must be from {SMALLEST_MM:g} to {LARGEST_MM:g} mm, got "
                f"{list(overwrite_target_spacing or ())}; all must be > 0 mm"
            )
    for flag, numbers in (("-np", num_processes), ("-npfp", [num_processes_fingerprint])):
        if not all(1 <= number <= MOST_PROCESSES for number in numbers):
            raise ValueError(f"{flag} must be from 1 to {MOST_PROCESSES} processes, got {list(numbers)}")
