"""Checksums, by which files are known to be whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from nnunetv2_cfseg.files.text_files import require_regular_file

CHUNK_BYTES = 1 << 20


def sha256(*files: Path) -> str:
    """Checksum of files, one after another.

    Raises:
        ValueError: one is missing, or no file.
        OSError: one cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        require_regular_file(file)
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def sha256_of_text(text: str) -> str:
    """Checksum of a file that holds a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def are_whole(folder: Path, checksums: Mapping[str, str]) -> bool:
    """Whether files are there as they were written.

    Args:
        folder: that the names are relative to.
        checksums: sha256 of each file.
    """
    files = {folder / name: expected for name, expected in checksums.items()}
    return all(file.is_file() and sha256(file) == expected for file, expected in files.items())
