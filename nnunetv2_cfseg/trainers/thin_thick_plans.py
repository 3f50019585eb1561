"""What thin-thick training makes of ``cfseg.thin_thick`` in the plans. An ablation is an edit of its ``loss``."""

from __future__ import annotations

from typing import Any

from nnunetv2_cfseg.losses.thin_thick import THICK_TERMS, THIN_TERMS, ThinThickSettings
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection, ThinThickSection
from nnunetv2_cfseg.trainers.sample_slab_blocks import SlabBlocks


def thin_thick_section(configuration: dict[str, Any], *, trainer: str) -> ThinThickSection:
    """The section, which a crop fits.

    Raises:
        ValueError: plans without it, a value out of range, or a crop that is not whole thick centres.
    """
    section = CFSegSection.from_plans(configuration).thin_thick
    if section is None:
        raise ValueError(
            f"{trainer} needs plans for pairs (cfseg plan_and_preprocess -pl ThinThickPlanner, then "
            f"-p nnUNetThinThickPlans), and these have no thin_thick section"
        )
    crop = configuration.get("patch_size")
    depth = crop[0] if isinstance(crop, list) and crop else crop
    if not isinstance(depth, int) or depth < 1 or depth % section.factor:
        raise ValueError(
            f"the crop (patch_size in the plans) must be whole slabs of {section.factor} slices, got {depth}"
        )
    return section


def count_blocks(total: int, section: ThinThickSection, settings: ThinThickSettings) -> SlabBlocks:
    """Blocks of each kind, ``total`` in all, and none that no term of the loss uses.

    Args:
        total: blocks of a crop.
        section: of the plans; says which fractions of all blocks are those of columns, and thick ones.
        settings: of the loss.

    Raises:
        ValueError: too few blocks for one column.
    """
    used = {name for name, weight in settings.weights.items() if weight}
    column = 1 + section.factor
    if "feature" in used and total < column:
        raise ValueError(f"blocks_per_crop in the plans must be >= {column}, thick and thin of a slab, got {total}")
    wanted = max(1, round(total * section.column_fraction / column))
    columns = min(wanted, total // column) if "feature" in used else 0
    left = total - columns * column
    if not used.intersection(THIN_TERMS):
        return SlabBlocks(columns, thick=left, thin=0)
    wanted_thick = max(0, round(total * section.thick_fraction) - columns)
    thick = min(left, wanted_thick) if used.intersection(THICK_TERMS) else 0
    return SlabBlocks(columns, thick=thick, thin=left - thick)
