"""What a JSON or YAML file must hold, looked at once, when it is read.

A file is described by a :class:`Document`. Keys that it does not name are allowed, as nnU-Net writes many. What does
not fit ends as one ``ValueError`` that names the key, its value and the file.

pydantic comes with nnU-Net (by way of blosc2) and takes 0.1 s to import, beside the 1 to 2 s of torch.
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
    """JSON may have made a float of a whole number, and nnU-Net's older files text."""
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
        ValueError: no such file, no JSON object, or an entry that does not fit.
        OSError: it cannot be read.
    """
    return check_document(read_json(file, limit_bytes=limit_bytes), kind, str(file))


def check_document(content: Mapping[str, Any], kind: type[D], file: str, *, at: str = "") -> D:
    """Look at what is read already.

    Args:
        file: that it is of, for the message.
        at: keys that lead to it in the file, with dots between them.

    Raises:
        ValueError: an entry that is missing or does not fit.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        keys = ".".join([*([at] if at else []), *map(_key, first["loc"])])
        raise ValueError(f"{_said(first, keys)}: {file}") from None
    except RecursionError:
        raise ValueError(f"it is nested too deeply: {file}") from None


def _said(error: Any, keys: str) -> str:
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
    """An error's message, cut where it is long."""
    text = str(error)
    return text if len(text) <= 300 else f"{text[:297]}..."


def short(value: Any) -> str:
    """A value as a message may show it, however large it is."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python does not write numbers of thousands of digits
        return "a number of thousands of digits"
