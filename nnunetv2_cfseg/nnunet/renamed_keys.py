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
    """The section with today's names; a warning, once in a process, names the old ones.

    Raises:
        ValueError: a key has both its old and its new name.
    """
    content = dict(section)
    renamed = [f"{old} is now {new}" for old, new in RENAMED.items() if _rename(content, old, new, file)]
    if renamed:
        say(f"these plans are from an earlier version, in which keys of the cfseg section had other names: "
            f"{', '.join(renamed)}")  # fmt: skip
    return content


def new_path(path: str) -> str:
    """Today's name for a path in the section, which may be an old or a new one."""
    return RENAMED.get(path, path)


def _rename(content: dict[str, Any], old: str, new: str, file: str) -> bool:
    """Rename a key of nested mappings, which are copied on the way, and return whether it was there."""
    *parents, old_key = old.split(".")
    new_key = new.rpartition(".")[2]
    mapping = content
    for parent in parents:
        if not isinstance(mapping.get(parent), Mapping):
            return False
        inner = dict(mapping[parent])
        mapping[parent] = inner
        mapping = inner
    if old_key not in mapping:
        return False
    if new_key in mapping:
        raise ValueError(f"{old} was renamed to {new}, and both are there; remove {old}: {file}")
    mapping[new_key] = mapping.pop(old_key)
    return True
