"""Reads nnU-Net's checkpoints without running code that a pickle may hold."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from nnunetv2_cfseg.errors.error_sentence import is_out_of_memory
from nnunetv2_cfseg.files.schema import Document, PlainName, check_document
from nnunetv2_cfseg.files.text_files import require_regular_file
from nnunetv2_cfseg.nnunet.plans import Axis

#: What nnU-Net's checkpoints hold besides tensors: numbers of numpy in the training log.
HARMLESS = [np._core.multiarray.scalar, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "b1"))]  # type: ignore[attr-defined]
FLOATING = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
ZIP, PICKLE = b"PK\x03\x04", b"\x80"


class InitArgs(Document):
    """What the trainer was built from."""

    configuration: str


class Checkpoint(Document):
    """What prediction needs of a checkpoint, besides the weights."""

    trainer_name: PlainName
    init_args: InitArgs
    inference_allowed_mirroring_axes: Annotated[list[Axis], Field(max_length=3)] | None = None


def read_checkpoint(
    file: str | Path, device: torch.device | str = "cpu", *, trust: bool = False, any_network: bool = False
) -> dict[str, Any]:
    """Load an nnU-Net checkpoint.

    Args:
        trust: allow code in the file to run.
        any_network: do not check the weights, as those of another library's network may be integers or shared between
            names; compare them with the network's own before use.

    Raises:
        ValueError: it is missing, truncated, not a checkpoint of nnU-Net, or can run code and is not trusted.
        MemoryError: it does not fit into memory.
    """
    require_regular_file(file)
    if not trust:
        _require_harmless(file)
    try:
        with safe_globals(HARMLESS):
            content = torch.load(file, map_location=device, weights_only=not trust)
    except Exception as error:  # unpickling a file that is no checkpoint can raise anything
        if is_out_of_memory(error):
            raise
        raise ValueError(f"the checkpoint cannot be read, it is truncated or no checkpoint: {file}") from error
    if not isinstance(content, dict) or not isinstance(content.get("network_weights"), dict):
        raise ValueError(f"the checkpoint has no 'network_weights'; nnU-Net's checkpoints must have them: {file}")
    if not any_network:
        check_tensors(content["network_weights"], file)
    return content


def read_model_checkpoint(file: Path, *, trust: bool = False) -> tuple[Checkpoint, dict[str, Tensor]]:
    """What a checkpoint says about its model, and its weights.

    Raises:
        ValueError: as :func:`read_checkpoint`, or an entry is missing or does not fit.
    """
    content = read_checkpoint(file, trust=trust)
    return check_document(content, Checkpoint, str(file)), content["network_weights"]


def check_tensors(weights: Mapping[Any, Any], file: str | Path) -> None:
    """Check that weights are dense floating-point tensors that are no larger than their file.

    Raises:
        ValueError: one is not, and the message names it; or together they are too large.
    """
    total = 0
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not _is_dense(value):
            raise ValueError(f"weights must be dense tensors of floating-point numbers, and {name!r} is none: {file}")
        total += value.numel() * value.element_size()
    if total > Path(file).stat().st_size:  # one stored number may stand for a whole tensor
        raise ValueError(f"the weights must be as large as their file, and would take {total} bytes: {file}")


def check_finite(weights: Mapping[str, Tensor], file: str | Path) -> None:
    """Refuse weights that are not finite, because such a network finds nothing.

    Raises:
        ValueError: one of them holds NaN or infinity.
    """
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"weights must be finite, and {name} holds NaN or infinity: {file}")


def check_weights_fit(network: nn.Module, weights: Mapping[str, Tensor], file: str | Path) -> None:
    """Compare names and shapes of weights with a network's.

    Raises:
        ValueError: the weights belong to another network.
    """
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    other = {name.removeprefix("module."): tuple(value.shape) for name, value in weights.items()}
    if own == other:
        return
    name = min(name for name in own.keys() | other.keys() if own.get(name) != other.get(name))
    raise ValueError(
        f"the checkpoint was written for another network than the plans describe ({name} is "
        f"{other.get(name, 'missing')} there and {own.get(name, 'missing')} here): {file}"
    )


def _require_harmless(file: str | Path) -> None:
    """Refuse files that can run code, and archives that unpack to more than their own size."""
    with open(file, "rb") as stream:
        start = stream.read(4)
    if start != ZIP:
        if start[:1] == PICKLE or tarfile.is_tarfile(file):
            raise _can_run_code("it is of the format that torch wrote before version 1.6", file)
        raise ValueError(f"the checkpoint cannot be read, it is truncated or no checkpoint: {file}")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        is_program = any(entry.filename.endswith("/constants.pkl") for entry in entries)
        unknown = [] if is_program else _unknown_globals(file)
    except Exception as error:  # a broken archive or pickle can raise anything
        raise ValueError(f"the checkpoint cannot be read, it is truncated or no checkpoint: {file}") from error
    if is_program:
        raise _can_run_code("it is a TorchScript program", file)
    if unknown:
        raise _can_run_code(f"it calls {', '.join(unknown[:3])}", file)
    if sum(entry.file_size for entry in entries) > Path(file).stat().st_size:
        raise ValueError(f"the checkpoint unpacks to more than its own size; it must not be compressed: {file}")


def _unknown_globals(file: str | Path) -> list[str]:
    known = {f"{kind.__module__}.{kind.__qualname__}" for kind in HARMLESS}
    return sorted(set(get_unsafe_globals_in_checkpoint(file)) - known)


def _can_run_code(why: str, file: str | Path) -> ValueError:
    return ValueError(
        f"the checkpoint can run code while it is loaded ({why}), so it is refused; --trust_checkpoint of cfseg "
        f"predict, export and refine_labels allows it, as nnU-Net's own commands always do: {file}"
    )


def _is_dense(value: Tensor) -> bool:
    return (
        value.layout is torch.strided and value.dtype in FLOATING and not value.is_meta and not value.is_nested
        and type(value) in (Tensor, nn.Parameter)
    )  # fmt: skip


def without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the prefix that wrapping a network for several GPUs adds to their names."""
    return {name.removeprefix("module."): value for name, value in weights.items()}
