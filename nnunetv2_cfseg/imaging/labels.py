"""Checks the label values of a segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def check_labels(values: np.ndarray, known: set[int], file: str | Path) -> None:
    """Refuse a segmentation with label values that the dataset does not have.

    Raises:
        ValueError: there are such values; the message has them and the file.
    """
    unknown = sorted(set(np.unique(values).tolist()) - known)
    if unknown:
        named = str(unknown) if len(unknown) <= 5 else f"{unknown[:5]} and {len(unknown) - 5} more"
        raise ValueError(f"labels must be those of dataset.json {sorted(known)}, got also {named}: {file}")
