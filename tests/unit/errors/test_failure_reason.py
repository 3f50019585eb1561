"""Why a command failed, out of what it printed."""

from __future__ import annotations

import pytest

from nnunetv2_cfseg.errors.failure_reason import MOST, failure_reason

TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    f()\n    ^^^\n'
WORKERS = "One or more background workers are no longer alive. Exiting."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"Epoch 0\n{TRACE}ValueError: no such fold\n", "no such fold"),
        (f"{TRACE}torch.OutOfMemoryError: CUDA out of memory\n", "torch.OutOfMemoryError: CUDA out of memory"),
        (f"{TRACE}MemoryError\n", "MemoryError"),
        (f"{TRACE}KeyError: 'labels'\n", "KeyError: 'labels'"),
        (f"{TRACE}OSError: [Errno 28] No space left on device\n\nnoise after\n", "[Errno 28] No space left on device"),
        (f"{TRACE}ValueError: first\n\nDuring handling of the above exception, another exception occurred:\n\n"
         f"{TRACE}RuntimeError: second\n", "second"),
        (f"{TRACE}RuntimeError: bad\nException ignored in: <function f at 0x1>\n{TRACE}AttributeError: x\n", "bad"),
        (f"{TRACE}MemoryError: Unable to allocate 3 GiB\n{TRACE}RuntimeError: {WORKERS}\n",
         "MemoryError: Unable to allocate 3 GiB"),
        (f"{TRACE}RuntimeError: {WORKERS}\n", WORKERS),
        (f"{TRACE}RuntimeError: Error(s) in loading state_dict for Net:\n\tsize mismatch for a\n",
         "Error(s) in loading state_dict for Net: size mismatch for a"),
        ("cfseg predict: a model must have been trained: /x\n", "a model must have been trained: /x"),
        ("cfseg predict: 1 of 2 cases could not be segmented\n  a: it is no CT\n",
         "1 of 2 cases could not be segmented a: it is no CT"),
        ("usage: x [-h]\nnnUNetv2_predict: error: unrecognized arguments: --x\n", "unrecognized arguments: --x"),
        ("working\n 10%|#  | 1/10\r 90%|###| 9/10\r", "working"),
        ("no space left\nresource_tracker: There appear to be 1 leaked semaphore objects\n", "no space left"),
        ("\x1b[31mred\x1b[0m\x07", "red"),
        ("", "it said nothing"),
    ],
)  # fmt: skip
def test_reason(text: str, reason: str) -> None:
    assert failure_reason(text) == reason


def test_a_signal_is_named() -> None:
    assert failure_reason("", -9).startswith("it was ended by SIGKILL, as the system does when memory runs out")
    assert failure_reason(f"{TRACE}ValueError: x", -11) == "it was ended by SIGSEGV; before: x"
    assert failure_reason("", -200) == "it was ended by signal 200"


def test_a_reason_is_one_line_of_bounded_length() -> None:
    reason = failure_reason(f"{TRACE}ValueError: {'long ' * 1000}\n")
    assert len(reason) == MOST
    assert "\n" not in reason
