"""``thin_thick.json``: how the pairs of a raw dataset were made."""

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
    """What others read of it."""

    factor: Annotated[Whole, Field(ge=2, le=MOST_FACTOR)]
    threshold: Annotated[Real, Field(gt=0, le=1)] | None = None


class CaseRecord(Document):
    """How a case was made."""

    sources: dict[str, Any]
    outputs: dict[str, Any]
    values: list[Any]


class BegunPairs(Document):
    """A dataset that ``cfseg make_pairs`` has begun."""

    cases: dict[PlainName, CaseRecord]


def read_pairing(raw_dataset: Path) -> tuple[int, float]:
    """Thin slices in a thick one, and the share of them from which on it is marked.

    Raises:
        ValueError: there is no such file, or it does not say the factor, or something else than a threshold.
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
    """What a dataset is begun with: all of the sidecar but its ``cases``.

    Patients are not named: those with several cases are lists of these.
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
        # Only where scans were stored in several orders: datasets of before go on as they were begun.
        **({} if settings.order is None else {"storage_order": settings.order}),
        **({"assume_hu": True} if settings.assume_hu else {}),
    }


def pairs_in(folder: Path) -> ResumableDataset:
    """A dataset of pairs in a folder, to begin or to go on with."""
    return ResumableDataset(
        folder,
        SIDECAR,
        "a dataset of pairs",
        "cfseg make_pairs",
        document=BegunPairs,
        optional={"storage_order": None, "assume_hu": False},
    )


def _groups(cases: Sequence[Source], patients: Mapping[str, str]) -> list[list[str]]:
    of_patient: dict[str, list[str]] = {}
    for case in cases:
        of_patient.setdefault(patients[case.name], []).append(case.name)
    return sorted(sorted(names) for names in of_patient.values() if len(names) > 1)
