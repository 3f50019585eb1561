"""The settings with which pairs are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnunetv2_cfseg.nnunet.cfseg_section import MAJORITY, MOST_FACTOR

THIN, THICK = "thin", "thick"
THICKEST_MM = 100.0


@dataclass(frozen=True)
class PairSettings:
    """How pairs are made; the same for every case.

    Attributes:
        factor: thin slices in a thick one.
        labels: what was annotated: ``thin`` slices, from which thick labels are simulated, or ``thick`` ones.
        threshold: fraction of a slab that must be lesion before annotators mark a voxel; None: unknown, and simulated
            annotators use one half.
        thickness_mm: of the annotated thick slices; None: as much as they are apart.
        values: that a label may hold.
        ignore: the value of voxels that nobody annotated, if the dataset has one.
        order: storage order to which all scans are turned if they have several; None leaves them as they are.
        assume_hu: do not check whether scans are in HU.

    Raises:
        ValueError: a value is out of range.
    """

    factor: int
    labels: str
    threshold: float | None = None
    thickness_mm: float | None = None
    values: tuple[int, ...] = (0, 1)
    ignore: int | None = None
    order: str | None = None
    assume_hu: bool = False

    def __post_init__(self) -> None:
        checked_factor(self.factor)
        if self.labels not in (THIN, THICK):
            raise ValueError(f"labels must be {THIN} or {THICK}, got {self.labels!r}")
        if self.threshold is not None:
            checked_threshold(self.threshold)
        if self.thickness_mm is not None:
            checked_thickness(self.thickness_mm)
        if self.thickness_mm is not None and self.labels == THIN:
            raise ValueError(
                f"a thickness is only for annotated thick slices, got {self.thickness_mm:g} mm for thin labels"
            )

    @property
    def simulated_threshold(self) -> float:
        """The threshold with which thick labels are simulated."""
        return MAJORITY if self.threshold is None else self.threshold


def checked_factor(factor: Any, where: str = "") -> int:
    """Return the number of thin slices in a thick one if it is valid.

    Args:
        where: what it was read from, for the message.

    Raises:
        ValueError: it is no whole number from 2 to :data:`MOST_FACTOR`.
    """
    if not isinstance(factor, int) or isinstance(factor, bool) or not 2 <= factor <= MOST_FACTOR:
        rule = f"the factor must be a whole number >= 2 of thin slices in a thick one, at most {MOST_FACTOR}"
        raise ValueError(f"{rule}, got {factor!r}{where and f': {where}'}")
    return factor


def checked_threshold(threshold: Any, where: str = "") -> float:
    """Return a fraction of a slab as a float if it is valid.

    Args:
        where: what it was read from, for the message.

    Raises:
        ValueError: it is not in (0, 1].
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise ValueError(f"a threshold must be above 0 and at most 1, got {threshold!r}{where and f': {where}'}")
    return float(threshold)


def checked_thickness(thickness_mm: float) -> float:
    """Return a thickness of slices in mm if it is valid.

    Raises:
        ValueError: it is not above 0, or too large.
    """
    if not 0 < thickness_mm <= THICKEST_MM:
        raise ValueError(f"a thickness must be > 0 and at most {THICKEST_MM:g} mm, got {thickness_mm:g} mm")
    return thickness_mm
