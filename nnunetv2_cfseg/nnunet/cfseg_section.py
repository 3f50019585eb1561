"""The ``cfseg`` section of a configuration in the plans: all keys that this package adds to nnU-Net's own.

Planners write it (:meth:`CFSegSection.to_plans`); trainers, the preprocessor and prediction read it
(:meth:`CFSegSection.from_plans`). A field's default is what planners write unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, field_validator, model_validator

from nnunetv2_cfseg.files.schema import Document, Real, check_document, short
from nnunetv2_cfseg.imaging.orientation import checked_order
from nnunetv2_cfseg.nnunet.plans import Hounsfield, Window
from nnunetv2_cfseg.nnunet.renamed_keys import with_new_names

SECTION = "cfseg"
#: More blocks than any machine trains on in a step.
MOST_BLOCKS = 100_000
MOST_FACTOR = 1000
#: Default fraction of a thick slice that must be lesion before annotators mark it.
MAJORITY = 0.5
#: Fraction of the crops around a foreground voxel in plans of CompactPlanner.
COMPACT_FOREGROUND_FRACTION = 0.67
#: Values for plans that lack a key because they are older than it, if today's default is another.
BEFORE_THE_KEY: Mapping[str, Any] = {"hard_background_fraction": 0.0}

#: Keys that are left out of plans that have nothing to say there.
OPTIONAL = ("windows", "thin_thick")

Fraction = Annotated[Real, Field(ge=0, le=1)]


def _order(value: Any) -> str:
    try:
        return checked_order(value)
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError("must be three letters such as LPS or RAS, one of each of L/R, P/A and S/I") from error


class ThinThickSection(Document):
    """``cfseg.thin_thick``, which ``ThinThickPlanner`` adds for training on pairs."""

    factor: StrictInt = Field(ge=2, le=MOST_FACTOR, description="thin slices in a thick one")
    threshold: Annotated[Real, Field(gt=0, le=1)] = Field(
        MAJORITY, description="fraction of a thick slice that must be lesion before annotators mark it"
    )
    column_fraction: Fraction = Field(
        0.3, description="fraction of a crop's blocks that are columns, a thick block and the thin ones it averages"
    )
    thick_fraction: Fraction = Field(0.1, description="fraction of a crop's blocks that are thick")
    loss: dict[str, Any] = Field(
        default_factory=dict, description="arguments of the thin-thick loss; what is left out has the loss's default"
    )


class CFSegSection(Document):
    """The section; every value is checked on construction.

    Raises:
        ValueError: pydantic's, if a value is out of range; :meth:`from_plans` and :meth:`planned` raise one sentence.
    """

    preset: str | None = Field(None, description="preset that the network was planned with; for the record")
    blocks_per_crop: Annotated[StrictInt, Field(ge=1, le=MOST_BLOCKS)] | None = Field(
        None, description="blocks that training draws from a crop; training needs it, prediction does not"
    )
    foreground_fraction: Fraction = Field(
        0.5, description="fraction of the blocks whose centre holds a foreground voxel, its class drawn evenly"
    )
    hard_background_fraction: Fraction = Field(
        0.25, description="fraction of the blocks whose centre holds background within foreground_hu"
    )
    border_fraction: Fraction = Field(
        0.25, description="fraction of the blocks that may reach beyond the crop's border"
    )
    foreground_hu: tuple[Hounsfield, Hounsfield] | None = Field(
        None, description="between which HU nearly all foreground lies; null where the first channel is no CT"
    )
    mirror_axes: tuple[Annotated[StrictInt, Field(ge=0, le=2)], ...] = Field(
        (), description="axes (0 z, 1 y, 2 x) along which training mirrors, and prediction may"
    )
    storage_order: Annotated[str, BeforeValidator(_order)] | None = Field(
        None, description="where the axes of the training files run to, such as LPS; null if it is not known"
    )
    hounsfield_jitter: StrictBool = Field(
        True, description="shift, scale and noise in HU instead of nnU-Net's changes of intensity; for CT alone"
    )
    windows: Annotated[list[Window | None], Field(max_length=100)] | None = Field(
        None, description="windows of each channel for nnUNetTrainerCompact; other networks have them in arch_kwargs"
    )
    thin_thick: ThinThickSection | None = Field(None, description="training on pairs of thin and thick slices")

    @field_validator("foreground_hu")
    @classmethod
    def _check_ends(cls, ends: tuple[float, float] | None) -> tuple[float, float] | None:
        if ends is not None and ends[0] >= ends[1]:
            raise ValueError("must be two numbers, the lower one first")
        return ends

    @field_validator("mirror_axes")
    @classmethod
    def _check_distinct(cls, axes: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(axes)) < len(axes):
            raise ValueError("must be different ones of 0, 1 and 2 (z, y, x)")
        return axes

    @model_validator(mode="after")
    def _check_sum(self) -> CFSegSection:
        if self.foreground_fraction + self.hard_background_fraction > 1:
            raise ValueError(
                f"foreground_fraction and hard_background_fraction must be at most 1 together, got "
                f"{self.foreground_fraction} and {self.hard_background_fraction}"
            )
        return self

    @classmethod
    def planned(cls, **values: Any) -> CFSegSection:
        """Make the section of new plans.

        Raises:
            ValueError: a value is out of range.
        """
        return check_document(values, cls, "new plans", at=SECTION)

    @classmethod
    def from_plans(
        cls, configuration: Mapping[str, Any], *, file: str = "the plans", at: str = SECTION
    ) -> CFSegSection:
        """Read the section of a configuration that includes what it inherits.

        Keys of earlier versions are read with a warning. A missing key means what it meant to the version that made
        the plans.

        Args:
            file: that the plans are from, for messages.
            at: keys that lead to the section, for messages.

        Raises:
            ValueError: the section is no mapping, a value is out of range, or a key is there by its old and new name.
        """
        section = configuration.get(SECTION, {})
        if not isinstance(section, Mapping):
            raise ValueError(f"{at} must be a mapping, got {short(section)}: {file}")
        return check_document({**BEFORE_THE_KEY, **with_new_names(section, file=file)}, cls, file, at=at)

    def to_plans(self) -> dict[str, Any]:
        """Plain values for a configuration of the plans; keys of :data:`OPTIONAL` are left out if they are None."""
        content = self.model_dump(mode="json")
        return {key: value for key, value in content.items() if value is not None or key not in OPTIONAL}
