"""Signals become exceptions in the process that asked for it, and end forked workers on the spot."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from nnunetv2_cfseg.processes.stop_signals import JOB_SIGNALS, STOP_SIGNALS, Stopped, stopped_by_signals


@pytest.mark.parametrize("number", JOB_SIGNALS)
def test_raises_what_is_asked_for(number: signal.Signals) -> None:
    with pytest.raises(Stopped) as stop, stopped_by_signals(JOB_SIGNALS, raising=Stopped):
        signal.raise_signal(number)
    assert stop.value.code == 128 + number
    assert stop.value.name == number.name


def test_leaves_other_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopped_by_signals(JOB_SIGNALS, raising=Stopped):
        assert signal.getsignal(signal.SIGINT) is before


def test_changes_nothing_in_other_threads() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    found = []

    def look() -> None:
        with stopped_by_signals():
            found.extend(signal.getsignal(number) for number in STOP_SIGNALS)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == before


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
def test_ends_a_forked_worker_without_its_clean_up() -> None:
    with stopped_by_signals(JOB_SIGNALS, raising=Stopped):
        worker = os.fork()
        if not worker:
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                os._exit(7)  # of a clean-up
        _, status = os.waitpid(worker, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM
