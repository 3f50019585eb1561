"""The density of blood, which depends on its age.

Fresh clot is 50 to 85 HU: the venous blood's 1.33 HU per % of haematocrit (Buyck et al., AJNR 2013;34:1568), more after
retraction, which is over in 6 hours. A haematoma in the brain then loses 1.4 HU a day (Dolinskas et al., AJR
1977;129:681).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri  # scipy.stats has it too, and takes half a second to import

from nnunetv2_cfseg.data.phantom.scene import Material

FADE_HU_PER_DAY = 1.4
LOWEST_HU = 15.0


@dataclass(frozen=True)
class Severity:
    """Restricts which haemorrhages are drawn.

    Attributes:
        smallest: quantile, in [0, 1), of the smallest size that is drawn: 0.5 draws only the larger half.
        is_fresh: all are at most a day old, so that all are hyperdense.
    """

    smallest: float = 0.0
    is_fresh: bool = False

    def uniform(self, rng: np.random.Generator, low: float, high: float) -> float:
        """Draw a size between two bounds, uniformly."""
        return float(low + (high - low) * rng.uniform(self.smallest, 1))

    def lognormal(self, rng: np.random.Generator, median: float, spread: float) -> float:
        """Draw a log-normal size with a median; ``spread`` is the standard deviation of its logarithm."""
        return float(median * np.exp(spread * ndtri(rng.uniform(self.smallest, 1))))


#: No restriction: all sizes and ages.
ANY = Severity()


@dataclass(frozen=True)
class BloodAge:
    """The age and density of blood.

    Attributes:
        days: since the bleeding.
        hu: mean density on the day of the scan.
    """

    days: float
    hu: float

    def material(self, label: int) -> Material:
        """The blood as a material, uneven like clots: by 2 HU over mm and 3 HU over cm."""
        return Material(self.hu, fine_hu=2.0, coarse_hu=3.0, label=label)


def draw_acute(rng: np.random.Generator, severity: Severity = ANY, *, longest_days: float = 5.0) -> BloodAge:
    """Draw blood of a patient who is scanned early."""
    days = float(min(rng.exponential(1.0), 1.0 if severity.is_fresh else longest_days))
    return BloodAge(days, _faded(float(rng.uniform(58, 80)), days))


def draw_subdural(rng: np.random.Generator, severity: Severity = ANY) -> BloodAge:
    """Draw subdural blood: acute in 60 %, subacute in 20 %, chronic in 20 %."""
    kind = rng.choice(3, p=(0.6, 0.2, 0.2))
    if kind == 0 or severity.is_fresh:
        return draw_acute(rng, severity, longest_days=7)
    days = float(rng.uniform(8, 22) if kind == 1 else rng.uniform(22, 90))
    hu = float(rng.uniform(30, 55) if kind == 1 else rng.uniform(18, 38))
    return BloodAge(days, hu)


def _faded(fresh_hu: float, days: float) -> float:
    return max(fresh_hu - FADE_HU_PER_DAY * days, LOWEST_HU)
