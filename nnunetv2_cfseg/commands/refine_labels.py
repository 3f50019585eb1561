"""``cfseg refine_labels``."""

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
from nnunetv2_cfseg.nnunet import environment


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg refine_labels``."""
    command = commands.add_parser(
        "refine_labels",
        help="make thin labels from thick annotations, with the help of a model",
        description="Segments the training cases of a dataset of cfseg make_pairs and writes a dataset of the same "
        "scans, with the most likely thin labels that agree with the thick annotations. Any trainer can use it, "
        "including nnU-Net's own. Continues a dataset that was stopped.",
    )
    flag = command.add_argument
    flag("-i", type=Path, required=True, metavar="DATASET", help="raw dataset of cfseg make_pairs")
    flag("-o", type=int, required=True, metavar="ID", help="id of the new dataset")
    flag("-n", default="Refined", metavar="NAME", help="the new dataset is DatasetID_NAME (default: %(default)s)")
    add_model_flags(command)
    add_device_flags(command)
    flag("--shifts", type=int, default=4, metavar="N",
        help="average over N grids of blocks, moved by fractions of a patch; at most 8, or as many as a patch has "
        "voxels along its longest axis (default: %(default)s)")  # fmt: skip
    add_beyond_scan_flag(command)
    flag("--assume_hu", action="store_true", help="do not check that CTs are in Hounsfield units")
    flag("--disable_progress_bar", action="store_true")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    folder = model_folder(args)
    from nnunetv2_cfseg.inference.load_models import check_shifts, load_models
    from nnunetv2_cfseg.inference.predict_volume import PredictionSettings
    from nnunetv2_cfseg.inference.refined_dataset import refine_dataset
    from nnunetv2_cfseg.nnunet.datasets import new_dataset_folder

    output = new_dataset_folder(environment.raw_folder(), args.o, args.n)
    models = load_models(
        folder, folds=args.f, checkpoint=args.chk, configuration=args.c, trust_checkpoint=args.trust_checkpoint
    )
    check_shifts(models, args.shifts)
    check_beyond_scan(models, args)
    models = [on_device(model, args) for model in models]
    done = refine_dataset(
        args.i, output, models,
        PredictionSettings(shifts=args.shifts, beyond_scan=args.beyond_scan, assume_hu=args.assume_hu),
        made_with=f"{folder.parent.name}/{folder.name}/{args.chk}",
        progress=not args.disable_progress_bar,
    )  # fmt: skip
    print(f"{done.cases} cases, {done.changed:.0%} of their foreground has a new label: {output}")
