"""Writes a dataset's folder so that a stopped run can be continued: one run at a time and no half-written files.

A dataset counts as begun once it has a case. A record without cases, from a run that was refused or killed before its
first case, is ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.files.atomic_files import UNFINISHED, remove_leftovers, write_json
from nnunetv2_cfseg.files.checksum import sha256
from nnunetv2_cfseg.files.folder_lock import lock_folder
from nnunetv2_cfseg.files.json_text import as_read_back, to_json
from nnunetv2_cfseg.files.schema import Document, check_document
from nnunetv2_cfseg.files.text_files import read_json

LONGEST_VALUE = 60


@dataclass(frozen=True)
class ResumableDataset:
    """A dataset that can be continued with the same settings after its run was stopped.

    Attributes:
        folder: of the dataset, named as nnU-Net names datasets.
        record: name of the file with the settings that the dataset was begun with.
        kind: what it is, for messages: ``a dataset of pairs``.
        command: the command that writes it.
        document: what the record must hold besides the settings.
        optional: settings that older records may lack, with their default values.
        may_grow: settings that are numbers and may be larger than before.
    """

    folder: Path
    record: str
    kind: str
    command: str
    document: type[Document] = Document
    optional: Mapping[str, Any] = field(default_factory=dict)
    may_grow: Collection[str] = ()

    @contextmanager
    def writing(self, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Lock the folder to work in it; it is created if needed.

        Half-written files of a killed run are removed before, those of this run after. If no case was finished, the
        record is removed too, and so is the folder if this run created it.

        Args:
            settings: that the dataset is made with, ready for JSON.

        Yields:
            The record of the run that began the dataset; empty if this run begins it.

        Raises:
            ValueError: the folder holds something else or a dataset with other settings, or another run works in it.
            OSError: it cannot be written to.
        """
        self._begun_with(settings)  # refused before the folder is touched
        with lock_folder(self.folder):
            before = self._begun_with(settings)  # again: another run may have begun it
            remove_leftovers(self.folder, in_subfolders=True)
            try:
                yield before
            finally:
                remove_leftovers(self.folder, in_subfolders=True)
                if not self._is_begun():
                    self._take_back()

    def write_record(self, content: Mapping[str, Any]) -> None:
        """Write the record: the dataset's settings and what else ``document`` needs."""
        write_json(self.folder / self.record, content)

    def finish(self, dataset_json: Mapping[str, Any]) -> None:
        """Write ``dataset.json``, the last file: it makes the folder a dataset for nnU-Net."""
        write_json(self.folder / "dataset.json", dataset_json)

    def _begun_with(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        file = self.folder / self.record
        if not file.exists():
            if others := self._others():
                raise ValueError(f"{self.kind} needs a folder of its own, and {others[0]} is in {self.folder}")
            return {}
        try:
            before = read_json(file)
            check_document(before, self.document, str(file))
        except ValueError as error:
            raise ValueError(f"{self.record} must be what {self.command} wrote, and is not: {error}") from error
        if not self._is_begun():
            return {}
        self._check_same(as_read_back(before), as_read_back(settings), file)
        return before

    def _check_same(self, before: Mapping[str, Any], now: Mapping[str, Any], file: Path) -> None:
        before, now = ({**as_read_back(self.optional), **settings} for settings in (before, now))
        for name, value in now.items():
            was: Any = before.get(name)
            grows = name in self.may_grow and isinstance(was, int) and isinstance(value, int)
            if value == was or (grows and value > was):
                continue
            rule = "at least as many" if grows else "the settings it was begun with"
            raise ValueError(
                f"{name} was {_short(was)} and is now {_short(value)}; {self.kind} must go on with {rule}: {file}"
            )

    def _is_begun(self) -> bool:
        """Whether the folder holds files besides the record and hidden ones."""
        paths = [self.folder / name for name in self._others()]
        return any(file.is_file() for path in paths for file in (path, *path.rglob("*")))

    def _others(self) -> list[str]:
        """Names in the folder, sorted, without the record and hidden ones."""
        return sorted(path.name for path in self.folder.glob("[!.]*") if path.name != self.record)

    def _take_back(self) -> None:
        with suppress(OSError):
            for name in self._others():
                (self.folder / name).rmdir()  # empty: there is no file
            (self.folder / self.record).unlink(missing_ok=True)


def unfinished_file(folder: Path, case: str, file: str) -> Path:
    """Where to write a file of a case before it is put in place; the parent folder is created.

    Args:
        folder: of the dataset.
        file: path within the dataset's folder.
    """
    path = folder / UNFINISHED / case / file
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def put_in_place(folder: Path, case: str, files: Iterable[str]) -> dict[str, str]:
    """Move a case's files to their places once all of them are written; returns the checksum of each.

    Raises:
        OSError: one is missing, or the folder cannot be written to.
    """
    checksums = {file: sha256(unfinished_file(folder, case, file)) for file in files}
    for file in checksums:
        (folder / file).parent.mkdir(exist_ok=True)
        unfinished_file(folder, case, file).replace(folder / file)
    return checksums


def _short(value: Any) -> str:
    text = to_json(value, indent=None)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
