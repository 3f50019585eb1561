"""``cfseg report``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.commands import inputs

#: Flags, with their defaults, that are only for reports with a reference.
OF_A_REFERENCE: Mapping[str, object] = {
    "tolerance": 1.0,
    "lesion_overlap": 0.1,
    "factor": None,
    "chill": False,
    "seed": 0,
    "from": None,
}


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg report``."""
    command = commands.add_parser(
        "report",
        usage="cfseg report [-h] [flags] [GT] PRED",
        help="write an evaluation as one HTML page with tables, charts and the scans",
        description="Evaluates like cfseg evaluate and writes one HTML file that needs no other files and no network. "
        "Without GT the page only shows the predictions: scans, volumes, and what is worth a look.",
    )
    flag = command.add_argument
    flag(
        "gt_folder", type=Path, metavar="GT", nargs="?", help="folder of the reference segmentations, if there are any"
    )
    flag("pred_folder", type=Path, metavar="PRED", help="folder of the predicted segmentations")
    flag("-i", type=Path, metavar="FOLDER",
        help="images, CASE_0000 or CASE with the ending of the dataset, or folders CASE of DICOM slices; for a single "
        "case also its folder of DICOM slices (default: only labels are shown)")  # fmt: skip
    flag("--series", type=int, metavar="N",
        help="which series of a DICOM folder, from 1, if several have as many slices as the segmentation")  # fmt: skip
    flag("-djfile", type=Path, metavar="FILE", help="dataset.json (default: the one in PRED)")
    flag("-pfile", type=Path, metavar="FILE",
        help="plans.json, of which only the image reader is checked (default: the one in PRED)")  # fmt: skip
    flag("-o", type=Path, metavar="FILE", help="output, ending with .html (default: PRED/report.html)")
    flag("-model", type=Path, metavar="FOLDER",
        help="folder TRAINER__PLANS__CONFIGURATION, whose logs give training curves (default: none)")  # fmt: skip
    flag("--title", default="", metavar="TEXT", help="title of the page (default: Evaluation of PRED)")
    flag("--cases", type=int, default=20, metavar="N",
        help="number of cases in the slice browser, worst first; 0 leaves it out (default: %(default)s)")  # fmt: skip
    reference = command.add_argument_group("with GT only")
    flag = reference.add_argument
    flag("--tolerance", type=float, default=1.0, metavar="MM",
        help="tolerance of the surface Dice (default: %(default)s)")  # fmt: skip
    flag("--lesion_overlap", type=float, default=0.1, metavar="SHARE",
        help="fraction of a lesion's voxels that must overlap to count as found (default: %(default)s)")  # fmt: skip
    flag("--factor", type=int, metavar="R",
        help="thin slices in a thick one, for the boundary-slab Dice (default: from thin_thick.json)")  # fmt: skip
    flag("--chill", action="store_true",
        help="leave out references without a prediction, and predictions without a reference")  # fmt: skip
    flag("--seed", type=int, default=0, metavar="N", help="seed of the bootstrap intervals (default: %(default)s)")
    flag("--from", type=Path, metavar="SUMMARY_CSV",
        help="table that cfseg evaluate wrote for the same folders, to use instead of measuring again")  # fmt: skip
    flag = command.add_argument
    flag("-np", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    flag("--no_pbar", action="store_true", help="no progress bar")
    command.set_defaults(run=_run)
    _take_folders_apart(command)


def _take_folders_apart(command: argparse.ArgumentParser) -> None:
    """Allow flags between GT and PRED, for which argparse alone takes GT as PRED and then fails on PRED."""
    parse = command.parse_known_args

    def parse_known_args(args=None, namespace=None):  # type: ignore[no-untyped-def]
        parsed, left = parse(args, namespace)
        if len(left) == 1 and not left[0].startswith("-") and parsed.gt_folder is None:
            parsed.gt_folder, parsed.pred_folder = parsed.pred_folder, Path(left.pop())
        return parsed, left

    command.parse_known_args = parse_known_args  # type: ignore[method-assign]


def _run(args: argparse.Namespace) -> None:
    output = args.o or args.pred_folder / "report.html"
    dataset_json = inputs.dataset_json(args.djfile, args.pred_folder)
    plans_json = inputs.plans_json(args.pfile, args.pred_folder)
    if args.gt_folder is None:
        _report_predictions(args, output, dataset_json)
    else:
        _report_evaluation(args, output, dataset_json, plans_json)
    print(f"Wrote {output}")


def _report_evaluation(args: argparse.Namespace, output: Path, dataset_json: Path, plans_json: Path | None) -> None:
    from nnunetv2_cfseg.evaluation.evaluate import evaluate_folders  # pandas and SimpleITK: slow to import
    from nnunetv2_cfseg.evaluation.files import find_factor, pair_cases
    from nnunetv2_cfseg.evaluation.metrics import MetricSettings
    from nnunetv2_cfseg.evaluation.report.write import write_report
    from nnunetv2_cfseg.evaluation.saved_table import read_evaluation, summary_of
    from nnunetv2_cfseg.nnunet.dataset_json import read_dataset_json

    cases = pair_cases(
        args.gt_folder, args.pred_folder, read_dataset_json(dataset_json)["file_ending"], chill=args.chill
    )
    files = [file for case in cases for file in (case.truth, case.prediction)]
    table: Path | None = getattr(args, "from")
    tables = [] if table is None else [table, summary_of(table)]
    _check(args, output, [case.name for case in cases], [*files, dataset_json, plans_json, *tables])
    factor = find_factor(args.gt_folder, dataset_json) if args.factor is None else args.factor
    settings = MetricSettings(tolerance_mm=args.tolerance, lesion_overlap=args.lesion_overlap, factor=factor)
    shared: dict[str, Any] = {
        "dataset_json": dataset_json, "plans_json": plans_json, "settings": settings, "chill": args.chill,
    }  # fmt: skip
    if table is None:
        evaluation = evaluate_folders(
            args.gt_folder, args.pred_folder, **shared, num_processes=args.np, progress=not args.no_pbar
        )
    else:
        evaluation = read_evaluation(table, args.gt_folder, args.pred_folder, **shared)
    write_report(
        evaluation,
        output,
        images=args.i,
        model=args.model,
        cases=args.cases,
        series=args.series,
        seed=args.seed,
        extras=_extras(args, output),
        progress=not args.no_pbar,
    )


def _report_predictions(args: argparse.Namespace, output: Path, dataset_json: Path) -> None:
    from nnunetv2_cfseg.evaluation.report.observations import observe_folder
    from nnunetv2_cfseg.evaluation.report.unreferenced import write_unreferenced_report
    from nnunetv2_cfseg.imaging.segmentations import case_files
    from nnunetv2_cfseg.nnunet.classes import read_classes_and_ending  # slow to import

    for name, default in OF_A_REFERENCE.items():
        if getattr(args, name) != default:
            raise ValueError(f"--{name} needs a reference, and there is none; use cfseg report GT PRED")
    classes, file_ending = read_classes_and_ending(dataset_json)
    files = case_files(args.pred_folder, file_ending)
    images = _check(args, output, list(files), [*files.values(), dataset_json])
    observations = observe_folder(files, classes, num_processes=args.np, progress=not args.no_pbar)
    write_unreferenced_report(
        observations,
        output,
        images=images,
        model=args.model,
        cases=args.cases,
        series=args.series,
        extras=_extras(args, output),
        progress=not args.no_pbar,
    )


def _extras(args: argparse.Namespace, output: Path):  # type: ignore[no-untyped-def]
    from nnunetv2_cfseg.evaluation.report.write import Extras

    command, is_whole = command_line(args, output)
    note = "Run it in the folder of this page."
    if not is_whole:
        note += " Folders elsewhere are given by name only; add their paths."
    return Extras(title=args.title, command=command, command_note=note)


def command_line(args: argparse.Namespace, output: Path) -> tuple[str, bool]:
    """The command that makes the report again in the report's folder, one flag per line.

    Args:
        args: the parsed flags; those with their default value are left out.
        output: the report.

    Returns:
        The command, and whether all paths are complete: paths that would reveal folders of the machine are not.
    """
    from nnunetv2_cfseg.files.private_paths import seen_from

    is_whole = True

    def shown(value: object) -> str:
        nonlocal is_whole
        if not isinstance(value, Path):
            return shlex.quote(str(value))
        path = seen_from(value, output.parent)
        is_whole = is_whole and path is not None
        return shlex.quote(value.resolve().name if path is None else path)

    folders = [folder for folder in (args.gt_folder, args.pred_folder) if folder is not None]
    words = [" ".join(["cfseg report", *map(shown, folders)])]
    defaults = {"series": None, "title": "", "cases": 20, **OF_A_REFERENCE}
    for name in ("i", "djfile", "pfile", "o", "model", *defaults):
        value = getattr(args, name)
        if value is None or value == defaults.get(name):
            continue
        flag = f"{'--' if name in defaults else '-'}{name}"
        words.append(flag if value is True else f"{flag} {shown(value)}")
    return " \\\n    ".join(words), is_whole


def _check(
    args: argparse.Namespace, output: Path, cases: Sequence[str], read: Sequence[Path | None]
) -> dict[str, Path] | None:
    """Check everything that would fail after the evaluation, which takes long.

    Returns:
        The image of each case; None if there is no folder of images.
    """
    from nnunetv2_cfseg.evaluation.report.curves import read_trainings
    from nnunetv2_cfseg.files.output_paths import check_not_read
    from nnunetv2_cfseg.imaging.case_images import find_case_images

    if output.suffix != ".html" or output.is_dir():
        raise ValueError(f"the output must be a file that ends with .html, got: {output}")
    for name, value in (("seed", args.seed), ("number of cases to show", args.cases)):
        if value < 0:
            raise ValueError(f"the {name} must be >= 0, got {value}")
    if args.series is not None and args.series < 1:
        raise ValueError(f"--series must be >= 1, got {args.series}")
    if not args.title.isprintable():
        raise ValueError(f"the title must be one line of text, got {args.title!r}")
    if args.model is not None:
        read_trainings(args.model)
    images = None
    if args.i is not None:
        first = next(file for file in read if file is not None)
        images = find_case_images(cases, args.i, first.name.removeprefix(cases[0]))
    if args.series is not None and not any(image.is_dir() for image in (images or {}).values()):
        raise ValueError("--series is for DICOM folders, and -i has none")
    check_not_read([output], [*read, *(images or {}).values()])
    return images
