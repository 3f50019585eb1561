"""Statistics of a summary, by class name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A mean (NaN without a case), its 95 % interval (NaN for fewer than two cases) and the number of cases.

    The ``count`` of a mean over classes is the smallest number of cases of a class, except 0.
    """

    mean: float
    low: float
    high: float
    count: int


class Estimates:
    """Means over cases with their intervals.

    Args:
        summary: result of :func:`nnunetv2_cfseg.evaluation.summary.summarise`.
    """

    def __init__(self, summary: Mapping[str, Any]) -> None:
        self._classes = {statistics["name"]: statistics for statistics in summary["cfseg"]["classes"].values()}
        self._overall = summary["cfseg"]["overall"]

    def of(self, name: str, key: str) -> Estimate:
        """The estimate of a measure of one class."""
        measure = self._classes[name]["measures"][key]
        return _estimate(measure, measure["n"])

    def mean(self, key: str) -> Estimate:
        """The estimate of a measure's mean over classes."""
        counts = [statistics["measures"][key]["n"] for statistics in self._classes.values()]
        return _estimate(self._overall[key], min((n for n in counts if n), default=0))

    def limits(self, name: str) -> tuple[float, float]:
        """Lower and upper limit of agreement of a class's volumes, ml; NaN for fewer than two cases."""
        low, high = self._classes[name]["measures"]["volume_error_ml"]["limits_of_agreement"]
        return low, high


def _estimate(measure: Mapping[str, Any], count: int) -> Estimate:
    low, high = measure["interval"]
    return Estimate(measure["mean"], low, high, count)
