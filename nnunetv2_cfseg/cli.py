"""The command ``cfseg``: reads flags, named as nnU-Net names them, and calls."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from nnunetv2_cfseg import __version__, environment
from nnunetv2_cfseg.data.phantom.settings import CLASSES, FREQUENCIES, PhantomSettings
from nnunetv2_cfseg.demo.settings import DemoSettings


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
    _add_phantom(commands)
    _add_demo(commands)
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


def _add_phantom(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "phantom",
        help="make a dataset of head CTs with haemorrhages",
        description="Writes a raw nnU-Net dataset of phantoms with a test set, and goes on with one that was stopped.",
    )
    default = PhantomSettings()
    add = command.add_argument
    add("-d", type=int, required=True, metavar="ID", help="dataset id")
    add("-n", default="Phantom", metavar="NAME", help="the dataset is called DatasetID_NAME (default: %(default)s)")
    add("-o", type=Path, metavar="FOLDER", help="where to put the dataset (default: $nnUNet_raw)")
    add("--train", type=int, default=20, metavar="N", help="training cases (default: %(default)s)")
    add("--test", type=int, default=10, metavar="N", help="test cases (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="decides every case (default: %(default)s)")
    add("-np", type=int, default=4, metavar="N", help="processes (default: %(default)s)")
    add("--matrix", nargs=3, type=int, default=default.matrix, metavar=("Z", "Y", "X"),
        help=f"voxels (default: {_words(default.matrix)})")  # fmt: skip
    add("--spacing", nargs=3, type=float, default=default.spacing_mm, metavar=("Z", "Y", "X"),
        help=f"mm (default: {_words(default.spacing_mm)})")  # fmt: skip
    add("--factor", type=int, default=default.factor, metavar="R",
        help="also write thick scans, each slice the average of R (default: %(default)s, none)")  # fmt: skip
    add("--supersampling", type=int, default=default.supersampling, metavar="N",
        help="samples along each axis of a voxel (default: %(default)s)")  # fmt: skip
    add("--noise", type=float, metavar="HU", help="standard deviation in 1 mm slices (default: drawn for each case)")
    add("--background", type=Path, metavar="FILE",
        help="a real head CT to place the lesions in; its grid replaces --matrix and --spacing")  # fmt: skip
    add("--smallest", type=float, default=default.smallest, metavar="QUANTILE",
        help="draw no smaller lesions: 0.5 draws the larger half of the sizes (default: %(default)s, all)")  # fmt: skip
    add("--fresh", action="store_true", help="all bled within a day, none is as dark as brain")
    often = command.add_mutually_exclusive_group()
    often.add_argument("--frequencies", nargs="+", type=_frequency, metavar="CLASS=P",
        help="share of the cases that show a class, 0 for classes not named (default: as in CQ500, "
        f"{_words(f'{name}={share:.2f}' for name, share in FREQUENCIES.items())})")  # fmt: skip
    often.add_argument("--balanced", action="store_true", help="every class in half of the cases")
    add("--no_pbar", action="store_true", help="no progress bar")
    command.set_defaults(run=_phantom)


def _phantom(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.data.phantom.dataset import dataset_folder, make_dataset  # SimpleITK: slow to import

    frequencies = FREQUENCIES
    if args.balanced:
        frequencies = dict.fromkeys(CLASSES, 0.5)
    elif args.frequencies is not None:
        frequencies = dict(args.frequencies)
    settings = PhantomSettings(
        matrix=tuple(args.matrix),
        spacing_mm=tuple(args.spacing),
        factor=args.factor,
        supersampling=args.supersampling,
        noise_hu=args.noise,
        frequencies=frequencies,
        smallest=args.smallest,
        fresh=args.fresh,
        background=args.background,
    )
    make_dataset(
        settings,
        dataset_folder(args.o or environment.raw_folder(), args.d, args.n),
        num_training=args.train,
        num_test=args.test,
        seed=args.seed,
        num_processes=args.np,
        progress=not args.no_pbar,
    )


def _frequency(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be as in EDH=0.2, got {text!r}") from None


def _add_demo(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "demo",
        help="make phantoms, train on them and report, in about ten minutes",
        description="Phantom head CTs, planning, training, prediction and evaluation on two processor cores, and a "
        "page with tables and pictures, FOLDER/report.html. Stopped and started again it goes on.",
    )
    default = DemoSettings()
    add = command.add_argument
    add("-o", type=Path, required=True, metavar="FOLDER", help="everything goes there: a new folder, or one of a demo")
    add("--train", type=int, default=default.train, metavar="N", help="training scans (default: %(default)s)")
    add("--test", type=int, default=default.test, metavar="N", help="unseen scans (default: %(default)s)")
    add("--train_seconds", type=float, default=default.train_seconds, metavar="S", help="default: %(default)s")
    add("--seed", type=int, default=default.seed, metavar="N", help="default: %(default)s")
    add("--matrix", nargs=3, type=int, default=default.matrix, metavar=("Z", "Y", "X"),
        help=f"voxels of a scan (default: {_words(default.matrix)})")  # fmt: skip
    add("--spacing", nargs=3, type=float, default=default.spacing_mm, metavar=("Z", "Y", "X"),
        help=f"mm (default: {_words(default.spacing_mm)})")  # fmt: skip
    command.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.demo.run import run_demo

    settings = DemoSettings(
        train=args.train,
        test=args.test,
        matrix=tuple(args.matrix),
        spacing_mm=tuple(args.spacing),
        train_seconds=args.train_seconds,
        seed=args.seed,
    )
    try:
        run_demo(args.o, settings)
    except KeyboardInterrupt:
        print("cfseg demo: stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None  # what a shell makes of Ctrl-C


def _words(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


if __name__ == "__main__":
    sys.exit(main())
