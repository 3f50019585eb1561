"""``cfseg phantom``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_cfseg.data.phantom.settings import CLASSES, FREQUENCIES, PhantomSettings
from nnunetv2_cfseg.nnunet import environment


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg phantom``."""
    command = commands.add_parser(
        "phantom",
        help="make a dataset of head CTs with haemorrhages",
        description="Writes a raw nnU-Net dataset of phantoms with a test set, and continues one that was stopped.",
    )
    default = PhantomSettings()
    flag = command.add_argument
    flag("-d", type=int, required=True, metavar="ID", help="dataset id")
    flag("-n", default="Phantom", metavar="NAME", help="the dataset is called DatasetID_NAME (default: %(default)s)")
    flag("-o", type=Path, metavar="FOLDER", help="where to put the dataset (default: $nnUNet_raw)")
    flag("--train", type=int, default=20, metavar="N", help="training cases (default: %(default)s)")
    flag("--test", type=int, default=10, metavar="N", help="test cases (default: %(default)s)")
    flag("--seed", type=int, default=0, metavar="N", help="seed of every case (default: %(default)s)")
    flag("-np", type=int, default=4, metavar="N", help="processes (default: %(default)s)")
    flag("--matrix", nargs=3, type=int, default=default.matrix, metavar=("Z", "Y", "X"),
        help=f"number of voxels (default: {' '.join(map(str, default.matrix))})")  # fmt: skip
    flag("--spacing", nargs=3, type=float, default=default.spacing_mm, metavar=("Z", "Y", "X"),
        help=f"voxel spacing in mm (default: {' '.join(map(str, default.spacing_mm))})")  # fmt: skip
    flag("--factor", type=int, default=default.factor, metavar="R",
        help="also write thick scans, each slice the average of R (default: %(default)s, none)")  # fmt: skip
    flag("--supersampling", type=int, default=default.supersampling, metavar="N",
        help="samples along each axis of a voxel (default: %(default)s)")  # fmt: skip
    flag("--noise", type=float, metavar="HU", help="standard deviation in 1 mm slices (default: drawn for each case)")
    flag("--background", type=Path, metavar="FILE",
        help="a real head CT to place the lesions in; its grid replaces --matrix and --spacing")  # fmt: skip
    flag("--smallest", type=float, default=default.smallest, metavar="QUANTILE",
        help="draw no lesions below this quantile: 0.5 draws the larger half (default: %(default)s, all)")  # fmt: skip
    flag("--fresh", action="store_true", help="all haemorrhages are less than a day old; none is as dark as brain")
    flag("--classes", nargs="+", choices=tuple(CLASSES), metavar="CLASS",
        help=f"classes of the dataset, labelled from 1 in this order (default: {' '.join(CLASSES)})")  # fmt: skip
    often = command.add_mutually_exclusive_group()
    often.add_argument("--frequencies", nargs="+", type=_frequency, metavar="CLASS=P",
        help="fraction of cases that show a class, 0 for classes not named (default: as in CQ500, "
        f"{' '.join(f'{name}={share:.2f}' for name, share in FREQUENCIES.items())})")  # fmt: skip
    often.add_argument("--balanced", action="store_true", help="every class in half of the cases")
    flag("--no_pbar", action="store_true", help="no progress bar")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    from nnunetv2_cfseg.data.phantom.dataset import make_dataset  # SimpleITK: slow to import
    from nnunetv2_cfseg.nnunet.datasets import new_dataset_folder

    classes = tuple(name for name in CLASSES if args.classes is None or name in args.classes)
    frequencies = {name: FREQUENCIES[name] for name in classes}
    if args.balanced:
        frequencies = dict.fromkeys(classes, 0.5)
    elif args.frequencies is not None:
        frequencies = dict(args.frequencies)
        if len(frequencies) < len(args.frequencies):
            raise ValueError(
                f"--frequencies must name a class once, got {' '.join(name for name, _ in args.frequencies)}"
            )
    settings = PhantomSettings(
        matrix=tuple(args.matrix),
        spacing_mm=tuple(args.spacing),
        factor=args.factor,
        supersampling=args.supersampling,
        noise_hu=args.noise,
        classes=classes,
        frequencies=frequencies,
        smallest=args.smallest,
        fresh=args.fresh,
        background=args.background,
    )
    make_dataset(
        settings,
        new_dataset_folder(args.o or environment.raw_folder(), args.d, args.n),
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
