"""``cfseg demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_cfseg.demo.settings import DemoSettings


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg demo``."""
    command = commands.add_parser(
        "demo",
        help="learn thin slices from thick annotations of phantoms and write a report, in about ten minutes",
        description="Makes phantom head CTs annotated on thick slices, trains with pairs and, to compare, with copied "
        "labels, predicts thin slices and evaluates them on two processor cores, and writes a page with tables and "
        "pictures, FOLDER/report.html. If stopped, the same command continues it.",
    )
    default = DemoSettings()
    flag = command.add_argument
    flag("-o", type=Path, required=True, metavar="FOLDER",
        help="folder for everything: a new one, or that of an earlier demo")  # fmt: skip
    flag(
        "--train", type=int, default=default.train, metavar="N", help="number of training scans (default: %(default)s)"
    )
    flag("--test", type=int, default=default.test, metavar="N", help="number of unseen scans (default: %(default)s)")
    flag("--train_seconds", type=float, default=default.train_seconds, metavar="S",
        help="seconds of each of the two trainings (default: %(default)s)")  # fmt: skip
    flag("--seed", type=int, default=default.seed, metavar="N",
        help="seed of phantoms and training (default: %(default)s)")  # fmt: skip
    flag("--matrix", nargs=3, type=int, default=default.matrix, metavar=("Z", "Y", "X"),
        help=f"voxels of a scan (default: {' '.join(map(str, default.matrix))})")  # fmt: skip
    flag("--spacing", nargs=3, type=float, default=default.spacing_mm, metavar=("Z", "Y", "X"),
        help=f"voxel spacing in mm (default: {' '.join(map(str, default.spacing_mm))})")  # fmt: skip
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.demo.run import run_demo

    settings = DemoSettings(
        train=args.train,
        test=args.test,
        matrix=tuple(args.matrix),
        spacing_mm=tuple(args.spacing),
        train_seconds=args.train_seconds,
        seed=args.seed,
    )
    run_demo(args.o, settings)
