"""Rules about the values of a CT: each checks one thing and returns half a sentence, or nothing if all is well.

Reasons of :data:`REFUSALS` are clear and the file is refused; those of :data:`DOUBTS` are borderline and the file is
accepted with a warning.
"""

from __future__ import annotations

from collections.abc import Callable

from nnunetv2_cfseg.imaging.hounsfield_histogram import Histogram

#: Upper end of lungs and airways. Between it and fat no scan has a peak.
LUNG_TOP_HU = -650.0
#: A peak above it may be the edge of fat, or skin and air in one voxel.
NO_PEAK_BELOW_HU = -400.0
#: Fat, muscle, organs, blood with some contrast.
SOFT_HU = (-200.0, 200.0)
#: Where the commonest soft tissue lies: from fat at -112 in obese patients to 100 in plastic heads, and some tolerance.
TISSUE_HU = (-150.0, 150.0)
#: Blood in arteries with contrast, the brightest tissue except bone, can be this bright.
BRIGHTEST_TISSUE_HU = 600.0
#: Scaled to 0 to 1, -1 to 1 or to a standard deviation of one, scans span less than this; noise alone spans more.
NARROW_HU = 20.0
#: A scan that spans more than NARROW_HU and less than this can only be a piece of one tissue.
ONE_TISSUE_HU = 50.0

Rule = Callable[[Histogram], str]


def _narrow(v: Histogram) -> str:
    """Values scaled to 0 to 1 or to zero mean, which lie around 0, unlike a smooth piece of an organ; or labels."""
    low, high = v.quantile(0.001), v.quantile(0.999)
    is_scaled = high - low < NARROW_HU and low <= 2 and high >= -2
    are_labels = high - low < ONE_TISSUE_HU and v.values.size < 5
    return f"its values lie between {low:g} and {high:g}" if is_scaled or are_labels else ""


def _picture(v: Histogram) -> str:
    """Grey values from 0 to 255. A brain cut out of 0 has its peak between 20 and 50 and little above 100."""
    bottom, low, high, top = v.values[0], v.quantile(0.001), v.quantile(0.999), v.values[-1]
    floor = bottom if v.fill is None else min(bottom, v.fill)
    is_brain = v.quantile(0.99) <= 100 and 20 <= v.quantile(0.5) <= 50
    starts_at_0, ends_at_255 = -1 <= floor <= 3, top == 255 and v.at(255) > 0.005
    if low >= 0 and 100 < high <= 255 and (starts_at_0 or ends_at_255) and not is_brain:
        return "its values are those of a picture, 0 to 255"
    starts_at_low = (v.fill is not None and abs(v.fill + 128) <= 1) or v.at(-128) > 0.01
    return "its values are those of a picture, -128 to 127" if low >= -128 and high <= 127 and starts_at_low else ""


def _far_above(v: Histogram) -> str:
    share = v.share(4000)
    return f"{share:.0%} of its voxels are above 4000, where metal alone is" if share > 0.05 else ""


def _nothing_but_air(v: Histogram) -> str:
    share = v.share(None, -500)
    return f"{share:.1%} of its voxels are air" if share > 0.99 and v.air_peak[0] < -930 else ""


def _below_air(v: Histogram) -> str:
    """Values far below air. Interpolated padding leaves some between itself and air."""
    share = v.share(None, -1350)
    limit = 0.1 if v.padding and v.has_air else 0.02
    return f"{share:.0%} of its voxels are below -1350, and nothing is below air" if share > limit else ""


def _air_that_passes_for_padding(v: Histogram) -> str:
    """Air moved to -2000 by a slope or intercept that was applied twice, which looks like padding of -2000.

    With real padding there is also air or lung, and soft tissue.
    """
    doubled = [value for value in v.padding if -2100 <= value <= -1900]
    if not doubled or v.declared:
        return ""
    body = v.share(-300)
    has_lung = v.share(-1150, -700) >= 0.003 and v.share(None, -1150) <= 0.1 * v.share(None, -300)
    is_ct = has_lung and body >= 0.1 and v.share(*SOFT_HU) >= 0.3 * body and v.share(None, -1060) <= 0.1
    return "" if is_ct else f"many voxels are {doubled[0]:g} and air is not near -1000, as if it had been moved there"


def _high_peak(v: Histogram) -> str:
    """A peak where bone is. Bone gets rarer from 200 on, so a peak is soft tissue or air that was moved."""
    if v.has_air or v.share(500) <= 0.1:
        return ""
    for half, part in ((160, 0.7), (64, 0.55)):
        middle, share, before = v.fullest(600, half)
        is_peak = share > part * v.share(500) and share > 3 * before
        # Dense bone of a limb peaks from 1200 to 1500, with something above it.
        if is_peak and (middle < 1200 or v.share(middle + half) < 0.001):
            peak = f"{share:.0%} of its voxels peak near {middle:.0f}, where bone has no peak"
            return f"there is no air near -1000, and {peak}"
    return ""


def _high_value(v: Histogram) -> str:
    if v.has_air:
        return ""
    high = v.values >= 500
    share = v.counts[high].max(initial=0) / v.counts.sum()
    if share > 0.05:
        value = v.values[high][v.counts[high].argmax()]
        return f"there is no air near -1000, and {share:.0%} of its voxels are {value:g}"
    return ""


def _high_fill(v: Histogram) -> str:
    """Air of a single value that was moved, together with the tissue."""
    if v.fill is None or -30 <= v.fill <= 30 or v.share(500) <= 0.3 * v.share(-300):
        return ""
    return f"many voxels are {v.fill:g} and none are below, and {v.share(500):.0%} of its voxels are above 500"


def _stored(v: Histogram) -> str:
    """Values as scanners store them: nothing below 0, and bone far above 1000. Dense bone alone has its own peak."""
    lowest = 0 if v.fill is None or v.fill >= 0 else v.fill
    is_bone = 300 <= v.mode(None, None) < 900
    is_stored = lowest == 0 and v.share(None, 0) < 0.001 and v.share(1000) > 0.005 and not is_bone
    return "no voxel is below 0 and many are above 1000, as without the rescale intercept" if is_stored else ""


def _air_moved(v: Histogram) -> str:
    peak, share = (v.fill, v.fill_share) if v.fill is not None and v.fill_share > 0.3 else v.air_peak
    is_moved = share > 0.08 and LUNG_TOP_HU < peak < NO_PEAK_BELOW_HU
    return f"{share:.0%} of its voxels peak near {peak:.0f}, where a body has no peak" if is_moved else ""


def _no_soft_tissue(v: Histogram) -> str:
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


def _tissue_elsewhere(v: Histogram) -> bool:
    body, tissue = v.share(-300), v.mode(-300, None)
    return v.share(*SOFT_HU) < 0.2 * body and v.share(tissue - 150, tissue + 150) > 0.6 * body


def _one_tissue(v: Histogram) -> str:
    low, high, middle = v.quantile(0.001), v.quantile(0.999), v.quantile(0.5)
    is_tissue = -150 <= middle <= -50 or 10 <= middle <= 150
    is_odd = high - low < NARROW_HU or (high - low < ONE_TISSUE_HU and not is_tissue)
    return f"its values lie between {low:g} and {high:g}" if is_odd else ""


def _only_low(v: Histogram) -> str:
    return f"{v.share(None, -500):.1%} of its voxels are below -500" if v.share(None, -500) > 0.99 else ""


def _bright_tissue(v: Histogram) -> str:
    tissue = v.mode(-300, None)
    is_odd = _tissue_elsewhere(v) and not v.air_is_in_place
    return f"soft tissue is not near 0: what is no air peaks near {tissue:.0f}" if is_odd else ""


def _clipped(v: Histogram) -> str:
    if v.fill is None or -30 <= v.fill <= 30:
        return ""
    return f"{v.fill_share:.0%} of its voxels are {v.fill:g} and none are below, as if cut to a window"


def _air_off(v: Histogram) -> str:
    """Air that is off by 70 to 350: more is refused, and one scanner of the real scans here is off by 116."""
    near = [value for value in v.padding if value > -1300]
    peak, share = v.air_peak
    if near:
        return f"many voxels are {near[0]:g}, below air and near it"
    if share and (peak < -1060 or peak > -740):
        return f"air is not near -1000: what is below -300 peaks near {peak:.0f}"
    if v.share(None, -1060) > 0.1:
        return f"{v.share(None, -1060):.0%} of its voxels are below -1060, and nothing is below air"
    between = (v.values > -930) & (v.values < LUNG_TOP_HU)
    share = v.counts[between].max(initial=0) / v.counts.sum()
    return f"{share:.0%} of its voxels have one value near -900, above air" if share > 0.05 else ""


def _tissue_off(v: Histogram) -> str:
    tissue = v.mode(-300, BRIGHTEST_TISSUE_HU)
    is_off = not TISSUE_HU[0] <= tissue <= TISSUE_HU[1] and v.share(tissue - 50, tissue + 50) > 0.3 * v.share(-300)
    return f"soft tissue is not near 0: it peaks near {tissue:.0f}" if is_off and not v.air_is_in_place else ""


def _no_air_no_fat(v: Histogram) -> str:
    """Neither air nor fat, but bone: a piece of a head, or a scan without its intercept of -1000."""
    has_bone = v.share(1000) > 0.3 or (v.share(1000) > 0.005 and v.share(-50, 200) > 0.3)
    is_odd = v.share(None, -50) < 0.001 and has_bone
    return f"there is neither air nor fat, and {v.share(1000):.1%} of its voxels are above 1000" if is_odd else ""


#: The order matters: each rule may rely on the earlier ones having found nothing.
REFUSALS: tuple[Rule, ...] = (
    _narrow, _picture, _far_above, _nothing_but_air, _below_air, _air_that_passes_for_padding, _high_peak, _high_value,
    _high_fill, _stored, _air_moved, _no_soft_tissue,
)  # fmt: skip
DOUBTS: tuple[Rule, ...] = (
    _one_tissue, _only_low, _bright_tissue, _clipped, _air_off, _tissue_off, _no_air_no_fat,
)  # fmt: skip
