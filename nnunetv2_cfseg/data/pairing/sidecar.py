"""Reads and writes ``thin_thick.json``, which says how the pairs of a raw dataset were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.data.pairing.settings import THIN, PairSettings
from nnunetv2_cfseg.data.pairing.sources import TEST, Source
from nnunetv2_cfseg.files.resumable_dataset import ResumableDataset
from nnunetv2_cfseg.files.schema import Document, PlainName, Real, Whole, read_document
from nnunetv2_cfseg.nnunet.cfseg_section import MAJORITY, MOST_FACTOR

SIDECAR = "thin_thick.json"


class Pairing(Document):
    """The entries of the sidecar that planning and training read."""

    factor: Annotated[Whole, Field(ge=2, le=MOST_FACTOR)]
    threshold: Annotated[Real, Field(gt=0, le=1)] | None = None


class CaseRecord(Document):
    """The sidecar's record of how a case was made."""

    sources: dict[str, Any]
    outputs: dict[str, Any]
    values: list[Any]


class BegunPairs(Document):
    """The sidecar of a dataset that ``cfseg make_pairs`` has begun."""

    cases: dict[PlainName, CaseRecord]


def read_pairing(raw_dataset: Path) -> tuple[int, float]:
    """Thin slices in a thick one, and the fraction of them that must be lesion before it is marked.

    Raises:
        ValueError: there is no such file, or its factor or threshold is missing or invalid.
    """
    file = raw_dataset / SIDECAR
    if not file.is_file():
        raise ValueError(f"a dataset of pairs (cfseg make_pairs) has a {SIDECAR}, and there is none: {file}")
    pairs = read_document(file, Pairing)
    return pairs.factor, MAJORITY if pairs.threshold is None else pairs.threshold


def new_record(
    cases: Sequence[Source],
    settings: PairSettings,
    dataset_json: Mapping[str, Any],
    *,
    patients: Mapping[str, str],
    folds: int,
    seed: int,
) -> dict[str, Any]:
    """The content of a new sidecar, without its ``cases``.

    Patients are not named; for those with several cases there is a list of the cases.
    """
    is_simulated = settings.labels == THIN
    return {
        "version": __version__,
        "factor": settings.factor,
        "slice_axis": 0,
        "labels": "simulated" if is_simulated else "annotated",
        "threshold": settings.simulated_threshold if is_simulated else settings.threshold,
        "slice_profile": "mean of the slab's thin slices",
        "thickness_mm": settings.thickness_mm,
        "classes": dataset_json["labels"],
        "seed": seed,
        "folds": folds,
        "training": [case.name for case in cases if case.part != TEST],
        "test": [case.name for case in cases if case.part == TEST],
        "same_patient": _groups(cases, patients),
        "with_thick_images": any(case.thick_image is not None for case in cases),
        # Left out if scans have one order, so that datasets of earlier versions can be continued.
        **({} if settings.order is None else {"storage_order": settings.order}),
        **({"assume_hu": True} if settings.assume_hu else {}),
    }


def pairs_in(folder: Path) -> ResumableDataset:
    """A dataset of pairs in a folder, new or to be continued."""
    return ResumableDataset(
        folder,
        SIDECAR,
        "a dataset of pairs",
        "cfseg make_pairs",
        document=BegunPairs,
        optional={"storage_order": None, "assume_hu": False},
    )


def _groups(cases: Sequence[Source], patients: Mapping[str, str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for case in cases:
        groups.setdefault(patients[case.name], []).append(case.name)
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)
