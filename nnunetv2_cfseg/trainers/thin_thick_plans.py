"""How thin-thick training reads ``cfseg.thin_thick`` in the plans. An ablation is an edit of its ``loss``."""

from __future__ import annotations

from typing import Any

from nnunetv2_cfseg.losses.thin_thick import THICK_TERMS, THIN_TERMS, ThinThickSettings
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection, ThinThickSection
from nnunetv2_cfseg.trainers.sample_slab_blocks import SlabBlocks


def thin_thick_section(configuration: dict[str, Any], *, trainer: str) -> ThinThickSection:
    """Return the section after checking that the crop fits it.

    Raises:
        ValueError: the plans have no such section, a value is out of range, or the crop is not whole slabs.
    """
    section = CFSegSection.from_plans(configuration).thin_thick
    if section is None:
        raise ValueError(
            f"{trainer} needs plans for pairs (cfseg plan_and_preprocess -pl ThinThickPlanner, then "
            f"-p nnUNetThinThickPlans), but these have no thin_thick section"
        )
    crop = configuration.get("patch_size")
    depth = crop[0] if isinstance(crop, list) and crop else crop
    if not isinstance(depth, int) or depth < 1 or depth % section.factor:
        raise ValueError(
            f"the crop (patch_size in the plans) must be whole slabs of {section.factor} slices, got {depth}"
        )
    return section


def count_blocks(total: int, section: ThinThickSection, settings: ThinThickSettings) -> SlabBlocks:
    """Split ``total`` blocks into the kinds that terms of the loss use.

    Args:
        total: blocks of a crop.
        section: of the plans; has the fractions of all blocks that are in columns and that are thick.
        settings: of the loss.

    Raises:
        ValueError: too few blocks for one column.
    """
    used = {name for name, weight in settings.weights.items() if weight}
    column = 1 + section.factor
    if "feature" in used and total < column:
        raise ValueError(
            f"blocks_per_crop in the plans must be >= {column}, a thick block and its thin ones, got {total}"
        )
    wanted = max(1, round(total * section.column_fraction / column))
    columns = min(wanted, total // column) if "feature" in used else 0
    left = total - columns * column
    if not used.intersection(THIN_TERMS):
        return SlabBlocks(columns, thick=left, thin=0)
    wanted_thick = max(0, round(total * section.thick_fraction) - columns)
    thick = min(left, wanted_thick) if used.intersection(THICK_TERMS) else 0
    return SlabBlocks(columns, thick=thick, thin=left - thick)
