"""Reads from a DICOM slice which value stands for pixels that were not measured."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import SimpleITK as sitk

PADDING, SLOPE, INTERCEPT = "0028|0120", "0028|1053", "0028|1052"


def padding_hu(file: Path) -> float | None:
    """The Pixel Padding Value of a slice in HU; the header stores it like the pixels, before rescaling.

    None if it is missing or no number. Some files name a value that they do not hold, which does no harm.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
        stored, slope, intercept = (
            float(reader.GetMetaData(tag)) if reader.HasMetaDataKey(tag) else default
            for tag, default in ((PADDING, None), (SLOPE, 1.0), (INTERCEPT, 0.0))
        )
    except (RuntimeError, ValueError):
        return None
    if stored is None or slope is None or intercept is None:
        return None
    padding = stored * slope + intercept
    return padding if isfinite(padding) else None
