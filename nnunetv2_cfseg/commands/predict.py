"""``cfseg predict``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_cfseg.commands.model_flags import (
    add_beyond_scan_flag,
    add_device_flags,
    add_model_flags,
    check_beyond_scan,
    model_folder,
    on_device,
)

if TYPE_CHECKING:
    from nnunetv2_cfseg.inference.model import Model
    from nnunetv2_cfseg.inference.predict_volume import PredictionSettings
    from nnunetv2_cfseg.inference.records import Recipe
    from nnunetv2_cfseg.inference.scans import Case

#: Number of files that a message names.
MOST_NAMED = 5


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg predict``."""
    command = commands.add_parser(
        "predict",
        help="segment scans, fast on any machine",
        description="Like nnUNetv2_predict, for models of this package's network; the flags are nnU-Net's. The volume "
        "is covered twice (--shifts) without overlapping tiles, and is never held whole in memory.",
    )
    flag = command.add_argument
    flag("-i", type=Path, required=True, metavar="SCANS",
        help="a folder of CASE_0000 files, one scan, or a folder of DICOM slices")  # fmt: skip
    flag("--series", type=int, metavar="N", help="which DICOM series, if there are several")
    flag("--name", metavar="NAME",
        help="output name of the only scan (default: that of its file or of the folder of DICOM slices)")  # fmt: skip
    flag("-o", type=Path, required=True, metavar="FOLDER", help="where to write segmentations")
    add_model_flags(command)
    add_device_flags(command)
    flag("-num_parts", type=int, default=1, metavar="N",
        help="number of calls that share the cases (default: %(default)s)")  # fmt: skip
    flag(
        "-part_id", type=int, default=0, metavar="N", help="which of these calls this is, from 0 (default: %(default)s)"
    )
    flag("--continue_prediction", "--c", action="store_true", help="skip cases that are already segmented")
    flag("--overwrite", action="store_true",
        help="replace segmentations that were edited or come from other or unknown scans or other models")  # fmt: skip
    flag("--save_probabilities", action="store_true", help="also write nnU-Net's .npz and .pkl")
    flag("--volumes", action="store_true",
        help="also write volumes.csv with the volume of each class in each case, in ml")  # fmt: skip
    flag("--mirror", action="store_true", help="average over mirrored scans, with the mirror axes of training")
    flag("--shifts", type=int, default=2, metavar="N",
        help="average over N grids of blocks, moved by fractions of a patch; at most 8, or as many as a patch has "
        "voxels along its longest axis (default: %(default)s)")  # fmt: skip
    add_beyond_scan_flag(command)
    flag("--keep_air", action="store_true", help="also segment blocks of air, which are otherwise skipped")
    flag("--assume_hu", action="store_true", help="do not check that CTs are in Hounsfield units")
    flag("--disable_progress_bar", action="store_true")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    folder = model_folder(args)
    if not 0 <= args.part_id < args.num_parts:
        raise ValueError(f"-part_id must be from 0 to -num_parts - 1 = {args.num_parts - 1}, got {args.part_id}")
    if args.i.is_dir() and os.path.realpath(args.i) == os.path.realpath(args.o):
        raise ValueError(f"-o must not be the folder of the scans, or the next run would read its own output: {args.o}")
    from nnunetv2_cfseg.files.folder_lock import lock_folder
    from nnunetv2_cfseg.inference.load_models import check_shifts, load_models
    from nnunetv2_cfseg.inference.predict import check_outputs
    from nnunetv2_cfseg.inference.predict_volume import PredictionSettings
    from nnunetv2_cfseg.inference.records import Recipe
    from nnunetv2_cfseg.inference.scans import find_cases, passed_over

    models = load_models(
        folder, folds=args.f, checkpoint=args.chk, configuration=args.c, trust_checkpoint=args.trust_checkpoint
    )
    check_shifts(models, args.shifts)
    check_beyond_scan(models, args)
    first = models[0].configuration
    settings = PredictionSettings(
        skip_air=not args.keep_air,
        mirror_axes=models[0].mirror_axes if args.mirror else (),
        shifts=args.shifts,
        beyond_scan=args.beyond_scan,
        assume_hu=args.assume_hu,
    )
    cases = find_cases(
        args.i, file_ending=first.file_ending, channels=len(first.channel_names), series=args.series, name=args.name
    )
    check_outputs(cases, args.o, first.file_ending)
    if others := passed_over(args.i, cases):
        print(
            f"cfseg predict: skipped files that do not end with {first.file_ending}: {_listed(others)}", file=sys.stderr
        )
    recipe = Recipe.of(models, settings, name=f"{folder.resolve().parent.name}/{folder.name}")
    models = [on_device(model, args) for model in models]
    with lock_folder(args.o, part=f"part_{args.part_id}" if args.num_parts > 1 else None):
        _predict(args, models, cases[args.part_id :: args.num_parts], recipe, settings)


