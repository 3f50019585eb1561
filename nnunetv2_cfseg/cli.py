"""The command ``cfseg``: parses flags, which are named as in nnU-Net, and runs subcommands."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

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
from nnunetv2_cfseg.errors.error_sentence import TRACEBACK_VARIABLE, error_sentence

COMMANDS = (
    env, make_pairs, plan_and_preprocess, predict, refine_labels, export, evaluate, compare, report, benchmark,
    quantify, phantom, demo,
)  # fmt: skip
MOST_PROCESSES = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, or 2 after an error, which is one sentence on stderr (after a traceback with
        ``CFSEG_TRACEBACK=1``). As in shells, it is 130 after Ctrl-C, 143 after SIGTERM, 129 after the terminal was
        closed, and 141 if the reader of the output has gone.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may not be valid UTF-8
    args = _parser().parse_args(arguments)
    try:
        with _ended_by_signals():
            _check_processes(args)
            args.run(args)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"cfseg {args.command}: stopped", file=sys.stderr)
        return 130
    except _Signalled as signalled:
        return 128 + signalled.number
    except BrokenPipeError:
        _drop_output()
        return 128 + signal.SIGPIPE
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE, "") not in ("", "0"):
            traceback.print_exc()
        print(f"cfseg {args.command}: {error_sentence(error, getattr(args, 'o', None))}", file=sys.stderr)
        return 2
    return 0


def _check_processes(args: argparse.Namespace) -> None:
    """Limit the number of processes, because each of them takes memory."""
    for flag in ("np", "npfp"):
        given = getattr(args, flag, None)
        for number in given if isinstance(given, list) else [given]:
            if number is not None and not 1 <= number <= MOST_PROCESSES:
                raise ValueError(f"-{flag} must be from 1 to {MOST_PROCESSES} processes, got {number}")


class _Signalled(BaseException):
    """A signal that ends the process after cleaning up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, so that cleanup runs; forked processes just end."""
    process = os.getpid()

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
        if os.getpid() != process:
            os.kill(os.getpid(), number)
            return
        raise _Signalled(number)

    handled = [number for number in (signal.SIGTERM, signal.SIGHUP) if _is_default(number)]
    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def _is_default(number: int) -> bool:
    """Whether to handle a signal: not if it is ignored, as under nohup, and only in the main thread."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and signal.getsignal(number) is signal.SIG_DFL


def _drop_output() -> None:
    """Send further output to nowhere: nobody reads it, and Python would print another error at its end."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cfseg", description="Convolution-free segmentation of CT with nnU-Net v2.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
