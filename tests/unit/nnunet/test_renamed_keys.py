"""Old keys of the ``cfseg`` section are read by their new names, with one warning."""

from __future__ import annotations

from typing import Any

import pytest

from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.nnunet.renamed_keys import RENAMED, new_path, with_new_names

OLD = {"cut_share": 0.5, "preset": "x", "thin_thick": {"factor": 2, "thick_share": 0.2}}


def test_keys_are_renamed_in_a_copy() -> None:
    old = {**OLD, "thin_thick": dict(OLD["thin_thick"])}
    assert with_new_names(old) == {
        "border_fraction": 0.5, "preset": "x", "thin_thick": {"factor": 2, "thick_fraction": 0.2},
    }  # fmt: skip
    assert old == OLD


def test_the_warning_comes_once_and_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    with_new_names(OLD)
    with_new_names(OLD)
    (line,) = capsys.readouterr().err.splitlines()
    assert "cut_share is now border_fraction" in line
    assert "thin_thick.thick_share is now thin_thick.thick_fraction" in line
    assert "column_share" not in line


def test_new_names_are_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    section = CFSegSection.planned(blocks_per_crop=1, thin_thick={"factor": 2}).to_plans()
    assert with_new_names(section) == section
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("old", RENAMED)
def test_both_names_are_refused(old: str) -> None:
    *parents, old_key = old.split(".")
    content: dict[str, Any] = {old_key: 0.5, new_path(old).rpartition(".")[2]: 0.5}
    for parent in reversed(parents):
        content = {parent: content}
    with pytest.raises(ValueError, match=rf"^{old} was renamed to {new_path(old)}, and both are there.*: some\.json$"):
        with_new_names(content, file="some.json")


def test_terms_of_the_loss_are_renamed_like_keys() -> None:
    loss = {"operator": "count", "weights": {"slab": 1.0, "thin_consistency": 0.5}}
    section = CFSegSection.from_plans({"cfseg": {"thin_thick": {"factor": 2, "loss": loss}}}).thin_thick
    assert section is not None
    assert section.loss == {"operator": "count", "weights": {"slab": 1.0, "entropy": 0.5}}


@pytest.mark.parametrize("thin_thick", [None, 3, [], "a", {"loss": 3}, {"loss": {"weights": []}}])
def test_what_is_no_mapping_is_left_to_others(thin_thick: Any) -> None:
    assert with_new_names({"thin_thick": thin_thick}) == {"thin_thick": thin_thick}
