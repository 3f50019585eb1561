"""Checks what a JSON or YAML file holds, once, when it is read.

A :class:`Document` describes a file. Keys that it does not name are allowed, because nnU-Net writes many. The first
entry that does not fit raises a ``ValueError`` that names the key, its value and the file.

pydantic comes with nnU-Net (through blosc2) and takes 0.1 s to import, compared with 1 to 2 s for torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nnunetv2_cfseg.files.plain_name import file_ending, fold_name, plain_name
from nnunetv2_cfseg.files.text_files import JSON_LIMIT_BYTES, read_json

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60

D = TypeVar("D", bound="Document")


class Document(BaseModel):
    """The part of a file, or of an object in it, that is read."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, allow_inf_nan=False, protected_namespaces=(), hide_input_in_errors=True
    )


def _whole(value: Any) -> int:
    """A whole number, also as a float, which JSON may make of it, or as text, as in older files of nnU-Net."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and len(value) < 20 and value.removeprefix("-").isdigit():
        return int(value)
    raise ValueError("must be a whole number")


def _real(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value):
        return float(value)
    raise ValueError("must be a finite number")


def _checked_by(check: Callable[[Any, str], str]) -> BeforeValidator:
    def validate(value: Any) -> str:
        try:
            return check(value, "")
        except ValueError as error:
            raise ValueError(str(error).strip().split(", got ")[0]) from error

    return BeforeValidator(validate)


Whole = Annotated[int, BeforeValidator(_whole)]
Real = Annotated[float, BeforeValidator(_real)]
PlainName = Annotated[str, _checked_by(plain_name)]
FileEnding = Annotated[str, _checked_by(file_ending)]
FoldName = Annotated[str, _checked_by(fold_name)]
Count = Annotated[Whole, Field(ge=1)]


def read_document(file: Path, kind: type[D], *, limit_bytes: int = JSON_LIMIT_BYTES) -> D:
    """Read a JSON file.

    Raises:
        ValueError: there is no such file, it is no JSON object, or an entry does not fit.
        OSError: it cannot be read.
    """
    return check_document(read_json(file, limit_bytes=limit_bytes), kind, str(file))


def check_document(content: Mapping[str, Any], kind: type[D], file: str, *, at: str = "") -> D:
    """Check content that has been read already.

    Args:
        file: that it is from, for the message.
        at: keys that lead to it in the file, with dots between them.

    Raises:
        ValueError: an entry is missing or does not fit.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        keys = ".".join([*([at] if at else []), *map(_key, first["loc"])])
        raise ValueError(f"{_message(first, keys)}: {file}") from None
    except RecursionError:
        raise ValueError(f"it is nested too deeply: {file}") from None


def _message(error: Any, keys: str) -> str:
    if error["type"] == "missing":
        return f"{keys} is missing"
    rule = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    rule = re.sub("must be a valid dictionary.*", "must be a mapping", rule)
    if error["type"] in ("too_long", "too_short"):
        limits = error["ctx"]
        limit = f"at least {limits['min_length']}" if "min_length" in limits else f"at most {limits['max_length']}"
        return f"{keys} must have {limit} entries, got {short(error['input'])}"
    if error["type"] == "string_too_long":
        return f"{keys} must have at most {error['ctx']['max_length']} characters, got {short(error['input'])}"
    value = short(error["input"])
    if rule.startswith("must "):
        return f"{keys or 'it'} {rule}, got {value}"
    return f"{keys} is wrong: {rule}" if keys else rule


def _key(key: object) -> str:
    text = str(key)
    return text if len(text) <= 60 else f"{text[:57]}..."


def first_words(error: BaseException) -> str:
    """An error's message, cut to 300 characters."""
    text = str(error)
    return text if len(text) <= 300 else f"{text[:297]}..."


def short(value: Any) -> str:
    """A value for a message, shortened if it is large."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python does not convert numbers of thousands of digits to text
        return "a number of thousands of digits"
