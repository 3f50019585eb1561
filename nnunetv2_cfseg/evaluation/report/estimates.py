"""The statistics of a summary, by the names of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A mean, NaN without a case; its 95 % interval, NaN for fewer than two cases; and of how many cases it is.

    The ``count`` of a mean over classes is that of the class with the fewest cases, of those that have one.
    """

    mean: float
    low: float
    high: float
    count: int


class Estimates:
    """Means over cases with their intervals.

    Args:
        summary: of :func:`nnunetv2_cfseg.evaluation.summary.summarise`.
    """

    def __init__(self, summary: Mapping[str, Any]) -> None:
        self._classes = {one["name"]: one for one in summary["cfseg"]["classes"].values()}
        self._overall = summary["cfseg"]["overall"]

    def of(self, name: str, key: str) -> Estimate:
        """Of one class."""
        measure = self._classes[name]["measures"][key]
        return _estimate(measure, measure["n"])

    def mean(self, key: str) -> Estimate:
        """Of the mean over classes."""
        counts = [one["measures"][key]["n"] for one in self._classes.values()]
        return _estimate(self._overall[key], min((n for n in counts if n), default=0))

    def limits(self, name: str) -> tuple[float, float]:
        """The limits of agreement of a class's volumes, ml; NaN for fewer than two cases."""
        low, high = self._classes[name]["measures"]["volume_error_ml"]["limits_of_agreement"]
        return low, high


def _estimate(measure: Mapping[str, Any], count: int) -> Estimate:
    low, high = measure["interval"]
    return Estimate(measure["mean"], low, high, count)
