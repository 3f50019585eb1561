"""Why a command failed, in a sentence, from what it printed."""

from __future__ import annotations

import re
import signal

#: Characters of a reason.
MOST = 400
TRACEBACK = "Traceback (most recent call last):"
#: Errors that tell of another one, which was printed before.
SYMPTOMS = ("background workers are no longer alive", "background worker is 6 feet under", "background worker died",
            "KeyboardInterrupt", "BrokenPipeError", "ConnectionResetError")  # fmt: skip
#: Lines that tell nothing of an error: progress bars, and what Python prints when it ends.
NOISE = re.compile(r"\d+%\|.*\||resource_tracker: |warnings\.warn\(|^\$ |^Exception ignored in|^\s*$")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: ``ValueError: what is wrong``, ``MemoryError``.
EXCEPTION = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<words>.*))?$")
#: ``cfseg predict: what is wrong``, ``nnUNetv2_predict: error: what is wrong``.
SENTENCE = re.compile(r"^(?:cfseg [a-z_]+: (?:error: )?|[\w.]+: error: )(?P<words>\S.*)$")
#: Kinds whose message is a sentence without them.
PLAIN = ("ValueError", "RuntimeError", "AssertionError", "OSError", "SystemExit")


def failure_reason(text: str, status: int = 1) -> str:
    """The last sentence of an error, or the last line that says something.

    Args:
        text: what the command printed.
        status: it ended with; below 0 the signal that ended it.

    Returns:
        One line of at most MOST characters.
    """
    lines = ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    found = [*_sentences(lines)]
    telling = [words for words in found if not any(symptom in words for symptom in SYMPTOMS)] or found
    reason = telling[-1] if telling else ""
    if status < 0:
        reason = f"{_signal_words(-status)}{reason and f'; before: {reason}'}"
    reason = reason or _last_line(lines) or "it said nothing"
    return reason if len(reason) <= MOST else f"{reason[: MOST - 4]} ..."


def _sentences(lines: list[str]) -> list[str]:
    """What errors said, in their order."""
    found = []
    in_traceback = ignored = False
    for number, line in enumerate(lines):
        following = next((after for after in lines[number + 1 :] if after.strip()), "")
        if line.strip().endswith(TRACEBACK):
            before = next((earlier for earlier in reversed(lines[:number]) if earlier.strip()), "")
            in_traceback, ignored = True, before.startswith("Exception ignored")
        elif in_traceback and (match := EXCEPTION.match(line)):
            in_traceback = False
            if not ignored:
                found.append(_joined(_exception_words(match), following))
        elif match := SENTENCE.match(line):
            in_traceback = False
            found.append(_joined(match["words"].strip(), following if following.startswith("  ") else ""))
    return found


def _exception_words(match: re.Match[str]) -> str:
    words, kind = (match["words"] or "").strip(), match["kind"]
    if words and kind in PLAIN:
        return words
    return f"{kind}: {words}" if words else kind


def _joined(words: str, following: str) -> str:
    """A sentence that goes on in the next line, with it."""
    goes_on = words.endswith((":", "cases failed", "could not be segmented"))
    return f"{words} {following.strip()}" if goes_on and following else words


def _last_line(lines: list[str]) -> str:
    return next((line.strip() for line in reversed(lines) if not NOISE.search(line)), "")


def _signal_words(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    often = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"it was ended by {name}{often}"
