"""How much memory there is, and errors of one sentence when it is too little."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nnunetv2_cfseg.errors.error_sentence import is_out_of_memory

#: Where Linux says how much a container may have.
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
#: What a process needs besides its work: threads, pipes, code that is loaded late.
SPARE_BYTES = 200 << 20
GB = 1e9


def machine_bytes() -> int:
    """Memory in bytes of the machine, or of the container that this process runs in."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # not there, or "max"
            limits.append(int(Path(file).read_text()))
    return min(limits)


def allowed_bytes() -> int | None:
    """Bytes of memory that this process may still allocate (``ulimit -v``); None without a limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    used = 0
    with suppress(OSError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return max(0, limit - used)


def require_memory(needed: int, what: str, *, processes: int = 1) -> None:
    """Refuse work that cannot fit, before it begins.

    Args:
        needed: bytes that each process needs.
        what: who needs them, as the subject of a sentence.
        processes: how many work at once.

    Raises:
        ValueError: it is more than the machine has, or than a process is allowed.
    """
    allowed, machine = allowed_bytes(), machine_bytes()
    if allowed is not None and needed + SPARE_BYTES > allowed:
        raise ValueError(f"{what} needs about {needed / GB:.1f} GB, and ulimit -v leaves {allowed / GB:.1f} GB")
    if needed > machine:
        raise ValueError(f"{what} needs about {needed / GB:.1f} GB of memory, and there are {machine / GB:.1f} GB")
    if needed * processes > machine:
        raise ValueError(
            f"{what} needs about {needed / GB:.1f} GB of memory, and {processes} processes at once need more than the "
            f"{machine / GB:.1f} GB that there are; take fewer (-np)"
        )


def require_room_for_processes() -> None:
    """Refuse to start processes if ``ulimit -v`` leaves no room for them: they would fail half-way with long errors.

    Raises:
        MemoryError: there is no room.
    """
    allowed = allowed_bytes()
    if allowed is not None and allowed < SPARE_BYTES:
        raise MemoryError(f"ulimit -v leaves {allowed / 1e6:.0f} MB, too little to start processes")


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Turn what libraries raise when memory runs out into an OSError with one sentence.

    Raises:
        OSError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            text = " ".join(str(error).split())
            raise OSError(f"memory ran out{f' ({text})' if text else ''}") from error
        raise
