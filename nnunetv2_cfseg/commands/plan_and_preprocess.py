"""``cfseg plan_and_preprocess``."""

from __future__ import annotations

import argparse

from nnunetv2_cfseg.files.plain_name import plain_name
from nnunetv2_cfseg.nnunet import environment


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg plan_and_preprocess``."""
    command = commands.add_parser(
        "plan_and_preprocess",
        help="fingerprint, plan and preprocess with our planners",
        description="Like nnUNetv2_plan_and_preprocess, with our planners; the flags are nnU-Net's.",
    )
    flag = command.add_argument
    flag("-d", nargs="+", type=int, required=True, metavar="ID", help="dataset ids")
    flag("-pl", default="CFSegPlanner", metavar="PLANNER",
        help="CFSegPlanner, ThinThickPlanner for a dataset of cfseg make_pairs, or CompactPlanner for a small U-Net "
             "(default: %(default)s)")  # fmt: skip
    flag("-preset", help="network preset: default (which is compact), shared, paper or karimi")
    flag("-gpu_memory_target", type=float, default=None, metavar="GB",
        help="memory of a training step, which sizes the network (default: 8, with CompactPlanner 1; use 1 for a "
             "CPU)")  # fmt: skip
    flag(
        "-overwrite_target_spacing", nargs=3, type=float, default=None, metavar="MM", help="z y x spacing of 3d_fullres"
    )
    flag("-overwrite_plans_name", default=None, metavar="NAME",
        help="name of the plans (default, by planner: nnUNetCFSegPlans, nnUNetThinThickPlans, "
             "nnUNetCompactPlans)")  # fmt: skip
    flag("-c", nargs="+", default=None, metavar="CONFIGURATION",
        help="what to preprocess (default: 3d_fullres 3d_lowres, with the other planners 3d_fullres)")  # fmt: skip
    flag("-np", nargs="+", type=int, default=[4], metavar="N", help="processes for preprocessing (default: 4)")
    flag("-npfp", type=int, default=8, metavar="N", help="processes for checks and fingerprint (default: 8)")
    flag("--verify_dataset_integrity", action="store_true", help="also run nnU-Net's own check of the dataset")
    flag("--assume_hu", action="store_true", help="do not check that CTs are in Hounsfield units")
    flag("--clean", action="store_true", help="extract the fingerprint again")
    flag("--no_pp", action="store_true", help="plan only, do not preprocess")
    flag("--verbose", action="store_true")
    flag("--no_pbar", action="store_true", help="no progress bars")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    if args.overwrite_plans_name is not None:
        plain_name(args.overwrite_plans_name, "-overwrite_plans_name")
    environment.require_folders()
    from nnunetv2_cfseg.planners.plan_and_preprocess import plan_and_preprocess  # torch and nnU-Net: slow to import
    from nnunetv2_cfseg.processes.lifetime import children_end_with_this_process

    with children_end_with_this_process():  # otherwise nnU-Net's workers would outlive it when killed
        plan_and_preprocess(
            args.d,
            planner=args.pl,
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
            assume_hu=args.assume_hu,
        )
