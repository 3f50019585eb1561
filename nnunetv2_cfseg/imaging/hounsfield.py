"""Checks whether the values of a CT are in Hounsfield units.

The smallest and the largest value say little: padding or one odd voxel determines them. The check looks at the values
that many voxels have. By definition of the unit air is at -1000 and water at 0; in a body fat is near -100, muscle,
blood and organs are between 0 and 100, with contrast up to 400, lung is near -850, and bone is a tail from 200 to 2000
without a peak. A missing or doubled rescale intercept, another slope, or an inverted or windowed picture moves air and
soft tissue elsewhere, or leaves no soft tissue.

:func:`judge_hounsfield` sets padding aside and applies the rules of ``imaging/hounsfield_rules.py``, each of which
returns a reason or nothing. ``experiments/hounsfield.py`` counts how many real scans and corrupted copies pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from nnunetv2_cfseg.imaging.hounsfield_histogram import sample_of, set_aside
from nnunetv2_cfseg.imaging.hounsfield_rules import DOUBTS, REFUSALS, Rule
from nnunetv2_cfseg.imaging.notices import say

Level = Literal["hu", "doubtful", "not_hu"]


@dataclass(frozen=True)
class Verdict:
    """Whether values look like HU.

    Attributes:
        level: ``hu``; ``doubtful``, which deserves a warning; or ``not_hu``.
        reason: what is odd, as half a sentence; empty for ``hu``.
        air: where values below -300 peak, None if there are none.
        tissue: where values from -300 on peak, None if there are none.
        padding: values that were set aside as padding.
    """

    level: Level
    reason: str = ""
    air: float | None = None
    tissue: float | None = None
    padding: tuple[float, ...] = ()


def check_hounsfield(
    values: ArrayLike, file: str | Path, *, padding: float | None = None, assume_hu: bool | None = None
) -> None:
    """Refuse a CT whose values cannot be HU; warn on stderr about a doubtful one.

    Args:
        values: of the scan, of any shape.
        file: for messages.
        padding: value of pixels that were not measured, if the file says it (DICOM's Pixel Padding Value, in HU).
        assume_hu: skip the check; None for a command without the flag, so that messages do not mention it.

    Raises:
        ValueError: the values cannot be HU; the message has the reason, the range of values and the file.
    """
    if assume_hu:
        return
    verdict = judge_hounsfield(values, padding)
    if verdict.level == "hu":
        return
    values = np.asarray(values)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    span = f"its values run from {finite.min():g} to {finite.max():g}" if finite.size else "it has no values"
    evidence = f"{verdict.reason}; {span}"
    if verdict.level == "not_hu":
        hint = "" if assume_hu is None else "; if it is, --assume_hu skips this check"
        raise ValueError(f"a CT must be in Hounsfield units (air at -1000, water at 0), and {evidence}{hint}: {file}")
    say(f"a CT should be in Hounsfield units (air at -1000, water at 0), and {evidence}: {file}")


def judge_hounsfield(values: ArrayLike, padding: float | None = None) -> Verdict:
    """Judge values by where air, soft tissue and bone lie; the same values always get the same verdict.

    Args:
        values: of the scan, of any shape; values that are not finite are left out.
        padding: a value to leave out.
    """
    sample = sample_of(np.asarray(values))
    if padding is not None:
        sample = sample[sample != np.float32(padding)]
    histogram = set_aside(sample, declared=padding is not None)
    if histogram.values.size < 2:
        return Verdict("not_hu", "all voxels have one value", padding=histogram.padding)
    zones = ((None, -300), (-300, None))
    air, tissue = (round(histogram.mode(*zone)) if histogram.share(*zone) else None for zone in zones)
    rules_of_levels: tuple[tuple[Level, tuple[Rule, ...]], ...] = (("not_hu", REFUSALS), ("doubtful", DOUBTS))
    for level, rules in rules_of_levels:
        for rule in rules:
            reason = rule(histogram)
            if reason:
                return Verdict(level, reason, air, tissue, histogram.padding)
    return Verdict("hu", "", air, tissue, histogram.padding)
