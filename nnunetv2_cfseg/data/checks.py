"""What a raw nnU-Net dataset says of itself, and whether labels are those that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_cfseg.imaging.hounsfield import check_hounsfield as check_hounsfield
from nnunetv2_cfseg.nnunet import dataset_json as dataset_json_schema


def read_dataset_json(file: Path) -> dict[str, Any]:
    """Read a raw dataset's ``dataset.json``.

    Raises:
        ValueError: it is missing, no JSON, or lacks an entry that nnU-Net needs.
    """
    return dataset_json_schema.read_dataset_json(file, dataset_json_schema.RawDatasetJson)


def check_labels(values: np.ndarray, known: set[int], file: str | Path) -> None:
    """Refuse a segmentation with label values that the dataset does not have.

    Raises:
        ValueError: with the values and the file.
    """
    unknown = sorted(set(np.unique(values).tolist()) - known)
    if unknown:
        named = str(unknown) if len(unknown) <= 5 else f"{unknown[:5]} and {len(unknown) - 5} more"
        raise ValueError(f"labels must be those of dataset.json {sorted(known)}, got also {named}: {file}")
