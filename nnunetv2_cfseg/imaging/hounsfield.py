"""Are the values of a CT in Hounsfield units?

Least and greatest value say little: padding or one odd voxel decides them. What tells is where the values lie that
many voxels have. By definition of the unit air is at -1000 and water at 0; in a body fat is near -100, muscle, blood
and organs are between 0 and 100, with contrast up to 400, lung is near -850, and bone is a tail from 200 to 2000
without a peak. A missing or doubled rescale intercept, another slope, an inverted or windowed picture move air and
soft tissue elsewhere, or leave no soft tissue.

:func:`judge_hounsfield` sets padding aside and asks a list of such questions of a histogram; each answers with a reason
or nothing. Reasons of the first list are clear and the file is refused; those of the second are borderline and the
file is accepted with a warning. ``experiments/hounsfield.py`` counts how real scans and their spoilt copies fare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnunetv2_cfseg.imaging.notices import say

Level = Literal["hu", "doubtful", "not_hu"]

#: Voxels that are looked at; of larger scans every n-th.
MOST_VOXELS = 1_000_000
#: Nothing measured is far below air: scanners clip at -1024, and noise and the streaks of metal seldom pass -1100.
LOWEST_HU = -1100.0
#: Padding is one exact value (-1500, -2000, -3024 and -32768 in real files); lossy compression smears it by some tens.
PADDING_WIDTH = 64.0
#: Air has peaks from -1000 to -884 in the real scans here, and clipped or padded air lies at -1024.
AIR_HU = (-1100.0, -870.0)
#: Least that lungs and airways show. Above it no scan has a peak of its own up to fat.
LUNG_TOP_HU = -650.0
#: A peak above it may be the edge of fat, or skin and air in one voxel.
NO_PEAK_BELOW_HU = -400.0
#: Fat, muscle, organs, blood with some contrast.
SOFT_HU = (-200.0, 200.0)
#: Where the commonest soft tissue lies: from fat at -112 in obese patients to 100 in plastic heads, and some tolerance.
TISSUE_HU = (-150.0, 150.0)
#: Blood in arteries with contrast, the brightest tissue but bone, can be this bright.
BRIGHTEST_TISSUE_HU = 600.0
#: What lies beyond is wrong whatever it is, and has no place in float32.
FARTHEST = 1e30
BIN_HU = 8.0
HISTOGRAM_HU = (-4096.0, 8192.0)
#: Scaled to 0 to 1, -1 to 1 or to a standard deviation of one, scans span less than this; noise alone spans more.
NARROW_HU = 20.0
#: Between this and the former, only a piece of one tissue can lie.
ONE_TISSUE_HU = 50.0


@dataclass(frozen=True)
class Verdict:
    """What the values look like.

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
    """Refuse a CT whose values cannot be HU; one that is doubtful gets a line on stderr.

    Args:
        values: of the scan, of any shape.
        file: to name.
        padding: value of pixels that were not measured, where the file says it (DICOM's Pixel Padding Value, in HU).
        assume_hu: do not look; None where a command has no such flag, which is not spoken of then.

    Raises:
        ValueError: with what was found, the range of values and the file.
    """
    if assume_hu:
        return
    verdict = judge_hounsfield(values, padding)
    if verdict.level == "hu":
        return
    values = np.asarray(values)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    span = f"its values run from {finite.min():g} to {finite.max():g}" if finite.size else "it has no values"
    found = f"{verdict.reason}; {span}"
    if verdict.level == "not_hu":
        hint = "" if assume_hu is None else "; if it is, --assume_hu skips this check"
        raise ValueError(f"a CT must be in Hounsfield units (air at -1000, water at 0), and {found}{hint}: {file}")
    say(f"a CT should be in Hounsfield units (air at -1000, water at 0), and {found}: {file}")


def judge_hounsfield(values: ArrayLike, padding: float | None = None) -> Verdict:
    """Judge by where air, soft tissue and bone lie; the same values always get the same verdict.

    Args:
        values: of the scan, of any shape; what is not finite is left out.
        padding: a value to leave out.
    """
    sample = _sample(np.asarray(values))
    if padding is not None:
        sample = sample[sample != np.float32(padding)]
    found = _set_aside(sample, declared=padding is not None)
    if found.values.size < 2:
        return Verdict("not_hu", "all voxels have one value", padding=found.padding)
    air, tissue = (round(found.mode(*zone)) if found.share(*zone) else None for zone in ((None, -300), (-300, None)))
    rules: tuple[tuple[Level, tuple[_Rule, ...]], ...] = (("not_hu", REFUSALS), ("doubtful", DOUBTS))
    for level, questions in rules:
        for question in questions:
            reason = question(found)
            if reason:
                return Verdict(level, reason, air, tissue, found.padding)
    return Verdict("hu", "", air, tissue, found.padding)


