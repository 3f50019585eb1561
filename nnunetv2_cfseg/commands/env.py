"""``cfseg env``."""

from __future__ import annotations

import argparse
import sys

from nnunetv2_cfseg.nnunet import environment


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``cfseg env``."""
    command = commands.add_parser(
        "env",
        help="print the line that lets nnU-Net find our trainers",
        description='Prints an export line for the shell; use it as: eval "$(cfseg env)"',
    )
    command.set_defaults(run=_run)


def _run(_: argparse.Namespace) -> None:
    missing = environment.missing_folders()
    if missing:
        print(f"cfseg env: nnU-Net also needs its folders, and {environment.missing_sentence(missing)}",
              file=sys.stderr)  # fmt: skip
    print(environment.ext_trainer_export())
