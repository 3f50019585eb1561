"""Signals that end a run as an error does, with its clean-up, instead of on the spot."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

#: What ends a job: a scheduler or ``kill``, and a closed terminal.
JOB_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
STOP_SIGNALS = (signal.SIGINT, *JOB_SIGNALS)


class Stopped(SystemExit):
    """Raised where a signal came; the exit status is 128 and its number, as a shell has it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def _interrupted(number: int) -> BaseException:
    """What Ctrl-C raises in Python."""
    return KeyboardInterrupt()


@contextmanager
def stopped_by_signals(
    numbers: Collection[signal.Signals] = STOP_SIGNALS, *, raising: Callable[[int], BaseException] = _interrupted
) -> Iterator[None]:
    """Within it signals raise an exception, once: what cleans up is not interrupted by a second one.

    One that is ignored, as SIGHUP under nohup, stays ignored. Only a process's main thread can ask for this; in others
    nothing changes. Forked workers inherit the handlers, and are ended on the spot instead: the clean-up is not theirs.

    Args:
        numbers: of the signals; by default Ctrl-C, kill and a closed terminal.
        raising: the exception of a signal; by default KeyboardInterrupt.
    """
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for other in handled:
            signal.signal(other, signal.SIG_IGN)
        raise raising(number)

    handled = {}
    if threading.current_thread() is threading.main_thread():
        handled = {number: signal.getsignal(number) for number in numbers}
        handled = {number: handler for number, handler in handled.items() if handler is not signal.SIG_IGN}
    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


def end_by_signals(numbers: Collection[signal.Signals] = JOB_SIGNALS) -> None:
    """In a forked worker: signals end it on the spot."""
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
