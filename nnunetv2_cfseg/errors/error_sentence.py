"""Turns any error that ends a command into one sentence for the user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from nnunetv2_cfseg.errors.printable import printable

#: Makes ``cfseg`` print the traceback of an error as well.
TRACEBACK_VARIABLE = "CFSEG_TRACEBACK"
#: What Python, numpy, torch, SimpleITK and the system's loader say when memory runs out.
MEMORY_SIGNS = (
    "allocate memory",
    "unable to allocate",
    "out of memory",
    "bad allocation",
    "bad_alloc",
    "failed to map segment",
    "cannot mmap",
    "can't start new thread",
)
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def error_sentence(error: BaseException, output: Path | None = None) -> str:
    """Describe an error in one sentence, with unprintable characters escaped.

    Args:
        output: where the command writes; named if the disk is full and the error names no file.
    """
    return printable(_sentence(error, output), keep_lines=True)


def _sentence(error: BaseException, output: Path | None) -> str:
    if is_out_of_memory(error):
        return f"there is not enough memory{_in_brackets(error)}"
    if isinstance(error, OSError):
        return _system_error(error, output)
    if isinstance(error, UnicodeError):
        part = getattr(error, "object", "")
        return f"a name or a text is not UTF-8 ({error.__class__.__name__}): {part[:200]!r}"
    if isinstance(error, ValueError) and str(error):
        return str(error)
    message = f"{type(error).__name__}: {error}".strip(": ")
    return f"this is a bug in cfseg ({message}); {TRACEBACK_VARIABLE}=1 cfseg ... shows where"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that memory ran out."""
    return any(
        isinstance(link, MemoryError)
        or (isinstance(link, OSError) and link.errno == errno.ENOMEM)
        or (
            isinstance(link, RuntimeError | OSError | ImportError | SystemError)
            and any(sign in str(link).lower() for sign in MEMORY_SIGNS)
        )
        for link in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, followed by its causes."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _system_error(error: OSError, output: Path | None) -> str:
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
