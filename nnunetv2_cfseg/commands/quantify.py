"""``cfseg quantify``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg quantify``."""
    command = commands.add_parser(
        "quantify",
        help="measure volumes, lesions, diameters and sides of segmentations and changes over time, and write meshes",
        description="Measures each class and each lesion of segmentations, and writes classes.csv, lesions.csv and "
        "quantities.json. The midline is the head's plane of symmetry if images are given and the plane is reliable, "
        "otherwise the sagittal plane through the image's centre; the tables say which.",
    )
    flag = command.add_argument
    flag("segmentations", type=Path, nargs="+", metavar="SEG", help="segmentations, or folders of them")
    flag("-djfile", type=Path, metavar="FILE", help="dataset.json (default: the one in the first folder)")
    flag("-o", type=Path, required=True, metavar="FOLDER", help="where to write tables; created if it does not exist")
    flag("-i", type=Path, metavar="IMAGES",
        help="head CTs to find the midline in: a folder of CASE_0000 files or of folders CASE of DICOM slices, or the "
        "file or DICOM folder of the only case")  # fmt: skip
    flag("--series", type=int, metavar="N",
        help="which series of a DICOM folder, from 1, if several have as many slices as the segmentation")  # fmt: skip
    flag("--mesh", action="store_true", help="also write a surface of each class to meshes/, as STL and PLY")
    scans = command.add_mutually_exclusive_group()
    scans.add_argument("--scans", type=Path, metavar="FILE",
        help="CSV with the columns case, patient and, if known, date: also write longitudinal.csv")  # fmt: skip
    scans.add_argument("--patient_pattern", metavar="REGEX",
        help="also write longitudinal.csv; the first group, searched in a case's name, is the patient")  # fmt: skip
    flag("--smallest_ml", type=float, default=0.0, metavar="V",
        help="smaller components are left out of lesions and meshes (default: %(default)s)")  # fmt: skip
    flag("-np", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    flag("--no_pbar", action="store_true", help="no progress bar")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.quantify.run import QuantifySettings, quantify  # SimpleITK: slow to import

    quantities = quantify(
        args.segmentations,
        args.o,
        dataset_json=args.djfile,
        images=args.i,
        settings=QuantifySettings(args.smallest_ml, args.mesh, args.scans, args.patient_pattern, args.series),
        num_processes=args.np,
        progress=not args.no_pbar,
    )
    count = len(quantities.cases)
    print(f"{count} {'case' if count == 1 else 'cases'}, {quantities.by_symmetry} with a midline by symmetry: {args.o}")
