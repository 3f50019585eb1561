"""Makes bad input end nnU-Net's commands with one sentence, as it ends ``cfseg``, instead of a traceback."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from nnunetv2_cfseg.processes.stop_signals import Stopped

#: Errors reported in one sentence; any other error is a bug and keeps its traceback.
BAD_INPUT = (ValueError, OSError, MemoryError, torch.OutOfMemoryError)


def nnunet_command() -> str | None:
    """Name of the nnU-Net command that this process runs; None in any other program."""
    name = Path(sys.argv[0] if sys.argv else "").name.removesuffix(".exe")
    return name if name.startswith("nnUNetv2_") else None


@contextmanager
def one_sentence(log: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """In an nnU-Net command, turn bad input into a sentence on stderr and exit status 2; elsewhere let it be raised.

    Args:
        log: receives the traceback, or which signal stopped a training.
    """
    try:
        yield
    except BAD_INPUT as error:
        command = nnunet_command()
        if command is None:
            raise
        with suppress(OSError):  # the error may be a full disk, where the log cannot be written either
            log("".join(traceback.format_exception(error)))
        _say(f"{command}: {_sentence(error)}")
        raise SystemExit(2) from error
    except Stopped as stopped:
        with suppress(OSError):
            log(f"stopped by {stopped.name}")
        if command := nnunet_command():
            _say(f"{command}: stopped by {stopped.name}")
        raise


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"out of memory: {text}" if isinstance(error, MemoryError | torch.OutOfMemoryError) else text


def _say(sentence: str) -> None:
    """Print to stderr after flushing stdout, so that the sentence comes last in a log of both."""
    with suppress(OSError):
        sys.stdout.flush()
    print(sentence, file=sys.stderr, flush=True)
