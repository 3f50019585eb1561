"""Flags that name a trained model, as nnU-Net's do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_cfseg.files.plain_name import fold_name, plain_name

if TYPE_CHECKING:
    from nnunetv2_cfseg.inference.model import Model


def add_model_flags(command: argparse.ArgumentParser) -> None:
    """Add ``-d -tr -p -c -f -m -chk --trust_checkpoint``."""
    flag = command.add_argument
    flag("-d", metavar="DATASET", help="id or name of the dataset that the model was trained on")
    flag("-tr", default="nnUNetTrainerCFSeg", metavar="TRAINER", help="trainer of the model (default: %(default)s)")
    flag("-p", default="nnUNetCFSegPlans", metavar="PLANS", help="plans of the model (default: %(default)s)")
    flag("-c", metavar="CONFIGURATION",
        help="configuration (default: 3d_fullres; after paired training 3d_thick for thick scans)")  # fmt: skip
    flag("-f", nargs="+", metavar="FOLD", help="folds whose networks are averaged (default: all folds of the model)")
    flag("-m", type=Path, metavar="FOLDER", help="model folder or bundle, instead of -d, -tr and -p")
    flag("-chk", default="checkpoint_final.pth", metavar="FILE", help="checkpoint (default: %(default)s)")
    flag("--trust_checkpoint", action="store_true",
        help="load a checkpoint that can run code on this machine, as nnU-Net's own commands always do; only from "
        "people you trust")  # fmt: skip


def add_device_flags(command: argparse.ArgumentParser) -> None:
    """Add ``-device --precision``, which :func:`on_device` reads."""
    flag = command.add_argument
    flag(
        "-device", default=None, choices=("cpu", "cuda", "mps"), help="device (default: cuda if there is one, else cpu)"
    )
    flag("--precision", default="auto", choices=("auto", "float32", "bfloat16"),
        help="auto briefly measures which is faster (default: %(default)s)")  # fmt: skip


def add_beyond_scan_flag(command: argparse.ArgumentParser) -> None:
    """Add ``--beyond_scan``."""
    command.add_argument("--beyond_scan", choices=("mean", "edge", "air", "reflect"), metavar="MODE",
        help="what blocks see beyond the ends of a scan: edge, its last voxels; reflect, its mirror image; air; mean, "
        "the mean of the foreground (default: as in training)")  # fmt: skip


def check_beyond_scan(models: Sequence[Model], args: argparse.Namespace) -> None:
    """Check that the models support ``--beyond_scan``.

    Raises:
        ValueError: the mode is air and the scans are not CT.
    """
    for model in models if args.beyond_scan else ():
        for network in model.networks:
            network.continued_by(args.beyond_scan)


def model_folder(args: argparse.Namespace) -> Path:
    """The model folder that the flags name.

    Raises:
        ValueError: both -m and -d are given or neither, a name is a path, or the folder does not exist.
    """
    plain_name(args.chk, "-chk")
    for fold in args.f or ():
        fold_name(fold)
    if (args.m is None) == (args.d is None):
        raise ValueError("a model must be named either with -m FOLDER or with -d DATASET")
    folder = args.m
    if folder is None:
        names = [plain_name(args.tr, "-tr"), plain_name(args.p, "-p"), plain_name(args.c or "3d_fullres", "-c")]
        from nnunetv2_cfseg.nnunet.datasets import RESULTS, find_dataset
        from nnunetv2_cfseg.nnunet.trained_models import describe_models

        dataset = find_dataset(plain_name(args.d, "-d"), [RESULTS], what="-d")
        results = Path(os.environ[RESULTS], dataset.name)
        folder = results / "__".join(names)
        if not folder.is_dir():
            others = describe_models(results, args.chk)
            raise ValueError(f"there is no model {folder.name} of {dataset.name} (-tr, -p, -c); {others}: {results}")
    if not folder.is_dir():
        raise ValueError(f"a model must be a folder, and there is none: {folder}")
    return Path(folder)


def on_device(model: Model, args: argparse.Namespace) -> Model:
    """Move the networks to the device, in the faster precision.

    Raises:
        ValueError: the device does not exist.
    """
    import torch

    from nnunetv2_cfseg.inference.precision import PRECISIONS, faster_precision

    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    missing = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if missing.get(device.type):
        raise ValueError(f"-device must be one that torch finds on this machine, got {device}")
    networks = [network.to(device) for network in model.networks]
    precision = args.precision
    if precision == "auto":
        precision, microseconds = faster_precision(networks[0])
        tried = ", ".join(f"{name} {value:.0f}" for name, value in microseconds.items())
        print(f"{model.configuration.name}: {precision} on {device} (microseconds a block: {tried})")
    return replace(model, networks=[network.to(PRECISIONS[precision]) for network in networks])
