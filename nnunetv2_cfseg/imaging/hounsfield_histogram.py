"""The histogram of a scan's measured values, without padding: fractions of voxels, peaks and quantiles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Most voxels that are looked at; in larger scans only every n-th.
MOST_VOXELS = 1_000_000
#: Nothing measured is far below air: scanners clip at -1024, and noise and the streaks of metal seldom pass -1100.
LOWEST_HU = -1100.0
#: Padding is one exact value (-1500, -2000, -3024 and -32768 in real files); lossy compression smears it by some tens.
PADDING_WIDTH = 64.0
#: Air has peaks from -1000 to -884 in the real scans here, and clipped or padded air lies at -1024.
AIR_HU = (-1100.0, -870.0)
#: Values beyond this are clipped: they are wrong in any case, and may not fit into float32.
FARTHEST = 1e30
BIN_HU = 8.0
HISTOGRAM_HU = (-4096.0, 8192.0)


@dataclass(frozen=True)
class Histogram:
    """Values of the measured voxels, sorted, and how many voxels have each.

    Attributes:
        padding: exact values far below air, set aside.
        declared: whether the file said what its padding is.
        fill: the exact value of many voxels below all others, set aside, such as the 0 of a skull-stripped brain.
        fill_share: of all voxels.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    padding: tuple[float, ...] = ()
    declared: bool = False
    fill: float | None = None
    fill_share: float = 0.0

    @cached_property
    def below(self) -> NDArray[np.float64]:
        """Share of voxels below each value, and 1."""
        return np.concatenate([[0], np.cumsum(self.counts)]) / self.counts.sum()

    def share(self, low: float | None = None, high: float | None = None) -> float:
        """Share of voxels from ``low`` on that are below ``high``."""
        first = 0 if low is None else int(np.searchsorted(self.values, low))
        last = self.values.size if high is None else int(np.searchsorted(self.values, high))
        return float(self.below[last] - self.below[first])

    def at(self, value: float) -> float:
        """Share of voxels of exactly this value."""
        return self.share(value, float(np.nextafter(value, np.inf)))

    def quantile(self, share: float) -> float:
        """The value that this share of voxels does not pass."""
        return float(self.values[min(int(np.searchsorted(self.below[1:], share)), self.values.size - 1)])

    @cached_property
    def bins(self) -> NDArray[np.float64]:
        """Share of voxels in each bin of ``BIN_HU``; values outside the range count in the outermost bins."""
        edges = np.arange(HISTOGRAM_HU[0], HISTOGRAM_HU[1] + 1, BIN_HU)
        clipped = np.clip(self.values, edges[0], edges[-1] - 1)
        return np.histogram(clipped, edges, weights=self.counts / self.counts.sum())[0]

    @cached_property
    def smooth(self) -> NDArray[np.float64]:
        """``bins``, smoothed by a Gaussian with a sigma of 16 HU."""
        kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2)
        return np.convolve(self.bins, kernel / kernel.sum(), "same")

    def mode(self, low: float | None, high: float | None) -> float:
        """Where the smoothed histogram is highest between two values."""
        first, last = (
            default if bound is None else int((bound - HISTOGRAM_HU[0]) // BIN_HU)
            for bound, default in ((low, 0), (high, self.bins.size))
        )
        return _center(first + int(self.smooth[first:last].argmax()))

    def fullest(self, low: float, half: int) -> tuple[float, float, float]:
        """The fullest window of +-``half`` HU with its middle at ``low`` or above.

        Returns:
            The window's middle, its share, and the share of a window of the same width right below it.
        """
        width = half // int(BIN_HU)
        sums = np.concatenate([[0], np.cumsum(self.bins)])
        middles = np.arange(int((low - HISTOGRAM_HU[0]) // BIN_HU), self.bins.size - width)
        shares = sums[middles + width] - sums[middles - width]
        best = int(middles[shares.argmax()])
        return _center(best), float(shares.max()), float(sums[best - width] - sums[best - 3 * width])

    @cached_property
    def air_peak(self) -> tuple[float, float]:
        """Where values below -300 peak, and the share of voxels near that peak; 0 if it is no clear peak."""
        below = self.share(None, -300)
        if not below:
            return 0.0, 0.0
        peak = self.mode(None, -300)
        share = self.share(peak - 60, peak + 60)
        return peak, share if share > 0.02 and (share > 0.5 * below or share > 0.3) else 0.0

    @cached_property
    def has_air(self) -> bool:
        """Whether a good part of the values below -300 is where air is."""
        return self.share(*AIR_HU) >= max(0.003, 0.3 * self.share(None, -300))

    @cached_property
    def air_is_in_place(self) -> bool:
        """Whether air has a clear peak near -1000; then no offset can have moved the rest."""
        peak, share = self.air_peak
        return share > 0 and -1060 < peak < -930


def sample_of(values: NDArray[Any]) -> NDArray[np.float32]:
    """At most ``MOST_VOXELS`` finite values: every n-th, with a prime n that divides no side, to reach all columns."""
    step = max(1, -(-values.size // MOST_VOXELS))
    while step > 1 and (not _is_prime(step) or any(side % step == 0 for side in values.shape)):
        step += 1
    sample = values.ravel(order="K")[::step]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    return np.clip(sample, -FARTHEST, FARTHEST).astype(np.float32)


def set_aside(sample: NDArray[np.float32], *, declared: bool) -> Histogram:
    """The histogram of a sample without values that were not measured: padding, and the fill of parts cut away.

    Args:
        sample: HU, from :func:`sample_of`.
        declared: the file says what its padding is, and the sample leaves it out already.
    """
    values, counts = np.unique(sample.astype(np.float64), return_counts=True)
    total = counts.sum()
    padding = _padding(values, counts)
    for value in padding:
        measured = np.abs(values - value) > PADDING_WIDTH
        values, counts = values[measured], counts[measured]
    kept = Histogram(values, counts, padding, declared)
    if values.size < 3:
        return kept
    commonest = int(counts.argmax())
    count = counts[commonest]
    fill, share = float(values[commonest]), count / counts.sum()
    is_spike = share >= 0.05 and count >= 0.5 * counts[np.abs(values - fill) <= BIN_HU].sum()
    if not is_spike or fill <= -850 or kept.share(None, fill) >= 0.005 or counts.sum() - count <= 100:
        return kept
    others = np.arange(values.size) != commonest
    return Histogram(values[others], counts[others], padding, declared, fill, float(count / total))


def _padding(values: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, ...]:
    """Exact values below air without others nearby, the commonest first."""
    low = values < LOWEST_HU
    total, values, counts = counts.sum(), values[low], counts[low]
    padding: list[float] = []
    for index in np.argsort(-counts, kind="stable")[:4]:
        near = np.abs(values - values[index]) <= PADDING_WIDTH
        is_alone = counts[index] >= max(0.001 * total, 0.5 * counts[near].sum())
        if is_alone and all(abs(values[index] - other) > PADDING_WIDTH for other in padding):
            padding.append(float(values[index]))
    return tuple(padding)


def _center(index: int) -> float:
    return HISTOGRAM_HU[0] + BIN_HU * (index + 0.5)


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, isqrt(number) + 1))