@dataclass(frozen=True)
class _Values:
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
        """Share of voxels in each bin of ``BIN_HU``; what lies outside is in the outermost."""
        edges = np.arange(HISTOGRAM_HU[0], HISTOGRAM_HU[1] + 1, BIN_HU)
        clipped = np.clip(self.values, edges[0], edges[-1] - 1)
        return np.histogram(clipped, edges, weights=self.counts / self.counts.sum())[0]

    @cached_property
    def smooth(self) -> NDArray[np.float64]:
        """``bins`` after a Gauss of sigma 16."""
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
        """The fullest window from ``low`` on: its middle, its share, and the share of as much before it."""
        width = half // int(BIN_HU)
        sums = np.concatenate([[0], np.cumsum(self.bins)])
        middles = np.arange(int((low - HISTOGRAM_HU[0]) // BIN_HU), self.bins.size - width)
        shares = sums[middles + width] - sums[middles - width]
        best = int(middles[shares.argmax()])
        return _center(best), float(shares.max()), float(sums[best - width] - sums[best - 3 * width])

    @cached_property
    def air_peak(self) -> tuple[float, float]:
        """Where what is below -300 peaks, and the share of voxels near it, 0 where that is no peak."""
        below = self.share(None, -300)
        if not below:
            return 0.0, 0.0
        peak = self.mode(None, -300)
        share = self.share(peak - 60, peak + 60)
        return peak, share if share > 0.02 and (share > 0.5 * below or share > 0.3) else 0.0

    @cached_property
    def has_air(self) -> bool:
        """Whether a good part of what is below -300 is where air is."""
        return self.share(*AIR_HU) >= max(0.003, 0.3 * self.share(None, -300))

    @cached_property
    def air_is_in_place(self) -> bool:
        """Whether air has a clear peak near -1000; then no offset can have moved the rest."""
        peak, share = self.air_peak
        return share > 0 and -1060 < peak < -930


_Rule = Callable[[_Values], str]


def _narrow(v: _Values) -> str:
    """Scaled to 0 to 1, or to a mean of zero; both lie round 0, as a smooth piece of an organ does not. Or labels."""
    low, high = v.quantile(0.001), v.quantile(0.999)
    is_scaled = high - low < NARROW_HU and low <= 2 and high >= -2
    are_labels = high - low < ONE_TISSUE_HU and v.values.size < 5
    return f"they lie between {low:g} and {high:g}" if is_scaled or are_labels else ""


def _picture(v: _Values) -> str:
    """Grey values from 0 to 255. A brain cut out of 0 has its peak between 20 and 50 and little above 100."""
    bottom, low, high, top = v.values[0], v.quantile(0.001), v.quantile(0.999), v.values[-1]
    floor = bottom if v.fill is None else min(bottom, v.fill)
    is_brain = v.quantile(0.99) <= 100 and 20 <= v.quantile(0.5) <= 50
    starts_at_0, ends_at_255 = -1 <= floor <= 3, top == 255 and v.at(255) > 0.005
    if low >= 0 and 100 < high <= 255 and (starts_at_0 or ends_at_255) and not is_brain:
        return "they are those of a picture, 0 to 255"
    starts_at_low = (v.fill is not None and abs(v.fill + 128) <= 1) or v.at(-128) > 0.01
    return "they are those of a picture, -128 to 127" if low >= -128 and high <= 127 and starts_at_low else ""


def _far_above(v: _Values) -> str:
    share = v.share(4000)
    return f"{share:.0%} of them are above 4000, where metal alone is" if share > 0.05 else ""


def _nothing_but_air(v: _Values) -> str:
    share = v.share(None, -500)
    return f"{share:.1%} of them are air" if share > 0.99 and v.air_peak[0] < -930 else ""


def _below_air(v: _Values) -> str:
    """Padding that was interpolated leaves some values between it and air."""
    share = v.share(None, -1350)
    most = 0.1 if v.padding and v.has_air else 0.02
    return f"{share:.0%} of them are below -1350, and nothing is below air" if share > most else ""


def _air_that_passes_for_padding(v: _Values) -> str:
    """Air of one value at -2000, by a slope or an intercept that was applied twice, looks like padding of -2000.

    Where it is padding there is air or lung besides, and soft tissue.
    """
    doubled = [value for value in v.padding if -2100 <= value <= -1900]
    if not doubled or v.declared:
        return ""
    body = v.share(-300)
    has_lung = v.share(-1150, -700) >= 0.003 and v.share(None, -1150) <= 0.1 * v.share(None, -300)
    is_ct = has_lung and body >= 0.1 and v.share(*SOFT_HU) >= 0.3 * body and v.share(None, -1060) <= 0.1
    return "" if is_ct else f"many are {doubled[0]:g} and air is not near -1000, as if it had been moved there"


def _high_peak(v: _Values) -> str:
    """Bone has no peak: it gets rarer from 200 on. A peak there is soft tissue or air that was moved."""
    if v.has_air or v.share(500) <= 0.1:
        return ""
    for half, part in ((160, 0.7), (64, 0.55)):
        middle, share, before = v.fullest(600, half)
        is_peak = share > part * v.share(500) and share > 3 * before
        # Dense bone of a limb peaks from 1200 to 1500, with something above it.
        if is_peak and (middle < 1200 or v.share(middle + half) < 0.001):
            return f"there is no air near -1000, and {share:.0%} of them peak near {middle:.0f}, where bone has no peak"
    return ""


def _high_value(v: _Values) -> str:
    if v.has_air:
        return ""
    high = v.values >= 500
    most = v.counts[high].max(initial=0) / v.counts.sum()
    if most > 0.05:
        value = v.values[high][v.counts[high].argmax()]
        return f"there is no air near -1000, and {most:.0%} of them are {value:g}"
    return ""


def _high_fill(v: _Values) -> str:
    """Air of one value that was moved, and tissue with it."""
    is_high = v.fill is not None and not -30 <= v.fill <= 30 and v.share(500) > 0.3 * v.share(-300)
    return f"none are below {v.fill:g}, which many are, and {v.share(500):.0%} are above 500" if is_high else ""


def _stored(v: _Values) -> str:
    """As scanners store them: nothing below 0, and bone far above 1000. Dense bone alone is so, too, with its peak."""
    lowest = 0 if v.fill is None or v.fill >= 0 else v.fill
    is_bone = 300 <= v.mode(None, None) < 900
    is_stored = lowest == 0 and v.share(None, 0) < 0.001 and v.share(1000) > 0.005 and not is_bone
    return "none are below 0 and many above 1000, as without the rescale intercept" if is_stored else ""


def _air_moved(v: _Values) -> str:
    peak, share = (v.fill, v.fill_share) if v.fill is not None and v.fill_share > 0.3 else v.air_peak
    is_moved = share > 0.08 and LUNG_TOP_HU < peak < NO_PEAK_BELOW_HU
    return f"{share:.0%} of them peak near {peak:.0f}, where a body has no peak" if is_moved else ""


def _no_soft_tissue(v: _Values) -> str:
    body, soft, tissue = v.share(-300), v.share(*SOFT_HU), v.mode(-300, None)
    where = f"soft tissue is not near 0: what is no air peaks near {tissue:.0f}"
    is_peak = v.fullest(1500, 320)[1] > 0.5 * v.share(1500)
    is_high = v.share(1500) > 0.3 and (is_peak or v.share(None, 0) < 0.001)
    if is_high or (body > 0.05 and soft < 0.02 * body and tissue > BRIGHTEST_TISSUE_HU):
        return where
    if not _tissue_elsewhere(v):
        return ""
    peak, share = v.air_peak
    is_blood = TISSUE_HU[1] - 20 < tissue <= BRIGHTEST_TISSUE_HU
    is_moved = share > 0 and (peak > LUNG_TOP_HU or (tissue > 400 and peak > -850))
    return where if is_moved or not is_blood else ""


def _tissue_elsewhere(v: _Values) -> bool:
    body, tissue = v.share(-300), v.mode(-300, None)
    return v.share(*SOFT_HU) < 0.2 * body and v.share(tissue - 150, tissue + 150) > 0.6 * body


def _one_tissue(v: _Values) -> str:
    low, high, middle = v.quantile(0.001), v.quantile(0.999), v.quantile(0.5)
    is_tissue = -150 <= middle <= -50 or 10 <= middle <= 150
    is_odd = high - low < NARROW_HU or (high - low < ONE_TISSUE_HU and not is_tissue)
    return f"they lie between {low:g} and {high:g}" if is_odd else ""


def _only_low(v: _Values) -> str:
    return f"{v.share(None, -500):.1%} of them are below -500" if v.share(None, -500) > 0.99 else ""


def _bright_tissue(v: _Values) -> str:
    tissue = v.mode(-300, None)
    is_odd = _tissue_elsewhere(v) and not v.air_is_in_place
    return f"soft tissue is not near 0: what is no air peaks near {tissue:.0f}" if is_odd else ""


def _clipped(v: _Values) -> str:
    is_clipped = v.fill is not None and not -30 <= v.fill <= 30
    return f"none are below {v.fill:g}, which {v.fill_share:.0%} are, as if cut to a window" if is_clipped else ""


def _air_off(v: _Values) -> str:
    """By 70 to 350: farther off is refused, and a scanner of the real scans here is off by 116."""
    near = [value for value in v.padding if value > -1300]
    peak, share = v.air_peak
    if near:
        return f"many are {near[0]:g}, below air and near it"
    if share and (peak < -1060 or peak > -740):
        return f"air is not near -1000: what is below -300 peaks near {peak:.0f}"
    if v.share(None, -1060) > 0.1:
        return f"{v.share(None, -1060):.0%} of them are below -1060, and nothing is below air"
    between = (v.values > -930) & (v.values < LUNG_TOP_HU)
    most = v.counts[between].max(initial=0) / v.counts.sum()
    return f"{most:.0%} of them have one value near -900, above air" if most > 0.05 else ""


def _tissue_off(v: _Values) -> str:
    tissue = v.mode(-300, BRIGHTEST_TISSUE_HU)
    is_off = not TISSUE_HU[0] <= tissue <= TISSUE_HU[1] and v.share(tissue - 50, tissue + 50) > 0.3 * v.share(-300)
    return f"soft tissue is not near 0: it peaks near {tissue:.0f}" if is_off and not v.air_is_in_place else ""


def _no_air_no_fat(v: _Values) -> str:
    """A piece of a head can be so, and a scan without its intercept of -1000."""
    has_bone = v.share(1000) > 0.3 or (v.share(1000) > 0.005 and v.share(-50, 200) > 0.3)
    is_odd = v.share(None, -50) < 0.001 and has_bone
    return f"there is neither air nor fat, and {v.share(1000):.1%} of them are above 1000" if is_odd else ""


#: In their order: each may rely on the ones before having found nothing.
REFUSALS: tuple[_Rule, ...] = (
    _narrow, _picture, _far_above, _nothing_but_air, _below_air, _air_that_passes_for_padding, _high_peak, _high_value,
    _high_fill, _stored, _air_moved, _no_soft_tissue,
)  # fmt: skip
DOUBTS: tuple[_Rule, ...] = (
    _one_tissue, _only_low, _bright_tissue, _clipped, _air_off, _tissue_off, _no_air_no_fat,
)  # fmt: skip


def _sample(values: NDArray[Any]) -> NDArray[np.float32]:
    """At most ``MOST_VOXELS`` of the finite values: every n-th, n a prime that divides no side, to meet all columns."""
    step = max(1, -(-values.size // MOST_VOXELS))
    while step > 1 and (not _is_prime(step) or any(side % step == 0 for side in values.shape)):
        step += 1
    sample = values.ravel(order="K")[::step]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    return np.clip(sample, -FARTHEST, FARTHEST).astype(np.float32)


def _set_aside(sample: NDArray[np.float32], *, declared: bool) -> _Values:
    values, counts = np.unique(sample.astype(np.float64), return_counts=True)
    total = counts.sum()
    padding = _padding(values, counts)
    for value in padding:
        measured = np.abs(values - value) > PADDING_WIDTH
        values, counts = values[measured], counts[measured]
    kept = _Values(values, counts, padding, declared)
    if values.size < 3:
        return kept
    most = int(counts.argmax())
    fill, share = float(values[most]), counts[most] / counts.sum()
    is_spike = share >= 0.05 and counts[most] >= 0.5 * counts[np.abs(values - fill) <= BIN_HU].sum()
    if not is_spike or fill <= -850 or kept.share(None, fill) >= 0.005 or counts.sum() - counts[most] <= 100:
        return kept
    others = np.arange(values.size) != most
    return _Values(values[others], counts[others], padding, declared, fill, float(counts[most] / total))


def _padding(values: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, ...]:
    """Exact values below air that stand alone, the commonest first."""
    low = values < LOWEST_HU
    total, values, counts = counts.sum(), values[low], counts[low]
    found: list[float] = []
    for index in np.argsort(-counts, kind="stable")[:4]:
        near = np.abs(values - values[index]) <= PADDING_WIDTH
        is_alone = counts[index] >= max(0.001 * total, 0.5 * counts[near].sum())
        if is_alone and all(abs(values[index] - other) > PADDING_WIDTH for other in found):
            found.append(float(values[index]))
    return tuple(found)


def _center(index: int) -> float:
    return HISTOGRAM_HU[0] + BIN_HU * (index + 0.5)


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, isqrt(number) + 1))
