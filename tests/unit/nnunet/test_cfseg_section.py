"""The ``cfseg`` section: defaults, checks, and what planners write is what everyone reads."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection, ThinThickSection, keys_as_markdown

FRACTIONS = st.floats(0, 0.5)
SECTIONS = st.fixed_dictionaries(
    {"foreground_fraction": FRACTIONS, "hard_background_fraction": FRACTIONS, "border_fraction": st.floats(0, 1)},
    optional={
        "preset": st.sampled_from(["default", "paper"]),
        "blocks_per_crop": st.integers(1, 1000),
        "foreground_hu": st.just((-80.0, 300.5)),
        "mirror_axes": st.sets(st.integers(0, 2)).map(tuple),
        "storage_order": st.sampled_from(["LPS", "RAS"]),
        "hounsfield_jitter": st.booleans(),
        "thin_thick": st.fixed_dictionaries({"factor": st.integers(2, 20)}, optional={"threshold": st.just(0.25)}),
    },
)


@given(SECTIONS)
def test_what_planners_write_is_what_is_read(values: dict[str, Any]) -> None:
    section = CFSegSection.planned(**values)
    assert CFSegSection.from_plans({"cfseg": section.to_plans()}) == section
    assert ("thin_thick" in section.to_plans()) == ("thin_thick" in values)


def test_new_plans_hold_the_defaults() -> None:
    assert CFSegSection.planned(blocks_per_crop=8).to_plans() == {
        "preset": None,
        "blocks_per_crop": 8,
        "foreground_fraction": 0.5,
        "hard_background_fraction": 0.25,
        "border_fraction": 0.25,
        "foreground_hu": None,
        "mirror_axes": [],
        "storage_order": None,
        "hounsfield_jitter": True,
    }
    assert ThinThickSection(factor=3).model_dump() == {
        "factor": 3, "threshold": 0.5, "column_fraction": 0.3, "thick_fraction": 0.1, "loss": {},
    }  # fmt: skip


def test_plans_from_before_hard_background_was_drawn_draw_none() -> None:
    assert CFSegSection.from_plans({"cfseg": {}}).hard_background_fraction == 0
    assert CFSegSection.from_plans({}).hard_background_fraction == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("foreground_fraction", "hard_background_fraction", "border_fraction")
          for value in (-0.01, 1.01, math.nan, None, "0.5", True)),
        *(("blocks_per_crop", value) for value in (0, 100_001, 2.5, "8", True)),
        *(("mirror_axes", value) for value in ([3], [-1], [0, 0], [True], [1.0], None, "2")),
        *(("foreground_hu", value) for value in ([1], [2, 1], [0, 0], [0, math.inf], [0, True], "ab")),
        *(("storage_order", value) for value in ("LPX", "LP", 3)),
        *(("hounsfield_jitter", value) for value in (1, "yes", None)),
        ("thin_thick", 3),
        *(("thin_thick", {"factor": value}) for value in (1, 1001, 2.5, "4", None, True)),
        *(("thin_thick", {"factor": 2, key: value}) for key in ("threshold", "column_fraction", "thick_fraction")
          for value in (-0.1, 1.1, None, "a")),
        ("thin_thick", {"factor": 2, "threshold": 0}),
        ("thin_thick", {"factor": 2, "loss": []}),
        ("thin_thick", {}),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named_with_its_file(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^here\.cfseg\.{key}[^\n]*: some\.json$"):
        CFSegSection.from_plans({"cfseg": {key: value}}, file="some.json", at="here.cfseg")


@pytest.mark.parametrize("fraction", [0, 1])
def test_the_ends_of_the_range_are_taken(fraction: int) -> None:
    section = CFSegSection.from_plans({"cfseg": {"foreground_fraction": fraction, "border_fraction": fraction}})
    assert (section.foreground_fraction, section.border_fraction) == (fraction, fraction)


def test_fractions_that_are_more_than_all_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 1 together, got 0.8 and 0.3: some\.json$"):
        CFSegSection.from_plans(
            {"cfseg": {"foreground_fraction": 0.8, "hard_background_fraction": 0.3}}, file="some.json"
        )


@pytest.mark.parametrize("section", [None, 3, [], "a"])
def test_a_section_that_is_none_is_refused(section: Any) -> None:
    with pytest.raises(ValueError, match=r"^cfseg must be a mapping, got .*: some\.json$"):
        CFSegSection.from_plans({"cfseg": section}, file="some.json")


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        CFSegSection().border_fraction = 1.0  # type: ignore[misc]


def test_the_table_has_every_key_with_its_meaning() -> None:
    table = keys_as_markdown()
    for at, model in (("", CFSegSection), ("thin_thick.", ThinThickSection)):
        for name, field in model.model_fields.items():
            assert field.description
            assert f"| `{at}{name}` |" in table
    assert "| `hard_background_fraction` | number | `0.25` |" in table
    assert "| `thin_thick.factor` | integer | must be there |" in table
    assert "None" not in table
