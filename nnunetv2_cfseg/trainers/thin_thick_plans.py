"""What thin-thick training reads from the plans: ``cfseg.thin_thick`` of a configuration.

``factor`` (thin slices in a thick one), ``threshold`` (fraction of them from which a thick voxel was marked),
``column_share`` and ``thick_share`` (of a crop's blocks, see :func:`count_blocks`) and ``loss``, the arguments of
:class:`~nnunetv2_cfseg.losses.thin_thick.ThinThickSettings`. To run an ablation, edit ``loss``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from nnunetv2_cfseg.data.pairing.settings import MAJORITY, checked_factor, checked_threshold
from nnunetv2_cfseg.losses.thin_thick import THICK_TERMS, THIN_TERMS, ThinThickSettings
from nnunetv2_cfseg.trainers.sample_slab_blocks import SlabBlocks

#: Terms of the loss that older plans name otherwise.
OLD_TERMS = {"thin_consistency": "entropy"}


def thin_thick_section(configuration: dict[str, Any], *, trainer: str) -> dict[str, Any]:
    """The section, with the default threshold where plans have none.

    Raises:
        ValueError: plans without it, a factor below 2, or a crop that is not whole thick centres.
    """
    package_section = configuration.get("cfseg")
    section = package_section.get("thin_thick") if isinstance(package_section, dict) else None
    if section is None:
        raise ValueError(
            f"{trainer} needs plans for pairs (cfseg plan_and_preprocess -pl ThinThickPlanner, then "
            f"-p nnUNetThinThickPlans), and these have no thin_thick section"
        )
    if not isinstance(section, dict):
        raise ValueError(f"thin_thick in the plans must be a JSON object, got {section!r}")
    factor = checked_factor(section.get("factor"), "plans")
    threshold = checked_threshold(section.get("threshold", MAJORITY), "plans")
    crop = configuration.get("patch_size")
    depth = crop[0] if isinstance(crop, list) and crop else crop
    if not isinstance(depth, int) or depth < 1 or depth % factor:
        raise ValueError(f"the crop (patch_size in the plans) must be whole slabs of {factor} slices, got {depth}")
    return {**section, "threshold": threshold}


def loss_settings(section: Mapping[str, Any]) -> ThinThickSettings:
    """The settings of the loss; a term that older plans name otherwise is read with a warning.

    Args:
        section: ``cfseg.thin_thick`` of a configuration.

    Raises:
        ValueError: an entry of ``loss`` that does not exist, or one out of range.
    """
    loss = section.get("loss", {})
    weights = loss.get("weights") if isinstance(loss, Mapping) else None
    if isinstance(weights, Mapping):
        for old, new in OLD_TERMS.items():
            if old in weights and new not in weights:
                message = f"{old} in the plans' loss.weights is now called {new}"
                warnings.warn(message, FutureWarning, stacklevel=2)
                weights = {new if name == old else name: weight for name, weight in weights.items()}
        loss = {**loss, "weights": weights}
    return ThinThickSettings.from_plans(loss)


def count_blocks(total: int, section: dict[str, Any], settings: ThinThickSettings) -> SlabBlocks:
    """Blocks of each kind, ``total`` in all, and none that no term of the loss uses.

    Args:
        total: blocks of a crop.
        section: of the plans; ``column_share`` of all blocks are those of columns, and ``thick_share`` are thick ones.
        settings: of the loss.

    Raises:
        ValueError: a missing share, one that is not in [0, 1], or too few blocks for one column.
    """
    for name in ("column_share", "thick_share"):
        share = section.get(name)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"{name} in the plans' thin_thick section must be between 0 and 1, got {share}")
    used = {name for name, weight in settings.weights.items() if weight}
    column = 1 + section["factor"]
    if "feature" in used and total < column:
        raise ValueError(f"blocks_per_crop in the plans must be >= {column}, thick and thin of a slab, got {total}")
    wanted = max(1, round(total * section["column_share"] / column))
    columns = min(wanted, total // column) if "feature" in used else 0
    left = total - columns * column
    if not used.intersection(THIN_TERMS):
        return SlabBlocks(columns, thick=left, thin=0)
    thick = min(left, max(0, round(total * section["thick_share"]) - columns)) if used.intersection(THICK_TERMS) else 0
    return SlabBlocks(columns, thick=thick, thin=left - thick)
