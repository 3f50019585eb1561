"""What the demo makes, and for how long it trains."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod

from nnunetv2_cfseg.data.phantom.settings import SMALLEST_MATRIX

DATASET_ID = 999
DATASET_NAME = "PhantomDemo"
DATASET = f"Dataset{DATASET_ID}_{DATASET_NAME}"
#: The phantoms with their thin labels, which training does not see.
SOURCE_ID, SOURCE_NAME = 998, "PhantomThin"
SOURCE = f"Dataset{SOURCE_ID}_{SOURCE_NAME}"
#: Thin slices in a thick one.
FACTOR = 5
#: In every scan.
BLEEDS = ("ICH", "IVH")
#: nnU-Net predicts them, also mirrored, when a training ends; all the others are learnt from.
VALIDATION_CASES = 2


@dataclass(frozen=True)
class DemoSettings:
    """Size, length and seed of a demo.

    Attributes:
        train: phantom scans for training, of which two are kept for nnU-Net's own validation.
        test: phantom scans that training never sees.
        matrix: voxels of a scan along z, y, x.
        spacing_mm: of a scan along z, y, x.
        train_seconds: wall-clock seconds of each of the two trainings.
        seed: of the phantoms, and of the network's first weights.

    Raises:
        ValueError: a value is out of its range.
    """

    train: int = 40
    test: int = 10
    matrix: tuple[int, int, int] = (55, 72, 64)
    spacing_mm: tuple[float, float, float] = (3.0, 3.0, 3.0)
    train_seconds: float = 210
    seed: int = 0

    def __post_init__(self) -> None:
        if self.train <= VALIDATION_CASES:
            raise ValueError(f"--train must be more than {VALIDATION_CASES} scans, got {self.train}")
        if self.test < 1:
            raise ValueError(f"--test must be at least 1 scan, got {self.test}")
        if min(self.matrix) < SMALLEST_MATRIX:
            raise ValueError(f"--matrix must be at least {SMALLEST_MATRIX} voxels along each axis, got {self.matrix}")
        if not all(mm > 0 and isfinite(mm) for mm in self.spacing_mm):
            raise ValueError(f"--spacing must be > 0 mm along each axis, got {self.spacing_mm}")
        if not (self.train_seconds > 0 and isfinite(self.train_seconds)):
            raise ValueError(f"--train_seconds must be a positive number of seconds, got {self.train_seconds:g}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be a whole number >= 0 and below 2**32, got {self.seed}")

    @property
    def scan_size(self) -> float:
        """Voxels of a scan, in those of the scans that the demo makes by itself."""
        return prod(self.matrix) / prod(DemoSettings.matrix)
