"""``cfseg evaluate``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.commands import inputs


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg evaluate``."""
    command = commands.add_parser(
        "evaluate",
        help="measure a folder of segmentations against their references",
        description="Like nnUNetv2_evaluate_folder, with more measures: writes a summary.json with intervals that "
        "nnU-Net can read, and beside it a .csv table of all cases and classes.",
    )
    flag = command.add_argument
    flag("gt_folder", type=Path, metavar="GT", help="folder of the reference segmentations")
    flag("pred_folder", type=Path, metavar="PRED", help="folder of the predicted segmentations")
    flag("-djfile", type=Path, metavar="FILE", help="dataset.json (default: the one in PRED)")
    flag("-pfile", type=Path, metavar="FILE",
        help="plans.json, of which only the image reader is checked (default: the one in PRED)")  # fmt: skip
    flag("-o", type=Path, metavar="FILE", help="output, ending with .json (default: PRED/summary.json)")
    flag("-np", type=int, metavar="N", help="processes (default: $nnUNet_def_n_proc or 8)")
    flag("--chill", action="store_true",
        help="leave out references without a prediction, and predictions without a reference")  # fmt: skip
    flag("--tolerance", type=float, default=1.0, metavar="MM",
        help="tolerance of the surface Dice (default: %(default)s)")  # fmt: skip
    flag("--lesion_overlap", type=float, default=0.1, metavar="SHARE",
        help="fraction of a lesion's voxels that must overlap to count as found (default: %(default)s)")  # fmt: skip
    flag("--factor", type=int, metavar="R",
        help="thin slices in a thick one, for the boundary-slab Dice (default: from thin_thick.json)")  # fmt: skip
    flag("--seed", type=int, default=0, metavar="N", help="seed of the bootstrap intervals (default: %(default)s)")
    flag("--no_pbar", action="store_true", help="no progress bar")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.evaluation.evaluate import evaluate_folders  # pandas and SimpleITK: slow to import
    from nnunetv2_cfseg.evaluation.files import find_factor
    from nnunetv2_cfseg.evaluation.metrics import MetricSettings
    from nnunetv2_cfseg.evaluation.summary import check_output, summarise, write_summary

    output = args.o or args.pred_folder / "summary.json"
    check_output(output, [args.djfile, args.pfile])
    if args.seed < 0:
        raise ValueError(f"a seed must be >= 0, got {args.seed}")
    dataset_json = inputs.dataset_json(args.djfile, args.pred_folder)
    factor = find_factor(args.gt_folder, dataset_json) if args.factor is None else args.factor
    evaluation = evaluate_folders(
        args.gt_folder,
        args.pred_folder,
        dataset_json=dataset_json,
        plans_json=inputs.plans_json(args.pfile, args.pred_folder),
        settings=MetricSettings(tolerance_mm=args.tolerance, lesion_overlap=args.lesion_overlap, factor=factor),
        chill=args.chill,
        num_processes=inputs.num_processes(args.np),
        progress=not args.no_pbar,
    )
    summary = summarise(evaluation, seed=args.seed)
    write_summary(evaluation, summary, output)
    for left_out, kind in (
        (evaluation.unpaired.missing_predictions, "references without a prediction"),
        (evaluation.unpaired.missing_truths, "predictions without a reference"),
    ):
        if left_out:
            print(f"Left out {len(left_out)} {kind}: {_some(left_out)}")
    print(_markdown(summary["cfseg"]))
    print(f"\nWrote {output} and {output.with_suffix('.csv')}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _markdown(ours: Mapping[str, Any]) -> str:
    """A table of the classes and their mean; ``n`` counts the cases in which reference or prediction shows a class."""
    header = ("class", "n", "Dice [95 %]", "IoU", "HD95 mm", "NSD", "lesion F1", "volume error ml", "missed",
        "false alarms")  # fmt: skip
    rows = [
        (entry["name"], str(entry["present"] + entry["false_alarms"]), *_measures(entry["measures"]),
         str(entry["missed"]), str(entry["false_alarms"]))
        for entry in ours["classes"].values()
    ]  # fmt: skip
    rows.append(("mean", "", *_measures(ours["overall"]), "", ""))
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = [_line(header, widths), _line(["-" * width for width in widths], widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _measures(measures: Mapping[str, Any]) -> tuple[str, ...]:
    mean = {key: measure["mean"] for key, measure in measures.items()}
    low, high = measures["Dice"]["interval"]
    return (
        f"{_number(mean['Dice'])} [{_number(low)}, {_number(high)}]",
        _number(mean["IoU"]),
        _number(mean["HD95_mm"], ".2f"),
        _number(mean["NSD"]),
        _number(mean["lesion_F1"]),
        _number(mean["volume_error_ml"], "+.2f"),
    )


def _number(value: float, style: str = ".3f") -> str:
    return "-" if isnan(value) else format(value, style)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in
        enumerate(zip(cells, widths, strict=True)))  # fmt: skip
    return f"| {' | '.join([first, *rest])} |"
