"""Says why a case failed, in one sentence that names its file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nnunetv2_cfseg.errors.error_sentence import is_out_of_memory
from nnunetv2_cfseg.errors.printable import printable


def explain(error: BaseException, files: Iterable[Path], *, doing: str = "read") -> str:
    """One line that says what was wrong, and with which file.

    Args:
        error: of any kind.
        files: the files of the case; the first is named if the error names none.
        doing: what could not be done with them, as a participle.
    """
    named = [printable(file) for file in files]
    reason = " ".join(printable(_reason(error)).split())
    if not isinstance(error, ValueError | OSError | MemoryError):
        reason = f"it cannot be {doing} ({reason})"
    return reason if not named or any(name in reason for name in named) else f"{reason}: {named[0]}"


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    if is_out_of_memory(error):
        return "there is too little memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    if isinstance(error, ValueError | OSError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
