"""Which way the axes of an image run, and how to turn an array from one storage order to another.

An order is three letters for the file's axes x, y and z, as SimpleITK and nibabel write it: ``LPS`` runs to the
patient's left, back (posterior) and head (superior); nibabel's ``RAS+`` is ``RAS``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

#: Letters towards which the patient's x, y and z grow, and shrink.
LETTERS = ("LR", "PA", "SI")
LPS, RAS = "LPS", "RAS"


@dataclass(frozen=True)
class Turn:
    """How to turn an array's last three axes z, y, x to another order; no voxel is interpolated.

    Attributes:
        axes: for each axis of the result, the axis it was before.
        flips: axes of the result that run the other way than before.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[int, ...] = ()

    @property
    def is_needed(self) -> bool:
        """Whether anything changes."""
        return bool(self.flips) or self.axes != (0, 1, 2)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """A view of an array (..., Z, Y, X) in the other order."""
        before = values.ndim - 3
        turned = values.transpose(*range(before), *(before + axis for axis in self.axes))
        return np.flip(turned, tuple(before + axis for axis in self.flips))

    def undo(self, values: np.ndarray) -> np.ndarray:
        """A view of an array in the other order, turned back."""
        before = values.ndim - 3
        back = np.flip(values, tuple(before + axis for axis in self.flips))
        return back.transpose(*range(before), *(before + int(axis) for axis in np.argsort(self.axes)))


def order_of(direction: Collection[float]) -> str:
    """The order of an image.

    Args:
        direction: 3 x 3 direction cosines, row by row: column a is where the file's axis a (x, y, z) runs to. Oblique
            axes get the nearest axes of the patient, the clearest one first.
    """
    cosines = np.reshape(list(direction), (3, 3)).astype(float)
    size = np.abs(cosines)
    letters = ["", "", ""]
    for _ in range(3):
        row, column = (int(index) for index in np.unravel_index(int(size.argmax()), size.shape))
        letters[column] = LETTERS[row][int(cosines[row, column] < 0)]
        size[row, :] = -1
        size[:, column] = -1
    return "".join(letters)


def checked_order(order: str) -> str:
    """Return the order if it is valid.

    Raises:
        ValueError: it is not three letters, one of each of L/R, P/A and S/I.
    """
    if not isinstance(order, str) or len(order) != 3 or sorted(map(_axis, order)) != [0, 1, 2]:
        raise ValueError(f"a storage order must be three letters such as LPS or RAS, one of each of L/R, P/A and S/I, "
                         f"got {order!r}")  # fmt: skip
    return order


def turn(order: str, to: str) -> Turn:
    """How to turn an array from one order to another."""
    array, wanted = checked_order(order)[::-1], checked_order(to)[::-1]  # along the array's z, y, x
    patient = [_axis(letter) for letter in array]
    z, y, x = (patient.index(_axis(letter)) for letter in wanted)
    flips = tuple(axis for axis, was in enumerate((z, y, x)) if array[was] != wanted[axis])
    return Turn((z, y, x), flips)


def _axis(letter: str) -> int:
    """The patient's axis 0, 1 or 2 that a letter belongs to; -1 for other letters."""
    return next((axis for axis, letters in enumerate(LETTERS) if letter in letters), -1)
