"""``cfseg export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_cfseg.commands.model_flags import add_model_flags, model_folder
from nnunetv2_cfseg.files.folder_lock import lock_file
from nnunetv2_cfseg.files.output_paths import require_new_folder
from nnunetv2_cfseg.files.plain_name import plain_name

if TYPE_CHECKING:
    from nnunetv2_cfseg.inference.model import Model
    from nnunetv2_cfseg.nnunet.fold_cases import FoldCases


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg export``."""
    command = commands.add_parser(
        "export",
        help="write a model as a bundle to share: safe weights, plans and a model card",
        description="Writes a folder that cfseg predict -m loads without running any code in it.",
    )
    flag = command.add_argument
    add_model_flags(command)
    flag("-o", type=Path, required=True, metavar="BUNDLE", help="folder to write, which must not exist yet")
    flag("--licence", required=True, metavar="NAME", help="licence of the weights, such as cc-by-4.0")
    flag("--training_data", required=True, metavar="TEXT", help="source and licence of the training scans")
    flag("--intended_use", default=None, metavar="TEXT", help="default: research; not a medical device")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    folder = model_folder(args)
    require_new_folder(args.o)
    plain_name(args.o.name, "-o")
    from nnunetv2_cfseg.inference.bundle import INTENDED_USE, Card, write_bundle  # torch: slow to import
    from nnunetv2_cfseg.inference.load_models import load_models

    models = load_models(
        folder, folds=args.f, checkpoint=args.chk, configuration=args.c, trust_checkpoint=args.trust_checkpoint
    )
    card = Card(args.licence, args.training_data, args.intended_use or INTENDED_USE)
    args.o.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(args.o.with_name(f".{args.o.name}.lock"), args.o):
        write_bundle(models, args.o, card, _validation(folder, models[0].folds), fold_cases=_fold_cases(models[0]))
    names = ", ".join(model.configuration.name for model in models)
    print(f"{names}, {len(models[0].folds)} {'fold' if len(models[0].folds) == 1 else 'folds'}: {args.o}")


def _fold_cases(model: Model) -> dict[str, FoldCases]:
    """The cases of the model's folds, as far as they are known on this machine."""
    from nnunetv2_cfseg.nnunet.fold_cases import count_fold_cases

    dataset = model.plans.get("dataset_name")
    return count_fold_cases(dataset, model.folds) if dataset else {}


def _validation(folder: Path, folds: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Mean Dice of each class, for each fold that nnU-Net has validated."""
    from nnunetv2_cfseg.nnunet.summary_json import read_mean_dice

    files = {fold: folder / f"fold_{fold}" / "validation" / "summary.json" for fold in folds}
    return {fold: read_mean_dice(file) for fold, file in files.items() if file.is_file()}
