"""What thin-thick training reads from the plans: ``cfseg.thin_thick`` of a configuration.

``factor`` (thin slices in a thick one), ``thick_blocks_per_crop`` and ``loss``, the arguments of
:class:`~nnunetv2_cfseg.losses.thin_thick.ThinThickSettings`. An ablation is an edit of ``loss``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.data.blocks import BlockSampling
from nnunetv2_cfseg.data.pairing.sidecar import SIDECAR
from nnunetv2_cfseg.trainers.plans import block_sampling


def read_factor(raw_dataset: Path) -> int:
    """Thin slices in a thick one, from a raw dataset's ``thin_thick.json``.

    Raises:
        ValueError: there is none, or it does not say.
    """
    file = raw_dataset / SIDECAR
    if not file.is_file():
        raise ValueError(f"thin-thick training needs a dataset of cfseg make_pairs, and one has a {SIDECAR}: {file}")
    try:
        factor = json.loads(file.read_text())["factor"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{SIDECAR} must be JSON with a factor ({error!r}): {file}") from error
    return checked_factor(factor, str(file))


def checked_factor(factor: Any, file: str) -> int:
    """A number of thin slices in a thick one.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(factor, int) or factor < 2:
        raise ValueError(f"the factor must be a whole number >= 2, got {factor!r}: {file}")
    return factor


def thin_thick_section(configuration: dict[str, Any], *, trainer: str) -> dict[str, Any]:
    """The section.

    Raises:
        ValueError: plans without it, a factor below 2, or a crop that is not whole thick centres.
    """
    section = configuration.get("cfseg", {}).get("thin_thick")
    if section is None:
        raise ValueError(
            f"{trainer} needs plans for pairs (cfseg plan_and_preprocess -pl ThinThickPlanner, then "
            f"-p nnUNetThinThickPlans), and these have no thin_thick section"
        )
    factor = checked_factor(section.get("factor"), "plans")
    depth = configuration["patch_size"][0]
    if depth % factor:
        raise ValueError(f"the crop (patch_size in the plans) must be whole slabs of {factor} slices, got {depth}")
    return section


def slab_sampling(configuration: dict[str, Any]) -> BlockSampling:
    """How thick blocks are drawn.

    Raises:
        ValueError: a missing entry, or one out of range.
    """
    section = configuration["cfseg"]["thin_thick"]
    if "thick_blocks_per_crop" not in section:
        raise ValueError(
            f"the thin_thick section of the plans must have thick_blocks_per_crop, and has {sorted(section)}"
        )
    return replace(block_sampling(configuration), blocks_per_crop=section["thick_blocks_per_crop"])
