"""``cfseg benchmark``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunetv2_cfseg.benchmark.matrix import Matrix


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg benchmark``."""
    command = commands.add_parser(
        "benchmark",
        help="train, predict and compare a matrix of trainers, plans, folds and seeds",
        description="Runs every cell of a matrix with nnU-Net's commands, continues where it was stopped, and writes "
        "tables, tests and one HTML page. Flags overwrite the settings of FILE; without FILE, flags set everything.",
    )
    flag = command.add_argument
    flag("file", type=Path, nargs="?", metavar="FILE", help="a YAML file, see docs/how-to/benchmark.md")
    flag("-o", type=Path, required=True, metavar="FOLDER", help="folder for cells and results")
    flag("-d", nargs="+", metavar="ID", help="ids or names of datasets")
    flag("-tr", nargs="+", default=[], metavar="TRAINER", help="without FILE: trainers")
    flag("-p", nargs="+", default=[], metavar="PLANS", help="without FILE: existing plans, one for each trainer")
    flag("-c", metavar="CONFIGURATION", help="configuration of the plans (default: 3d_fullres)")
    flag("-f", nargs="+", metavar="FOLD", help="folds (default: 0)")
    flag("--seeds", nargs="+", type=int, metavar="N", help="seeds of each fold (default: 1)")
    flag("--budget", type=float, metavar="S",
        help="seconds of training of each cell, for trainers whose names end with _timed")  # fmt: skip
    flag("--reference", metavar="ROW", help="the row that others are tested against (default: the first)")
    flag("--rows", nargs="+", metavar="ROW", help="run only these rows of FILE")
    flag("-device", choices=("cpu", "cuda", "mps"), help="device for training and prediction (default: cpu)")
    flag("-gpu_memory_target", type=float, metavar="GB", help="GPU memory that plans are made for (default: 8)")
    flag("-np", type=int, default=2, metavar="N", help="number of preprocessing processes (default: %(default)s)")
    flag("--jobs", type=int, default=1, metavar="N", help="number of cells at a time (default: %(default)s)")
    flag("--threads", type=int, metavar="N", help="threads of each cell (default: the cores, shared by the --jobs)")
    flag("--launcher", choices=("local", "slurm"), default="local", help="where cells run (default: %(default)s)")
    flag("--slurm", nargs="+", default=[], metavar="NAME=VALUE",
        help="parameters of submitit, such as slurm_partition=gpu mem_gb=32")  # fmt: skip
    flag("--dry_run", action="store_true", help="check everything, and print what would run and how long it would take")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.benchmark.checks import checked_matrix
    from nnunetv2_cfseg.benchmark.run import announcement, run  # pandas and torch: slow to import
    from nnunetv2_cfseg.processes.stop_signals import stopped_by_signals

    _check_counts(args)
    matrix = _matrix(args)
    slurm = _slurm(args.slurm)
    if args.dry_run:
        matrix = checked_matrix(matrix, args.o, launcher=args.launcher, threads=args.threads or 1, slurm=slurm)
        print(announcement(matrix, args.o, args.jobs))
        for cell in matrix.cells():
            print(f"  {cell}")
        return
    with stopped_by_signals():  # otherwise trainings would outlive a killed benchmark
        report = run(
            matrix, args.o, launcher=args.launcher, jobs=args.jobs, threads=args.threads, processes=args.np,
            slurm=slurm, command=command_line(args),
        )  # fmt: skip
    print(f"Wrote {report}")


def _check_counts(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.benchmark.limits import MOST_JOBS
    from nnunetv2_cfseg.processes.parallel_map import checked_processes

    for flag, value in (("-np", args.np), ("--threads", args.threads)):
        if value is not None:
            checked_processes(value, flag)
    if args.launcher == "local":
        checked_processes(args.jobs, "--jobs")
        if args.slurm:
            raise ValueError(f"--slurm is only for --launcher slurm, got {' '.join(args.slurm)} with --launcher local")
    elif not 1 <= args.jobs <= MOST_JOBS:
        raise ValueError(f"--jobs must be from 1 to {MOST_JOBS}, got {args.jobs}")


def _matrix(args: argparse.Namespace) -> Matrix:
    from nnunetv2_cfseg.benchmark.matrix import make_matrix, only_rows, read_matrix
    from nnunetv2_cfseg.benchmark.row import Row

    settings: dict[str, Any] = {
        "datasets": args.d, "folds": args.f, "seeds": args.seeds, "budget_s": args.budget, "device": args.device,
        "reference": args.reference, "configuration": args.c, "gpu_memory_target_gb": args.gpu_memory_target,
    }  # fmt: skip
    if args.file is not None:
        if args.tr or args.p:
            raise ValueError("-tr and -p cannot be used with FILE, which lists the rows")
        matrix = read_matrix(args.file, **settings)
        return only_rows(matrix, args.rows) if args.rows else matrix
    if len(args.tr) != len(args.p) or not args.tr:
        raise ValueError(f"without FILE there must be one -p for each -tr, got {len(args.tr)} -tr and {len(args.p)} -p")
    rows = [Row(f"{trainer}__{plans}", trainer, plans=plans) for trainer, plans in zip(args.tr, args.p, strict=True)]
    return make_matrix(rows, **{name: value for name, value in settings.items() if value is not None})


def _slurm(parameters: list[str]) -> dict[str, Any]:
    pairs = [parameter.partition("=") for parameter in parameters]
    if wrong := ["".join(pair) for pair in pairs if not (pair[0].isidentifier() and pair[1])]:
        raise ValueError(f"--slurm must be NAME=VALUE, got {', '.join(wrong)}")
    return {name: int(value) if value.isdecimal() else value for name, _, value in pairs}


def command_line(args: argparse.Namespace) -> str:
    """The command as it can be typed again."""
    words = ["cfseg", "benchmark"]
    for name, value in vars(args).items():
        if name in ("command", "run") or value in (None, [], False):
            continue
        values = [str(entry) for entry in (value if isinstance(value, list) else [value])]
        if name != "file":
            words.append(f"-{name}" if len(name) <= 2 or name in ("device", "gpu_memory_target") else f"--{name}")
        words += [] if value is True else [shlex.quote(text) for text in values]
    return " ".join(words)
