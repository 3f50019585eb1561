"""SIGTERM and SIGHUP end a training as an error does, with its clean-up, instead of on the spot."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What ends a job: a scheduler or ``kill``, and a closed terminal. Ctrl-C is Python's own.
SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Stopped(SystemExit):
    """Raised where a signal came; the exit status is 128 and its number, as a shell has it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within it they raise :class:`Stopped`, once: what cleans up is not interrupted by a second one.

    One that is ignored, as SIGHUP under nohup, stays ignored. Only a process's main thread can ask for this; in others
    nothing changes.
    """
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for other in handled:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    handled = {}
    if threading.current_thread() is threading.main_thread():
        handled = {number: signal.getsignal(number) for number in SIGNALS}
        handled = {number: handler for number, handler in handled.items() if handler is not signal.SIG_IGN}
    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


def end_by_signals() -> None:
    """In a forked worker: signals end it on the spot."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
