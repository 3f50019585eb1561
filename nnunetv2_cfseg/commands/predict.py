"""``cfseg predict``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_cfseg.commands.model_flags import (
    add_beyond_scan_flag,
    add_device_flags,
    add_model_flags,
    check_beyond_scan,
    model_folder,
    on_device,
)


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    command = commands.add_parser(
        "predict",
        help="segment scans, fast on any machine",
        description="nnUNetv2_predict for models of this package's network; the flags are nnU-Net's. The volume is "
        "covered twice (--shifts), without overlapping tiles, and never held whole.",
    )
    flag = command.add_argument
    flag(
        "-i",
        type=Path,
        required=True,
        metavar="SCANS",
        help="a folder of CASE_0000 files, one scan, or a folder of DICOM slices",
    )
    flag("--series", type=int, metavar="N", help="which DICOM series, where there are several")
    flag("-o", type=Path, required=True, metavar="FOLDER", help="where to write segmentations")
    add_model_flags(command)
    add_device_flags(command)
    flag("-num_parts", type=int, default=1, metavar="N", help="calls that share the cases (default: %(default)s)")
    flag("-part_id", type=int, default=0, metavar="N", help="which of them this is, from 0 (default: %(default)s)")
    flag("--continue_prediction", "--c", action="store_true", help="leave out cases that are segmented already")
    flag("--save_probabilities", action="store_true", help="also write nnU-Net's .npz and .pkl")
    flag("--volumes", action="store_true", help="also write volumes.csv, with the ml of each class in each case")
    flag("--mirror", action="store_true", help="average over the mirrors that training used")
    flag("--shifts", type=int, default=2, metavar="N",
        help="average over N grids of blocks, moved by fractions of a patch; at most 8, or as many as a patch has "
        "voxels along its longest axis (default: %(default)s)")  # fmt: skip
    add_beyond_scan_flag(command)
    flag("--keep_air", action="store_true", help="look at blocks of air as well, which are left out otherwise")
    flag("--assume_hu", action="store_true", help="do not look at whether CTs are in Hounsfield units")
    flag("--disable_progress_bar", action="store_true")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    folder = model_folder(args)
    if not 0 <= args.part_id < args.num_parts:
        raise ValueError(f"-part_id must be from 0 to -num_parts - 1 = {args.num_parts - 1}, got {args.part_id}")
    from nnunetv2_cfseg.files import write_json
    from nnunetv2_cfseg.inference.models import check_shifts, load_models
    from nnunetv2_cfseg.inference.outputs import write_volumes
    from nnunetv2_cfseg.inference.predict import predict
    from nnunetv2_cfseg.inference.scans import find_cases
    from nnunetv2_cfseg.inference.segment import Settings

    models = load_models(
        folder, folds=args.f, checkpoint=args.chk, configuration=args.c, trust_checkpoint=args.trust_checkpoint
    )
    check_shifts(models, args.shifts)
    check_beyond_scan(models, args)
    first = models[0].configuration
    settings = Settings(
        skip_air=not args.keep_air,
        mirror_axes=models[0].mirror_axes if args.mirror else (),
        shifts=args.shifts,
        beyond_scan=args.beyond_scan,
        assume_hu=args.assume_hu,
    )
    cases = find_cases(args.i, file_ending=first.file_ending, channels=len(first.channel_names), series=args.series)
    cases = cases[args.part_id :: args.num_parts]
    if args.continue_prediction:
        endings = [first.file_ending, *([".npz", ".pkl"] if args.save_probabilities else [])]
        cases = [case for case in cases if not all((args.o / f"{case.name}{end}").is_file() for end in endings)]
    models = [on_device(model, args) for model in models]
    outcomes = predict(
        cases, models, args.o, settings, part=str(args.part_id), save_probabilities=args.save_probabilities,
        progress=not args.disable_progress_bar,
    )  # fmt: skip
    for name, content in (("dataset.json", models[0].dataset_json), ("plans.json", models[0].plans)):
        write_json(args.o / name, content)  # where nnUNetv2_predict leaves them, for evaluation and postprocessing
    done = [outcome for outcome in outcomes if outcome.error is None]
    if args.volumes:
        part = f"_{args.part_id}" if args.num_parts > 1 else ""
        write_volumes(
            {outcome.case.name: outcome.volumes_ml for outcome in done}, first.labels, args.o / f"volumes{part}.csv"
        )
    print(f"{len(done)} {'case' if len(done) == 1 else 'cases'}: {args.o}")
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed:
        lines = [f"  {outcome.case.name}: {outcome.error}" for outcome in failed]
        raise ValueError("\n".join([f"{len(failed)} of {len(outcomes)} cases could not be segmented", *lines]))
