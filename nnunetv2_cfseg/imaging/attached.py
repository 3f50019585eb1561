"""Checks MetaImage and NRRD files with header and voxels in one file for errors that SimpleITK ignores.

SimpleITK takes a missing spacing for 1 mm. If bits of a compressed block are flipped, it keeps what came before them
and leaves the rest of the image as it happens to be in memory.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from nnunetv2_cfseg.imaging.notices import say

#: Longest header that is read.
MOST_HEADER_BYTES = 1 << 20
CHUNK = 1 << 22


def check_metaimage(file: Path, *, voxels: bool) -> None:
    """Check a ``.mha`` before SimpleITK reads it.

    Args:
        voxels: unpack compressed voxels instead of checking the header, which takes as long as reading them.

    Raises:
        ValueError: it does not say how far its voxels are apart, or its compressed voxels are damaged.
    """
    head, start = _head(file, b"ElementDataFile")
    fields = _fields(head, "=")
    if voxels:
        if fields.get("compresseddata", "").lower() == "true" and fields.get("elementdatafile", "").upper() == "LOCAL":
            _check_deflated(file, start, zlib.MAX_WBITS)
        return
    if not {"elementspacing", "elementsize"} & fields.keys():
        raise ValueError(f"the header has no ElementSpacing; it must say how many mm voxels are apart: {file}")
    if not {"transformmatrix", "rotation", "orientation"} & fields.keys():
        say(f"the header does not say which way its axes run (no TransformMatrix), LPS is assumed: {file}")


def check_nrrd(file: Path, *, voxels: bool) -> None:
    """Check a ``.nrrd`` before SimpleITK reads it.

    Args:
        voxels: unpack compressed voxels instead of checking the header, which takes as long as reading them.

    Raises:
        ValueError: it does not say how far its voxels are apart, or its compressed voxels are damaged.
    """
    head, start = _head(file, None)
    fields = _fields(head, ":")
    if voxels:
        if fields.get("encoding", "").lower() in ("gz", "gzip") and not {"data file", "datafile"} & fields.keys():
            _check_deflated(file, start, zlib.MAX_WBITS | 16)
        return
    if not {"space directions", "spacings"} & fields.keys():
        raise ValueError(f"the header has no spacings or directions; it must say how many mm voxels are apart: {file}")
    if "space" not in fields:
        say(f"the header does not say which way its axes run (no space), LPS is assumed: {file}")


def _head(file: Path, last: bytes | None) -> tuple[str, int]:
    """The header's text and the offset of the voxels, after the line that starts with ``last`` or an empty line."""
    with file.open("rb") as stream:
        lines = []
        while stream.tell() < MOST_HEADER_BYTES and (line := stream.readline(MOST_HEADER_BYTES)):
            lines.append(line)
            if (last is None and not line.strip()) or (last is not None and line.lstrip().startswith(last)):
                break
        return b"".join(lines).decode("latin-1"), stream.tell()


def _fields(head: str, separator: str) -> dict[str, str]:
    pairs = (line.partition(separator) for line in head.splitlines() if separator in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _check_deflated(file: Path, start: int, kind: int) -> None:
    unpack = zlib.decompressobj(kind)
    try:
        with file.open("rb") as stream:
            stream.seek(start)
            while not unpack.eof and (chunk := stream.read(CHUNK)):
                while chunk and not unpack.eof:
                    unpack.decompress(chunk, CHUNK)
                    chunk = unpack.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"the image cannot be read, its compressed voxels are damaged ({error}): {file}") from error
    if not unpack.eof:
        raise ValueError(f"the image is truncated, its compressed voxels do not end: {file}")
