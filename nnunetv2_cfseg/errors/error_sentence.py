"""What a command says when it ends in an error: one sentence, whatever the error was."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from nnunetv2_cfseg.errors.printable import printable

#: Makes ``cfseg`` print the traceback of an error as well.
TRACEBACK_VARIABLE = "CFSEG_TRACEBACK"
#: What Python, torch, SimpleITK and the system's loader say where memory is short.
MEMORY_SIGNS = (
    "allocate memory",
    "out of memory",
    "bad allocation",
    "bad_alloc",
    "failed to map segment",
    "cannot mmap",
    "can't start new thread",
)
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def error_sentence(error: BaseException, output: Path | None = None) -> str:
    """What is wrong, as a user may read it.

    Args:
        output: where the command writes, named where the disk is full and the error names no file.
    """
    return printable(_sentence(error, output), keep_lines=True)


def _sentence(error: BaseException, output: Path | None) -> str:
    if is_out_of_memory(error):
        return f"there is not enough memory{_in_brackets(error)}"
    if isinstance(error, OSError):
        return _of_system(error, output)
    if isinstance(error, UnicodeError):
        part = getattr(error, "object", "")
        return f"a name or a text is not UTF-8 ({error.__class__.__name__}): {part[:200]!r}"
    if isinstance(error, ValueError) and str(error):
        return str(error)
    said = f"{type(error).__name__}: {error}".strip(": ")
    return f"this is a bug in cfseg ({said}); {TRACEBACK_VARIABLE}=1 cfseg ... shows where"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what it came of, is a lack of memory."""
    return any(
        isinstance(one, MemoryError)
        or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        or (
            isinstance(one, RuntimeError | OSError | ImportError | SystemError)
            and any(sign in str(one).lower() for sign in MEMORY_SIGNS)
        )
        for one in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was raised from."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _of_system(error: OSError, output: Path | None) -> str:
    file = error.filename2 or error.filename
    where = file.decode(errors="backslashreplace") if isinstance(file, bytes) else file
    if error.errno in FULL_DISK:
        return f"the disk is full, or a limit of file sizes is reached ({error.strerror}): {where or output}"
    if error.strerror is None:
        return str(error) or type(error).__name__
    return f"{error.strerror}: {where}" if where is not None else error.strerror


def _in_brackets(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f" ({first})" if first else ""
