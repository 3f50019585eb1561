"""Order cells: a cell that starts from the weights of another one waits until that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix


class CellQueue:
    """A queue of the cells that have not started.

    Args:
        matrix: matrix of the cells.
        cells: cells that are not done yet, in the order in which they may start.
    """

    def __init__(self, matrix: Matrix, cells: Sequence[Cell]) -> None:
        self._matrix, self._waiting = matrix, list(cells)
        #: Folders of cells that have not ended.
        self._unfinished = {cell.folder for cell in cells}
        self._failed: set[Path] = set()

    def __bool__(self) -> bool:
        """Whether any cell has not started."""
        return bool(self._waiting)

    def take(self) -> Cell | None:
        """Remove and return the next cell that can start; None if all of them wait for running cells."""
        for cell in self._waiting:
            before = self._matrix.cell_before(cell)
            if before is None or before.folder not in self._unfinished:
                self._waiting.remove(cell)
                return cell
        return None

    def failed_before(self, cell: Cell) -> Cell | None:
        """The cell that this one should have started from, if it failed."""
        before = self._matrix.cell_before(cell)
        return before if before is not None and before.folder in self._failed else None

    def end(self, cell: Cell, *, failed: bool) -> None:
        """Record that a cell has ended, which may let others start."""
        self._unfinished.discard(cell.folder)
        if failed:
            self._failed.add(cell.folder)
