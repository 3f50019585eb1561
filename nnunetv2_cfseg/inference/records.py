"""What was predicted from what: one small JSON a case, in a folder beside the segmentations.

A record names the scan's files without their folders, and the UID of a DICOM series by its hash alone. It is written
twice: before a segmentation is put in its place, with no outputs, and after it, with their checksums. So after a kill
at any moment a segmentation whose checksum its record does not have is not taken for done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.errors.printable import printable
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.checksum import sha256
from nnunetv2_cfseg.files.json_text import as_read_back, to_json
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.inference.model import Model
from nnunetv2_cfseg.inference.predict_volume import PredictionSettings
from nnunetv2_cfseg.inference.scans import Case

#: In the output folder.
PROVENANCE = "provenance"
#: Of the settings, what has no influence on labels.
WITHOUT_INFLUENCE = ("chunk_blocks", "assume_hu")


@dataclass(frozen=True)
class Recipe:
    """What makes segmentations out of scans, ready for JSON.

    Attributes:
        model: its name, and checksums of its weights and plans.
        settings: of the prediction.
    """

    model: Mapping[str, Any]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, models: Sequence[Model], settings: PredictionSettings, *, name: str) -> Recipe:
        """Describe a prediction.

        Args:
            models: as they were loaded, before their weights are turned into another precision.
            settings: of the prediction.
            name: of the model's folder.
        """
        first = models[0]
        model = {
            "name": printable(name),
            "configurations": [model.configuration.name for model in models],
            "folds": list(first.folds),
            "weights_sha256": _weights(models),
            "plans_sha256": _text(to_json([first.plans, first.dataset_json], indent=None, sort_keys=True)),
        }
        used = {name: value for name, value in asdict(settings).items() if name not in WITHOUT_INFLUENCE}
        return cls(model, as_read_back(used))

    def made(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is of this model, whatever its folder is called, and of these settings."""
        model = record.get("model")
        if not isinstance(model, dict) or record.get("settings") != self.settings:
            return False
        return all(model.get(key) == value for key, value in self.model.items() if key not in ("name", "folds"))


def describe_input(case: Case) -> dict[str, Any]:
    """Names and checksums of a case's files, ready for JSON; of a DICOM series one checksum over its slices in order.

    Raises:
        ValueError: a file is missing, or something else.
        OSError: it cannot be read.
    """
    if case.series is None:
        return describe_files(case.files)
    return {
        "folder": printable(case.place.resolve().name),
        "slices": len(case.sources),
        "sha256": sha256(*case.sources),
        "series_uid_sha256": _text(case.series.uid),
    }


def describe_files(files: Iterable[Path]) -> dict[str, Any]:
    """Names and checksums of files, ready for JSON.

    Raises:
        ValueError: a file is missing, or something else.
        OSError: it cannot be read.
    """
    return {"files": [{"name": printable(file.name), "sha256": sha256(file)} for file in files]}


def same_input(one: Any, other: Any) -> bool:
    """Whether two descriptions are of the same bytes, whatever the files are called."""
    return _checksums(one) is not None and _checksums(one) == _checksums(other)


def input_name(description: Any) -> str:
    """What a message calls the input of a record."""
    if not isinstance(description, dict):
        return "something else"
    files = description.get("files")
    names = [str(file.get("name")) for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    return names[0] if names else str(description.get("folder", "something else"))


def record_file(folder: Path, case: str) -> Path:
    """Where a case's record is."""
    return folder / PROVENANCE / f"{case}.json"


def read_record(folder: Path, case: str) -> dict[str, Any] | None:
    """A case's record; None where there is none, or none that can be read."""
    try:
        record = read_json(record_file(folder, case))
    except (ValueError, OSError):
        return None
    return record if {"input", "model", "settings", "outputs"} <= record.keys() else None


def write_record(
    folder: Path,
    case: str,
    *,
    source: Mapping[str, Any],
    recipe: Recipe,
    outputs: Iterable[Path] = (),
    results: Mapping[str, Any] | None = None,
) -> None:
    """Write a case's record, whole or not at all.

    Args:
        folder: of the outputs.
        case: its name.
        source: of :func:`describe_input`.
        recipe: what the outputs are made with.
        outputs: that are there; none yet for a case that is about to be written.
        results: what else is known of the case.
    """
    file = record_file(folder, case)
    file.parent.mkdir(exist_ok=True)
    write_json(
        file,
        {
            "version": __version__,
            "input": source,
            "model": recipe.model,
            "settings": recipe.settings,
            "outputs": {output.name: sha256(output) for output in outputs},
            **(results or {}),
        },
    )


def is_whole(record: Mapping[str, Any], outputs: Iterable[Path]) -> bool:
    """Whether all these outputs are there with the bytes that the record knows."""
    known = record.get("outputs")
    return isinstance(known, dict) and all(
        output.is_file() and known.get(output.name) == sha256(output) for output in outputs
    )


def _checksums(description: Any) -> list[Any] | None:
    if not isinstance(description, dict):
        return None
    files = description.get("files")
    if isinstance(files, list):
        return [file.get("sha256") if isinstance(file, dict) else None for file in files]
    return [description["sha256"]] if "sha256" in description else None


def _weights(models: Sequence[Model]) -> str:
    digest = hashlib.sha256()
    for model in models:
        for network in model.networks:
            for name, value in sorted(network.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
