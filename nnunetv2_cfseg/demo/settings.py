"""Settings of the demo: its scans, and how long it trains."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from nnunetv2_cfseg.data.phantom.settings import check_matrix, checked_seed

DATASET_ID = 999
DATASET_NAME = "PhantomDemo"
DATASET = f"Dataset{DATASET_ID}_{DATASET_NAME}"
#: The phantoms with their thin labels, which training does not see.
SOURCE_ID, SOURCE_NAME = 998, "PhantomThin"
SOURCE = f"Dataset{SOURCE_ID}_{SOURCE_NAME}"
#: Thin slices in a thick one.
FACTOR = 5
#: Classes that every scan shows.
BLEEDS = ("ICH", "IVH")
#: Number of cases that nnU-Net predicts, also mirrored, when training ends; training uses all others.
VALIDATION_CASES = 2
PROCESSES = 2
MOST_SCANS, LONGEST_S = 10_000, 30 * 24 * 3600


@dataclass(frozen=True)
class DemoSettings:
    """Size, length and seed of a demo.

    Attributes:
        train: phantom scans for training, of which two are kept for nnU-Net's own validation.
        test: phantom scans that training never sees.
        matrix: voxels of a scan along z, y, x.
        spacing_mm: voxel spacing of a scan along z, y, x.
        train_seconds: wall-clock seconds of each of the two trainings.
        seed: seed of the phantoms and of the network's initial weights.

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
        if self.train + self.test > MOST_SCANS:
            raise ValueError(f"--train and --test must be at most {MOST_SCANS} scans, got {self.train} and {self.test}")
        check_matrix(self.matrix, self.spacing_mm)
        if not 0 < self.train_seconds <= LONGEST_S:
            raise ValueError(
                f"--train_seconds must be a positive number of seconds, at most {LONGEST_S}, got "
                f"{self.train_seconds:g} s"
            )
        checked_seed(self.seed)

    @property
    def scan_size(self) -> float:
        """Voxels of a scan relative to those of a scan with default settings."""
        return prod(self.matrix) / prod(DemoSettings.matrix)
