"""Finds out why a command failed from what it printed, in one sentence."""

from __future__ import annotations

import re
import signal

#: Length limit of a reason, in characters.
MOST = 400
TRACEBACK = "Traceback (most recent call last):"
#: Errors that follow from another one, which was printed before.
SYMPTOMS = ("background workers are no longer alive", "background worker is 6 feet under", "background worker died",
            "KeyboardInterrupt", "BrokenPipeError", "ConnectionResetError")  # fmt: skip
#: Lines that say nothing about an error: progress bars, and what Python prints when it exits.
NOISE = re.compile(r"\d+%\|.*\||resource_tracker: |warnings\.warn\(|^\$ |^Exception ignored in|^\s*$")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: ``ValueError: what is wrong``, ``MemoryError``.
EXCEPTION = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
#: ``cfseg predict: what is wrong``, ``nnUNetv2_predict: error: what is wrong``.
SENTENCE = re.compile(r"^(?:cfseg [a-z_]+: (?:error: )?|[\w.]+: error: )(?P<message>\S.*)$")
#: Kinds whose message is a sentence by itself.
PLAIN = ("ValueError", "RuntimeError", "AssertionError", "OSError", "SystemExit")


def failure_reason(text: str, status: int = 1) -> str:
    """The last sentence of an error, or the last line that says something.

    Args:
        text: what the command printed.
        status: exit status; a negative one is the signal that ended the command.

    Returns:
        One line of at most MOST characters.
    """
    lines = ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    sentences = _sentences(lines)
    causes = [text for text in sentences if not any(symptom in text for symptom in SYMPTOMS)] or sentences
    reason = causes[-1] if causes else ""
    if status < 0:
        reason = f"{_signal_sentence(-status)}{reason and f'; before: {reason}'}"
    reason = reason or _last_line(lines) or "it said nothing"
    return reason if len(reason) <= MOST else f"{reason[: MOST - 4]} ..."


def _sentences(lines: list[str]) -> list[str]:
    """The messages of all errors, in the order they were printed."""
    sentences = []
    in_traceback = ignored = False
    for number, line in enumerate(lines):
        following = next((after for after in lines[number + 1 :] if after.strip()), "")
        if line.strip().endswith(TRACEBACK):
            before = next((earlier for earlier in reversed(lines[:number]) if earlier.strip()), "")
            in_traceback, ignored = True, before.startswith("Exception ignored")
        elif in_traceback and (match := EXCEPTION.match(line)):
            in_traceback = False
            if not ignored:
                sentences.append(_joined(_exception_message(match), following))
        elif match := SENTENCE.match(line):
            in_traceback = False
            sentences.append(_joined(match["message"].strip(), following if following.startswith("  ") else ""))
    return sentences


def _exception_message(match: re.Match[str]) -> str:
    message, kind = (match["message"] or "").strip(), match["kind"]
    if message and kind in PLAIN:
        return message
    return f"{kind}: {message}" if message else kind


def _joined(sentence: str, following: str) -> str:
    """A sentence, with the next line if it continues there."""
    goes_on = sentence.endswith((":", "cases failed", "could not be segmented"))
    return f"{sentence} {following.strip()}" if goes_on and following else sentence


def _last_line(lines: list[str]) -> str:
    return next((line.strip() for line in reversed(lines) if not NOISE.search(line)), "")


def _signal_sentence(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"it was ended by {name}{hint}"
