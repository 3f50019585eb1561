"""Checksums that tell whether files are complete."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from nnunetv2_cfseg.files.text_files import require_regular_file

CHUNK_BYTES = 1 << 20


def sha256(*files: Path) -> str:
    """SHA-256 in hex of the contents of all files, one after another.

    Raises:
        ValueError: one is missing, or is no regular file.
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
    """SHA-256 in hex of a file that would hold the text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def are_whole(folder: Path, checksums: Mapping[str, str]) -> bool:
    """Whether all files exist and have their checksums.

    Args:
        folder: the names are relative to it.
        checksums: SHA-256 of each file, by name.
    """
    files = {folder / name: expected for name, expected in checksums.items()}
    return all(file.is_file() and sha256(file) == expected for file, expected in files.items())
