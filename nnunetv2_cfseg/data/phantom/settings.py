"""The settings of a phantom dataset, except the seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_cfseg.processes.memory_limit import require_memory

#: The classes of haemorrhage and their labels, in a dataset that has all of them.
CLASSES = {"EDH": 1, "ICH": 2, "IVH": 3, "SAH": 4, "SDH": 5}

#: Frequency of each class among scans with a haemorrhage: the 205 such scans of CQ500, by the majority of three
#: readers (Chilamkurthy et al., Lancet 2018;392:2388, table 2).
FREQUENCIES = {"EDH": 13 / 205, "ICH": 134 / 205, "IVH": 28 / 205, "SAH": 60 / 205, "SDH": 53 / 205}

SMALLEST_MATRIX, LARGEST_MATRIX = 16, 100_000
SMALLEST_MM, LARGEST_MM = 0.05, 50.0
MOST_SAMPLES, MOST_FACTOR = 8, 1000
#: Least frequency of the most frequent class, because cases are drawn until one has a class.
LEAST_FREQUENCY = 1e-3
#: Bytes of memory while a case is made, as measured: in any case, for each voxel, and for each sample of a slice.
FIXED_BYTES, VOXEL_BYTES, SAMPLE_BYTES = 500_000_000, 40, 24


@dataclass(frozen=True)
class PhantomSettings:
    """How phantom scans are taken and what may bleed in them.

    Attributes:
        matrix: voxels along z, y, x of the thin scan.
        spacing_mm: of the thin scan, along z, y, x.
        factor: thin slices in a thick one; 1 writes no thick scans.
        supersampling: samples along each axis of a voxel; partial volume comes from their mean.
        noise_hu: standard deviation of the noise at the centre of the head in slices of 1 mm; None draws one for each
            case.
        classes: that the dataset has, in the order of ``CLASSES``; labels count up from 1.
        frequencies: probability of each class in a case; every case has at least one class.
        smallest: quantile of the smallest lesion that is drawn: 0 draws all, 0.5 the larger half.
        fresh: all lesions are at most a day old, so that none is iso- or hypodense.
        background: a real head CT to place the lesions in, instead of the phantom's own anatomy. Its grid is kept, so
            that ``matrix`` and ``spacing_mm`` have no effect.

    Raises:
        ValueError: a value is out of range.
    """

    matrix: tuple[int, int, int] = (160, 192, 192)
    spacing_mm: tuple[float, float, float] = (1.0, 1.2, 1.2)
    factor: int = 1
    supersampling: int = 2
    noise_hu: float | None = None
    classes: tuple[str, ...] = tuple(CLASSES)
    frequencies: Mapping[str, float] = field(default_factory=lambda: dict(FREQUENCIES))
    smallest: float = 0.0
    fresh: bool = False
    background: Path | None = None

    def __post_init__(self) -> None:
        check_matrix(self.matrix, self.spacing_mm)
        if not 1 <= self.factor <= MOST_FACTOR or (self.background is None and self.matrix[0] % self.factor):
            raise ValueError(
                f"a factor must be >= 1 and divide the number of slices, got {self.factor} for {self.matrix[0]} slices"
            )
        if not 1 <= self.supersampling <= MOST_SAMPLES:
            raise ValueError(f"supersampling must be from 1 to {MOST_SAMPLES}, got {self.supersampling}")
        if self.noise_hu is not None and not 0 <= self.noise_hu < 200:
            raise ValueError(f"noise must be from 0 to 200 HU, got {self.noise_hu} HU")
        if not 0 <= self.smallest < 1:
            raise ValueError(f"the smallest size must be a quantile from 0 to below 1, got {self.smallest:g}")
        if list(self.classes) != [name for name in CLASSES if name in self.classes] or not self.classes:
            raise ValueError(f"classes must be some of {', '.join(CLASSES)} in this order, got {self.classes}")
        for name, probability in self.frequencies.items():
            if name not in CLASSES:
                raise ValueError(f"classes are {', '.join(CLASSES)}, got {name!r}")
            if probability > 0 and name not in self.classes:
                raise ValueError(
                    f"a class with a frequency must be one of the dataset's, {', '.join(self.classes)}, got {name}"
                )
            if not 0 <= probability <= 1:
                raise ValueError(f"a class's frequency must be from 0 to 1, got {probability:g} for {name}")
        if max(self.frequencies.values(), default=0) < LEAST_FREQUENCY:
            raise ValueError(
                f"at least one class must have a frequency of {LEAST_FREQUENCY:g} or more, got "
                f"{max(self.frequencies.values(), default=0):g} at most"
            )

    @property
    def labels(self) -> dict[str, int]:
        """The label of each class of the dataset, from 1."""
        return {name: label for label, name in enumerate(self.classes, 1)}

    def require_memory(self, *, processes: int) -> None:
        """Refuse a scan that does not fit into this machine's memory; not checked with a background of unknown size.

        Args:
            processes: how many make a case at once.

        Raises:
            ValueError: it does not fit; the message says how much it needs.
        """
        if self.background is not None:
            return
        z, y, x = self.matrix
        samples = self.supersampling**2 * y * x
        needed = FIXED_BYTES + VOXEL_BYTES * z * y * x + SAMPLE_BYTES * samples
        require_memory(needed, f"a phantom of {z} x {y} x {x} voxels", processes=processes)


def checked_seed(seed: int) -> int:
    """Return the seed if all generators accept it.

    Raises:
        ValueError: it is negative or too large.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"a seed must be >= 0 and below 2**32, got {seed}")
    return seed


def check_matrix(matrix: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> None:
    """Refuse scans that no scanner could take.

    Raises:
        ValueError: there are too few or too many voxels, or they are too small or too large.
    """
    if not all(SMALLEST_MATRIX <= count <= LARGEST_MATRIX for count in matrix):
        raise ValueError(
            f"a phantom's matrix must be at least {SMALLEST_MATRIX} and at most {LARGEST_MATRIX} along each axis, got "
            f"{matrix}"
        )
    if not all(SMALLEST_MM <= mm <= LARGEST_MM for mm in spacing_mm):
        raise ValueError(f"a phantom's spacing must be from {SMALLEST_MM:g} to {LARGEST_MM:g} mm, got {spacing_mm} mm")
