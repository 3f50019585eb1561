"""``cfseg report``."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from nnunetv2_cfseg.commands import inputs


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    command = commands.add_parser(
        "report",
        help="write an evaluation as one HTML page with tables, charts and the scans",
        description="Evaluates as cfseg evaluate does and writes one HTML file that needs no other and no network.",
    )
    flag = command.add_argument
    flag("gt_folder", type=Path, metavar="GT", help="folder of the reference segmentations")
    flag("pred_folder", type=Path, metavar="PRED", help="folder of the predicted segmentations")
    flag("-i", type=Path, metavar="FOLDER",
        help="images, CASE_0000 or CASE with the ending of the dataset (default: labels are shown alone)")  # fmt: skip
    flag("-djfile", type=Path, metavar="FILE", help="dataset.json (default: the one in PRED)")
    flag("-pfile", type=Path, metavar="FILE", help="plans.json; only its image reader is looked at (default: as above)")
    flag("-o", type=Path, metavar="FILE", help="ends with .html (default: PRED/report.html)")
    flag("-model", type=Path, metavar="FOLDER",
        help="TRAINER__PLANS__CONFIGURATION, whose logs give training curves (default: none)")  # fmt: skip
    flag("--title", default="", metavar="TEXT", help="of the page (default: Evaluation of PRED)")
    flag("--cases", type=int, default=20, metavar="N",
        help="in the slice browser, worst first; 0 leaves it out (default: %(default)s)")  # fmt: skip
    flag("--tolerance", type=float, default=1.0, metavar="MM", help="of the surface Dice (default: %(default)s)")
    flag("--lesion_overlap", type=float, default=0.1, metavar="SHARE",
        help="of a lesion's voxels, which must be met for it to count as found (default: %(default)s)")  # fmt: skip
    flag("--factor", type=int, metavar="R",
        help="thin slices in a thick one, for the boundary-slab Dice (default: thin_thick.json's)")  # fmt: skip
    flag("--chill", action="store_true", help="leave out references without a prediction and the other way round")
    flag("--seed", type=int, default=0, metavar="N", help="of the intervals (default: %(default)s)")
    flag("-np", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    flag("--no_pbar", action="store_true", help="no progress bar")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.evaluation.evaluate import evaluate_folders  # pandas and SimpleITK: slow to import
    from nnunetv2_cfseg.evaluation.files import find_factor
    from nnunetv2_cfseg.evaluation.metrics import MetricSettings
    from nnunetv2_cfseg.evaluation.report.write import Extras, write_report

    output = args.o or args.pred_folder / "report.html"
    dataset_json, plans_json = (
        inputs.dataset_json(args.djfile, args.pred_folder),
        inputs.plans_json(args.pfile, args.pred_folder),
    )
    _check(args, output, dataset_json)
    factor = find_factor(args.gt_folder, dataset_json) if args.factor is None else args.factor
    evaluation = evaluate_folders(
        args.gt_folder,
        args.pred_folder,
        dataset_json=dataset_json,
        plans_json=plans_json,
        settings=MetricSettings(tolerance_mm=args.tolerance, lesion_overlap=args.lesion_overlap, factor=factor),
        chill=args.chill,
        num_processes=args.np,
        progress=not args.no_pbar,
    )
    write_report(
        evaluation,
        output,
        images=args.i,
        model=args.model,
        cases=args.cases,
        seed=args.seed,
        extras=Extras(title=args.title, command=command_line(args)),
        progress=not args.no_pbar,
    )
    print(f"Wrote {output}")


def command_line(args: argparse.Namespace) -> str:
    """The command that makes the same report again, one flag a line.

    Args:
        args: of this command; flags at their default are left out.
    """
    words = [f"cfseg report {shlex.quote(shown(args.gt_folder))} {shlex.quote(shown(args.pred_folder))}"]
    defaults = {"title": "", "cases": 20, "tolerance": 1.0, "lesion_overlap": 0.1, "chill": False, "seed": 0}
    for name in ("i", "djfile", "pfile", "o", "model", *defaults, "factor"):
        value = getattr(args, name)
        if value is None or value == defaults.get(name):
            continue
        value = shown(value) if isinstance(value, Path) else value
        flag = f"{'--' if name in (*defaults, 'factor') else '-'}{name}"
        words.append(flag if value is True else f"{flag} {shlex.quote(str(value))}")
    return " \\\n    ".join(words)


def shown(path: Path) -> str:
    """A path as it leads from where the command is typed: where a machine has its data is in no page."""
    return os.path.relpath(path) if path.is_absolute() else str(path)


def _check(args: argparse.Namespace, output: Path, dataset_json: Path) -> None:
    """Refuse before the evaluation, which takes its time, what would be refused after it."""
    from nnunetv2_cfseg.evaluation.classes import read_dataset
    from nnunetv2_cfseg.evaluation.files import pair_cases
    from nnunetv2_cfseg.evaluation.report.curves import read_trainings
    from nnunetv2_cfseg.evaluation.report.links import find_images

    if output.suffix != ".html" or output.is_dir():
        raise ValueError(f"the output must be a file that ends with .html, got: {output}")
    for name, value in (("seed", args.seed), ("number of cases to show", args.cases)):
        if value < 0:
            raise ValueError(f"the {name} must be >= 0, got {value}")
    if args.model is not None:
        read_trainings(args.model)
    if args.i is not None:
        ending = read_dataset(dataset_json)["file_ending"]
        find_images(pair_cases(args.gt_folder, args.pred_folder, ending, chill=args.chill), args.i)