def _predict(
    args: argparse.Namespace, models: list[Model], cases: list[Case], recipe: Recipe, settings: PredictionSettings
) -> None:
    """Segment the cases that need it, in a folder locked against other runs."""
    from nnunetv2_cfseg.files.atomic_files import remove_leftovers
    from nnunetv2_cfseg.inference.existing_results import Policy, check_model_files, look, model_files
    from nnunetv2_cfseg.inference.outputs import read_volumes, write_volumes
    from nnunetv2_cfseg.inference.predict import PROBABILITIES, Outcome, predict

    first = models[0].configuration
    alone = args.num_parts == 1
    if alone:
        remove_leftovers(args.o, in_subfolders=True)
    # Where nnUNetv2_predict leaves them, for evaluation and postprocessing.
    files = {"dataset.json": models[0].dataset_json, "plans.json": models[0].plans}
    check_model_files(args.o, files, overwrite=args.overwrite)
    endings = [first.file_ending, *(PROBABILITIES if args.save_probabilities else ())]
    standing = look(
        cases, args.o, recipe, endings=endings, policy=Policy(args.continue_prediction, args.overwrite)
    )  # fmt: skip
    if standing.unrecorded:
        print(f"Left as they are, although their scans are not recorded: {_listed(standing.unrecorded)}")
    volumes: dict[str, Mapping[int, float]] = dict(standing.volumes_ml)
    table = args.o / (f"volumes_{args.part_id}.csv" if args.num_parts > 1 else "volumes.csv")
    if args.volumes:
        read_volumes(table)  # raises an error if it is another table

    def add_volumes(outcome: Outcome) -> None:
        volumes[outcome.case.name] = outcome.volumes_ml
        write_volumes(volumes, first.labels, table)

    with model_files(args.o, files, file_ending=first.file_ending, alone=alone):
        if args.volumes and volumes:
            write_volumes(volumes, first.labels, table)
        outcomes = predict(
            standing.to_do, models, args.o, settings, recipe=recipe,
            part=str(args.part_id), save_probabilities=args.save_probabilities,
            after_each=add_volumes if args.volumes else lambda outcome: None, progress=not args.disable_progress_bar,
        )  # fmt: skip
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    done = len(outcomes) - len(failed)
    kept = len(cases) - len(standing.to_do)
    print(f"{done} {'case' if done == 1 else 'cases'}{f', {kept} done before' if kept else ''}: {args.o}")
    if empty := [outcome.case.name for outcome in outcomes if outcome.error is None and _is_empty(outcome.volumes_ml)]:
        print(f"Nothing was found in {len(empty)} of {done}: {_listed(empty)}")
    if failed:
        lines = [f"  {outcome.case.name}: {outcome.error}" for outcome in failed]
        raise ValueError("\n".join([f"{len(failed)} of {len(outcomes)} cases could not be segmented", *lines]))


def _is_empty(volumes_ml: Mapping[int, float]) -> bool:
    return not any(ml for label, ml in volumes_ml.items() if label)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
