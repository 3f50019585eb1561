"""``cfseg make_pairs``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.nnunet import environment


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg make_pairs``."""
    command = commands.add_parser(
        "make_pairs",
        help="make a dataset of thin CTs with thick annotations",
        description="Puts thin CTs and thick annotations on one grid and writes a raw nnU-Net dataset of them: thin "
        "images, and labels that repeat over the thin slices of each thick one. Thick labels are simulated if the "
        "labels are thin. The dataset's thin_thick.json lists what was resampled or left out; what cannot be aligned "
        "is an error. Continues a dataset that was stopped.",
    )
    flag = command.add_argument
    flag("-i", type=Path, required=True, metavar="THIN_IMAGES",
        help="a raw nnU-Net dataset, whose test set is kept, or a folder of CASE_0000 images")  # fmt: skip
    flag("-l", type=Path, metavar="LABELS",
        help="thin or thick labels: a dataset or a folder of CASE files (default: the dataset -i)")  # fmt: skip
    flag("-t", type=Path, metavar="THICK_IMAGES",
        help="thick scans that the thick labels were drawn on; their headers must give their position")  # fmt: skip
    flag("-d", type=int, required=True, metavar="ID", help="dataset id")
    flag("-n", default="ThinThick", metavar="NAME", help="the dataset is called DatasetID_NAME (default: %(default)s)")
    flag("-o", type=Path, metavar="FOLDER", help="where to put the dataset (default: $nnUNet_raw)")
    flag("-djfile", type=Path, metavar="FILE", help="dataset.json of the labels (default: that of -i, or of -l)")
    flag("--factor", type=int, metavar="R",
        help="thin slices in a thick one; required for thin labels (default: from thick labels)")  # fmt: skip
    flag("--labels", choices=("thin", "thick"), help="what the labels must be (default: from their headers)")
    flag("--threshold", type=float, metavar="SHARE",
        help="fraction of a slab that must be lesion before annotators, real or simulated, label the thick voxel "
        "(default: 0.5)")  # fmt: skip
    flag("--thickness", type=float, metavar="MM",
        help="slice thickness of thick labels (default: the distance between slices)")  # fmt: skip
    test = command.add_mutually_exclusive_group()
    test.add_argument("--test", nargs="+", metavar="CASE", help="test cases")
    test.add_argument(
        "--test_share", type=float, default=0.0, metavar="SHARE", help="fraction of patients to draw for the test set"
    )
    patients = command.add_mutually_exclusive_group()
    patients.add_argument("--patient_pattern", metavar="REGEX",
        help="finds the patient in a case's name, e.g. '^[^_]+' (default: every case is a patient)")  # fmt: skip
    patients.add_argument("--patients", type=Path, metavar="CSV", help="a table with the columns case and patient")
    flag("--folds", type=int, default=5, metavar="N", help="number of folds at most (default: %(default)s)")
    flag("--seed", type=int, default=0, metavar="N", help="seed of test set and folds (default: %(default)s)")
    flag("-np", type=int, default=4, metavar="N", help="processes (default: %(default)s)")
    flag("--assume_hu", action="store_true", help="do not check that the scans are in Hounsfield units")
    flag("--no_pictures", action="store_true", help="no overview picture of each case")
    flag("--no_pbar", action="store_true", help="no progress bar")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    # SimpleITK: slow to import
    from nnunetv2_cfseg.data.pairing.dataset import Split, make_dataset
    from nnunetv2_cfseg.data.pairing.files import PICTURES
    from nnunetv2_cfseg.data.pairing.patients import patients_by_pattern, patients_by_table
    from nnunetv2_cfseg.data.pairing.settings import PairSettings
    from nnunetv2_cfseg.data.pairing.sources import find_sources
    from nnunetv2_cfseg.data.pairing.survey import common_order, survey
    from nnunetv2_cfseg.nnunet.dataset_json import ignored_value, label_values
    from nnunetv2_cfseg.nnunet.datasets import new_dataset_folder
    from nnunetv2_cfseg.processes.parallel_map import checked_processes

    checked_processes(args.np)
    _check_numbers(args)
    folder = new_dataset_folder(args.o or environment.raw_folder(), args.d, args.n)
    sources = find_sources(args.i, args.l, args.t, dataset_json=args.djfile)
    names = [case.name for case in sources.cases]
    patients = (
        patients_by_table(names, args.patients) if args.patients else patients_by_pattern(names, args.patient_pattern)
    )
    order = common_order(sources.cases)
    labels, factor = survey(
        sources.cases, labels=args.labels, factor=args.factor, thickness_mm=args.thickness, order=order
    )
    labels_of = sources.dataset_json["labels"]
    values, ignore = label_values(labels_of), ignored_value(labels_of)
    sidecar = make_dataset(
        sources,
        folder,
        settings=PairSettings(factor, labels, args.threshold, args.thickness, values, ignore, order, args.assume_hu),
        split=Split(patients, args.test, args.test_share, args.folds, args.seed),
        num_processes=args.np,
        pictures=not args.no_pictures,
        progress=not args.no_pbar,
    )
    print(f"{_summary(sidecar, len(sources.unlabelled))}: {folder}")
    print(_what_to_look_at(sidecar, None if args.no_pictures else folder / PICTURES))


def _check_numbers(args: argparse.Namespace) -> None:
    """Check numbers before any file is read."""
    from nnunetv2_cfseg.data.pairing.dataset import Split
    from nnunetv2_cfseg.data.pairing.settings import checked_factor, checked_thickness, checked_threshold

    Split({}, test_share=args.test_share, folds=args.folds, seed=args.seed)
    for check, value in (
        (checked_factor, args.factor), (checked_threshold, args.threshold), (checked_thickness, args.thickness),
    ):  # fmt: skip
        if value is not None:
            check(value)


def _what_to_look_at(sidecar: Mapping[str, Any], pictures: Path | None) -> str:
    """How many slices of the scans were left out, and where the pictures are, if there are any."""
    cases = sidecar["cases"].values()
    left_out = sum(sum(case["left_out"]["image_slices"]) for case in cases)
    cut = sum(any(case["left_out"]["image_slices"]) for case in cases)
    text = "No thin slice was left out"
    if left_out:
        of = f"{cut} case{'' if cut == 1 else 's'}"
        text = f"{left_out:g} thin slices of {of} were left out, as no whole slab covers them"
    return text if pictures is None else f"{text}; look at some of the pictures in {pictures}"


def _summary(sidecar: Mapping[str, Any], unlabelled: int) -> str:
    """Summarise the dataset, with what a user should know before training on it."""
    cases = sidecar["cases"].values()
    parts = [
        f"{len(sidecar['training'])} training and {len(sidecar['test'])} test cases",
        f"{sidecar['factor']} thin slices in a thick one",
        f"thick labels {sidecar['labels']}",
    ]
    if sidecar.get("threshold") is not None:
        parts[-1] += f", marked if at least {sidecar['threshold']:g} of a slab is lesion"
    for kind in ("image", "label"):
        resampled = sum(any(entry["what"] == kind for entry in case["resampled"]) for case in cases)
        if resampled:
            parts.append(f"{kind}s of {resampled} resampled")
    cut = sum(case["left_out"]["annotated_voxels"] > 0 for case in cases)
    if cut:
        parts.append(f"{cut} lost annotated voxels with slices that were left out")
    if unlabelled:
        parts.append(f"{unlabelled} test images without labels left out")
    return ", ".join(parts)
