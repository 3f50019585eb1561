"""``cfseg compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_cfseg.commands import inputs
from nnunetv2_cfseg.evaluation.compare.metrics import COMPARABLE, METRICS


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg compare``."""
    command = commands.add_parser(
        "compare",
        help="compare the predictions of several models with statistics",
        description="Evaluates folders of predictions of the same cases and tests each pair of folders, case by case.",
    )
    flag = command.add_argument
    flag("folders", type=Path, nargs="+", metavar="FOLDER", help="predictions, two folders or more")
    flag("-gt", type=Path, required=True, metavar="FOLDER", help="reference segmentations")
    flag("-djfile", type=Path, metavar="FILE", help="dataset.json (default: the one in the first folder)")
    flag("-pfile", type=Path, metavar="FILE",
        help="plans.json, of which only the image reader is checked (default: the one in each folder)")  # fmt: skip
    flag("-o", type=Path, required=True, metavar="FOLDER", help="where to write tables; created if it does not exist")
    flag("-ref", type=Path, metavar="FOLDER",
        help="compare all others with this folder (default: every pair, the earlier one as reference)")  # fmt: skip
    flag("--metrics", nargs="+", default=METRICS, metavar="METRIC",
        help=f"metrics to compare, of {' '.join(COMPARABLE)} (default: {' '.join(METRICS)})")  # fmt: skip
    flag("--names", nargs="+", metavar="NAME",
        help="names of the folders in tables, in order (default: the end of the path that no other has)")  # fmt: skip
    flag("--tolerance", type=float, default=1.0, metavar="MM",
        help="distance within which surfaces agree, for NSD (default: %(default)s)")  # fmt: skip
    flag("--lesion_overlap", type=float, default=0.1, metavar="SHARE",
        help="fraction of a lesion's voxels that must overlap to count as found (default: %(default)s)")  # fmt: skip
    flag("--factor", type=int, metavar="R",
        help="thin slices in a thick one, for boundary_Dice (default: from thin_thick.json)")  # fmt: skip
    flag("--chill", action="store_true", help="compare only the cases that all folders have, and report those left out")
    flag("--seed", type=int, default=0, metavar="N", help="seed of the bootstrap (default: %(default)s)")
    flag("--from", type=Path, nargs="+", metavar="SUMMARY_CSV",
        help="tables that cfseg evaluate wrote for the folders, in order, instead of measuring again")  # fmt: skip
    flag("-np", type=int, metavar="N", help="processes (default: $nnUNet_def_n_proc or 8)")
    flag("--no_pbar", action="store_true", help="no progress bar")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.evaluation.compare.folders import compare_folders  # pandas and scipy: slow to import
    from nnunetv2_cfseg.evaluation.compare.markdown import markdown
    from nnunetv2_cfseg.evaluation.compare.output_files import check_output, write_comparison
    from nnunetv2_cfseg.evaluation.metrics import MetricSettings
    from nnunetv2_cfseg.evaluation.saved_table import summary_of

    tables = getattr(args, "from")
    table_files = [file for table in tables or [] for file in (table, summary_of(table))]
    check_output(args.o, [args.djfile, args.pfile, *table_files])
    comparison = compare_folders(
        args.folders,
        args.gt,
        dataset_json=args.djfile,
        plans_json=args.pfile,
        settings=MetricSettings(tolerance_mm=args.tolerance, lesion_overlap=args.lesion_overlap, factor=args.factor),
        metrics=args.metrics,
        names=args.names,
        reference=args.ref,
        only_common=args.chill,
        seed=args.seed,
        tables=tables,
        num_processes=inputs.num_processes(args.np),
        progress=not args.no_pbar,
    )
    write_comparison(comparison, args.o)
    print(markdown(comparison), end="")
