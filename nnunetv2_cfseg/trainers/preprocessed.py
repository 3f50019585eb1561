"""The preprocessed cases of a training, checked before it begins and when one cannot be read."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2


class Cases:
    """nnU-Net's dataset of preprocessed cases, which remembers what it read last.

    Args:
        dataset: nnU-Net's dataset.

    Attributes:
        last: the case that was read last; None before the first one.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.last: str | None = None

    @property
    def identifiers(self) -> list[str]:
        """Names of the cases."""
        return self.dataset.identifiers

    @property
    def source_folder(self) -> str:
        """Folder of the preprocessed files."""
        return self.dataset.source_folder

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Return image, labels, labels of the previous stage, and properties."""
        self.last = identifier
        return self.dataset.load_case(identifier)

    def check(self) -> None:
        """Open every case's files without reading their voxels; truncated files cannot be opened.

        Raises:
            ValueError: there are no cases, or a file of one is missing or cannot be opened.
        """
        if not self.identifiers:
            raise ValueError(f"this fold has no training cases or no validation cases: {self.source_folder}")
        for case in self.identifiers:
            if fault := self._fault(case, whole=False):
                raise ValueError(fault)

    def fault_of_last(self) -> str | None:
        """A sentence on the first unreadable file of the last case; None if all of its files can be read."""
        return None if self.last is None else self._fault(self.last, whole=True)

    def _fault(self, case: str, *, whole: bool) -> str | None:
        is_blosc2 = isinstance(self.dataset, nnUNetDatasetBlosc2)
        endings = (".b2nd", "_seg.b2nd", ".pkl") if is_blosc2 else (".npz", ".pkl")
        for ending in endings:
            file = Path(self.source_folder, case + ending)
            if not file.is_file():
                return f"a preprocessed file is missing; preprocess the dataset again: {file}"
            try:
                READERS[file.suffix](file, whole)
            except Exception as error:  # of blosc2, zip and pickle
                return (
                    f"a preprocessed file cannot be read, it is truncated or damaged; preprocess the dataset again "
                    f"({type(error).__name__}): {file}"
                )
        return None


def _open_blosc2(file: Path, whole: bool) -> None:
    array = blosc2.open(str(file), mode="r")
    if whole:
        array[:]


def _open_numpy(file: Path, whole: bool) -> None:
    with np.load(file) as arrays:
        for name in ("data", "seg"):
            arrays[name] if whole else arrays.files.index(name)


def _open_pickle(file: Path, whole: bool) -> None:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read() != pickle.STOP:
            raise EOFError("truncated")
    if whole:
        pickle.loads(file.read_bytes())  # as nnU-Net has just done


#: Functions that open a file, by its ending; if the second argument is true they read all of it.
READERS: dict[str, Callable[[Path, bool], None]] = {".b2nd": _open_blosc2, ".npz": _open_numpy, ".pkl": _open_pickle}


def describe_error(loader: Any, error: Exception) -> str:
    """Describe an error in making a batch; if a file cannot be read, the sentence names it.

    Args:
        loader: nnU-Net's loader of :class:`Cases`.
        error: what the loader raised.
    """
    if isinstance(error, ValueError):
        return str(error)
    cases = loader._data
    fault = cases.fault_of_last() if isinstance(cases, Cases) else None
    return fault or f"a batch cannot be made ({type(error).__name__}: {error})"
