"""Records of what was predicted from what: one small JSON per case, in a folder beside the segmentations.

A record has the names of the scan's files without their folders, and only the hash of a DICOM series' UID. It is
written twice: without outputs before a segmentation is moved to its final name, and with their checksums afterwards. So
a segmentation that was interrupted at any moment is never taken for finished, as its checksum is not in the record.
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

#: Folder of the records, in the output folder.
PROVENANCE = "provenance"
#: Settings that do not influence labels.
WITHOUT_INFLUENCE = ("chunk_blocks", "assume_hu")


@dataclass(frozen=True)
class Recipe:
    """The model and settings of a prediction, ready for JSON.

    Attributes:
        model: its name, configurations and folds, and checksums of its weights and plans.
        settings: of the prediction.
    """

    model: Mapping[str, Any]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, models: Sequence[Model], settings: PredictionSettings, *, name: str) -> Recipe:
        """Describe a prediction.

        Args:
            models: as they were loaded, before their weights are converted to another precision.
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
        """Whether a record is of this model and these settings; the name of the model's folder does not matter."""
        model = record.get("model")
        if not isinstance(model, dict) or record.get("settings") != self.settings:
            return False
        return all(model.get(key) == value for key, value in self.model.items() if key not in ("name", "folds"))


def describe_input(case: Case) -> dict[str, Any]:
    """Names and checksums of a case's files, ready for JSON; a DICOM series has one checksum over its slices in order.

    Raises:
        ValueError: a file is missing, or is not a regular file.
        OSError: a file cannot be read.
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
        ValueError: a file is missing, or is not a regular file.
        OSError: a file cannot be read.
    """
    return {"files": [{"name": printable(file.name), "sha256": sha256(file)} for file in files]}


def describe_used(model: Model) -> dict[str, str]:
    """The configuration that a case was given to, and its precision, ready for JSON.

    They are not part of the :class:`Recipe`, since another machine may go on in another precision.
    """
    return {"configuration": model.configuration.name, "precision": model.precision}


def same_input(first: Any, second: Any) -> bool:
    """Whether two descriptions are of the same bytes; names of files do not matter."""
    return _checksums(first) is not None and _checksums(first) == _checksums(second)


def input_name(description: Any) -> str:
    """Name of a record's input for messages: its first file or its folder."""
    if not isinstance(description, dict):
        return "something else"
    files = description.get("files")
    names = [str(file.get("name")) for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    return names[0] if names else str(description.get("folder", "something else"))


def record_file(folder: Path, case: str) -> Path:
    """Path of a case's record in an output folder."""
    return folder / PROVENANCE / f"{case}.json"


def read_record(folder: Path, case: str) -> dict[str, Any] | None:
    """Read a case's record; None if there is none or it cannot be read."""
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
    """Write a case's record atomically.

    Args:
        folder: of the outputs.
        case: its name.
        source: from :func:`describe_input`.
        recipe: of the outputs.
        outputs: files already written; none if the case is about to be written.
        results: further entries of the record.
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
    """Whether all these outputs exist and have the record's checksums."""
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
