"""Keys of the plans' ``cfseg`` section that had other names in earlier versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2_cfseg.imaging.notices import say

#: Old names and new ones, as paths in the section. Only a path's last part may change.
RENAMED: dict[str, str] = {
    "foreground_share": "foreground_fraction",
    "lookalike_share": "hard_background_fraction",
    "cut_share": "border_fraction",
    "thin_thick.column_share": "thin_thick.column_fraction",
    "thin_thick.thick_share": "thin_thick.thick_fraction",
    "thin_thick.loss.weights.thin_consistency": "thin_thick.loss.weights.entropy",
}


def with_new_names(section: Mapping[str, Any], *, file: str = "the plans") -> dict[str, Any]:
    """The section with today's names; what it had by others is said once in a process.

    Raises:
        ValueError: a key is there by its old and by its new name.
    """
    content = dict(section)
    renamed = [f"{old} is now {new}" for old, new in RENAMED.items() if _rename(content, old, new, file)]
    if renamed:
        say(f"plans of an earlier version are read, in which keys of the cfseg section had other names: "
            f"{', '.join(renamed)}")  # fmt: skip
    return content


def new_path(path: str) -> str:
    """Today's name of a path in the section, which may be an old one."""
    return RENAMED.get(path, path)


def _rename(content: dict[str, Any], old: str, new: str, file: str) -> bool:
    """Rename a key of nested mappings, which are copied on the way; whether it was there."""
    *parents, old_key = old.split(".")
    new_key = new.rpartition(".")[2]
    place = content
    for parent in parents:
        if not isinstance(place.get(parent), Mapping):
            return False
        inner = dict(place[parent])
        place[parent] = inner
        place = inner
    if old_key not in place:
        return False
    if new_key in place:
        raise ValueError(f"{old} was renamed to {new}, and both are there; remove {old}: {file}")
    place[new_key] = place.pop(old_key)
    return True
