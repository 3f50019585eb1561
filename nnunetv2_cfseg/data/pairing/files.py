"""Writes the files of one pair in an nnU-Net dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_cfseg.data.pairing.pair import Pair, make_pair
from nnunetv2_cfseg.data.pairing.settings import PairSettings
from nnunetv2_cfseg.data.pairing.sources import Source
from nnunetv2_cfseg.files.checksum import are_whole, sha256
from nnunetv2_cfseg.files.resumable_dataset import put_in_place, unfinished_file
from nnunetv2_cfseg.imaging.write import write_volume

FILE_ENDING = ".nii.gz"
#: Folder of the overview pictures, in the dataset.
PICTURES = "pictures"


@dataclass(frozen=True)
class CaseFiles:
    """One case of a dataset: what it is made of and where it is written.

    Attributes:
        folder: of the dataset.
        pictures: draw an overview.
        record: the case's record if it was made before.
    """

    source: Source
    settings: PairSettings
    folder: Path
    pictures: bool
    record: Mapping[str, Any] | None = None

    @property
    def pictures_to_draw(self) -> list[str]:
        """Paths of the pictures within the dataset's folder."""
        return [f"{PICTURES}/{self.source.name}.png"] if self.pictures else []

    def are_complete(self) -> bool:
        """Whether the case was made from the same files, and everything that was written is there and unchanged."""
        if self.record is None or self.record.get("sources") != describe(self.source):
            return False
        pictures = all((self.folder / file).is_file() for file in self.pictures_to_draw)
        return pictures and are_whole(self.folder, self.record["outputs"])


def check_case(case: CaseFiles) -> tuple[str, bool]:
    """Check that a pair can be made; nothing is written.

    Returns:
        The case's name, and whether its files are there already.

    Raises:
        ValueError: no pair can be made.
    """
    done = case.are_complete()
    if not done:
        make_pair(case.source, case.settings)
    return case.source.name, done


def write_case(case: CaseFiles) -> tuple[str, dict[str, Any]]:
    """Make a pair and write its files; each appears whole or not at all.

    Returns:
        The case's name, and its record, ready for JSON.

    Raises:
        ValueError: no pair can be made.
        OSError: a file cannot be written.
    """
    name, part = case.source.name, case.source.part
    pair = make_pair(case.source, case.settings)
    images = {
        f"images{part}/{name}_0000{FILE_ENDING}": pair.image,
        f"labels{part}/{name}{FILE_ENDING}": np.repeat(pair.annotation, case.settings.factor, axis=0),
    }
    if pair.truth is not None:
        images[f"labels{part}_thin/{name}{FILE_ENDING}"] = pair.truth
    for file, values in images.items():
        write_volume(values, pair.grid, unfinished_file(case.folder, name, file))
    for file in case.pictures_to_draw:
        _write_picture(pair, unfinished_file(case.folder, name, file), name)
    written = put_in_place(case.folder, name, [*images, *case.pictures_to_draw])
    outputs = {file: written[file] for file in images}
    return name, {"part": part, "sources": describe(case.source), **pair.made, "outputs": outputs}


def describe(source: Source) -> dict[str, dict[str, str]]:
    """Names, without folders, and checksums of the files that are read."""
    return {kind: {"name": file.name, "sha256": sha256(file)} for kind, file in source.files.items()}


def _write_picture(pair: Pair, file: Path, name: str) -> None:
    from nnunetv2_cfseg.data.pairing.overview import write_overview  # matplotlib: slow to import

    file.parent.mkdir(parents=True, exist_ok=True)
    write_overview(pair, file, title=name)
