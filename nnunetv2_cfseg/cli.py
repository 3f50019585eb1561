"""The command ``cfseg``: reads flags, named as nnU-Net names them, and calls."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.commands import (
    benchmark,
    compare,
    demo,
    env,
    evaluate,
    export,
    make_pairs,
    phantom,
    plan_and_preprocess,
    predict,
    quantify,
    refine_labels,
    report,
)

COMMANDS = (
    env, make_pairs, plan_and_preprocess, predict, refine_labels, export, evaluate, compare, report, benchmark,
    quantify, phantom, demo,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0; 2 after bad input, which is one sentence on stderr; 130 after Ctrl-C, as a shell has it.
    """
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        print(f"cfseg {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"cfseg {args.command}: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cfseg", description="Convolution-free segmentation of CT with nnU-Net v2.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
