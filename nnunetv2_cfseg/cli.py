"""The command ``cfseg``: reads flags, named as nnU-Net names them, and calls."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nnunetv2_cfseg import __version__, environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 2 after bad input, which is one sentence on stderr."""
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        print(f"cfseg {args.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cfseg", description="Convolution-free segmentation of CT with nnU-Net v2.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_env(commands)
    _add_plan_and_preprocess(commands)
    return parser


def _add_env(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "env",
        help="print the line that lets nnU-Net find our trainers",
        description='Prints an export line for the shell; use it as: eval "$(cfseg env)"',
    )
    command.set_defaults(run=_env)


def _env(_: argparse.Namespace) -> None:
    missing = environment.missing_folders()
    if missing:
        print(f"cfseg env: nnU-Net also needs its folders, and {environment.missing_sentence(missing)}",
              file=sys.stderr)  # fmt: skip
    print(environment.ext_trainer_export())


def _add_plan_and_preprocess(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "plan_and_preprocess",
        help="fingerprint, plan and preprocess with CFSegPlanner",
        description="nnUNetv2_plan_and_preprocess with our planner; the flags are nnU-Net's.",
    )
    add = command.add_argument
    add("-d", nargs="+", type=int, required=True, metavar="ID", help="dataset ids")
    add("-preset", default="default", help="network preset: default, paper or karimi (default: %(default)s)")
    add("-gpu_memory_target", type=float, default=None, metavar="GB",
        help="memory of a training step; sizes the network (default: 8; 1 is right for a CPU)")  # fmt: skip
    add("-overwrite_target_spacing", nargs=3, type=float, default=None, metavar="MM", help="z y x, for 3d_fullres")
    add("-overwrite_plans_name", default="nnUNetCFSegPlans", metavar="NAME", help="default: %(default)s")
    add("-c", nargs="+", default=["3d_fullres", "3d_lowres"], metavar="CONFIGURATION",
        help="what to preprocess (default: 3d_fullres 3d_lowres)")  # fmt: skip
    add("-np", nargs="+", type=int, default=[4], metavar="N", help="processes for preprocessing (default: 4)")
    add("-npfp", type=int, default=8, metavar="N", help="processes for checks and fingerprint (default: 8)")
    add("--verify_dataset_integrity", action="store_true", help="also run nnU-Net's own check of the dataset")
    add("--clean", action="store_true", help="extract the fingerprint anew")
    add("--no_pp", action="store_true", help="plan only, do not preprocess")
    add("--verbose", action="store_true")
    add("--no_pbar", action="store_true", help="no progress bars")
    command.set_defaults(run=_plan_and_preprocess)


def _plan_and_preprocess(args: argparse.Namespace) -> None:
    environment.require_folders()
    from nnunetv2_cfseg.planners.run import plan_and_preprocess  # torch and nnU-Net: slow to import

    plan_and_preprocess(
        args.d,
        preset=args.preset,
        gpu_memory_target_gb=args.gpu_memory_target,
        overwrite_target_spacing=args.overwrite_target_spacing,
        plans_name=args.overwrite_plans_name,
        configurations=args.c,
        num_processes=args.np,
        num_processes_fingerprint=args.npfp,
        verify_dataset_integrity=args.verify_dataset_integrity,
        clean=args.clean,
        preprocess=not args.no_pp,
        verbose=args.verbose,
        progress=not args.no_pbar,
    )


if __name__ == "__main__":
    sys.exit(main())
