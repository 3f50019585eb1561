"""Lets signals end a run like an error, with clean-up, instead of on the spot."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

#: What ends a job: SIGTERM from a scheduler or ``kill``, and SIGHUP from a closed terminal.
JOB_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
STOP_SIGNALS = (signal.SIGINT, *JOB_SIGNALS)


class Stopped(SystemExit):
    """Raised when a signal arrives; the exit status is 128 plus its number, as in a shell."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def _interrupted(number: int) -> BaseException:
    return KeyboardInterrupt()


@contextmanager
def stopped_by_signals(
    numbers: Collection[signal.Signals] = STOP_SIGNALS, *, raising: Callable[[int], BaseException] = _interrupted
) -> Iterator[None]:
    """Raise an exception on the first signal and ignore later ones, so that they do not interrupt the clean-up.

    Signals that are ignored already, such as SIGHUP under nohup, stay ignored. This works only in a process's main
    thread; in other threads it does nothing. Forked workers inherit the handlers, but end on the spot, as the clean-up
    is not their job.

    Args:
        numbers: the signals; by default Ctrl-C, kill and a closed terminal.
        raising: makes the exception from a signal's number; by default KeyboardInterrupt.
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
    """Let signals end this process on the spot; for forked workers, which inherit their parent's handlers."""
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
