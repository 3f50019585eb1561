"""What thin-thick training counts, and the plans it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.losses.thin_thick import TERMS, ThinThickSettings
from nnunetv2_cfseg.trainers.sample_slab_blocks import SlabBlocks
from nnunetv2_cfseg.trainers.thin_thick import column_features, count_classes
from nnunetv2_cfseg.trainers.thin_thick_plans import count_blocks, thin_thick_section


def configuration(**section: Any) -> dict[str, Any]:
    return {
        "patch_size": [24, 16, 16],
        "cfseg": {
            "blocks_per_crop": 20,
            "thin_thick": {"factor": 4, "column_fraction": 0.3, "thick_fraction": 0.2, **section},
        },
    }


class TestCountClasses:
    def test_labels_and_regions(self) -> None:
        segmentations = [np.array([0, 0, 1, 2]), np.array([2, 2, 0, -1])]
        assert count_classes(segmentations, [0, 1, 2]) == [3, 1, 3]
        assert count_classes(segmentations, [[0, 1, 2], (1, 2), (2,)]) == [7, 4, 3]


class TestPlans:
    def test_the_section(self) -> None:
        assert thin_thick_section(configuration(), trainer="T").factor == 4

    def test_other_plans_are_refused(self) -> None:
        with pytest.raises(ValueError, match="T needs plans for pairs"):
            thin_thick_section({"patch_size": [24, 16, 16], "cfseg": {}}, trainer="T")

    @pytest.mark.parametrize("factor", [1, 0, -2, 2.5, None, "4"])
    def test_a_factor_that_is_none_is_refused(self, factor: object) -> None:
        with pytest.raises(ValueError, match=r"^cfseg\.thin_thick\.factor must be .*, got .*: the plans$"):
            thin_thick_section(configuration(factor=factor), trainer="T")

    def test_a_crop_of_broken_slabs_is_refused(self) -> None:
        with pytest.raises(ValueError, match="whole slabs of 5 slices, got 24"):
            thin_thick_section(configuration(factor=5), trainer="T")


class TestLossSettings:
    def settings(self, **section: Any) -> ThinThickSettings:
        return ThinThickSettings.from_plans(thin_thick_section(configuration(**section), trainer="T").loss)

    def test_without_any_are_the_defaults(self) -> None:
        assert self.settings() == ThinThickSettings()

    def test_a_term_of_older_plans_is_read_by_its_new_name(self, capsys: pytest.CaptureFixture[str]) -> None:
        settings = self.settings(loss={"weights": {"slab": 1.0, "thin_consistency": 0.5}, "operator": "copy"})
        assert settings == ThinThickSettings(weights={"slab": 1.0, "entropy": 0.5}, operator="copy")
        assert "weights.thin_consistency is now thin_thick.loss.weights.entropy" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("loss", "message"),
        [
            ({"weights": {"entropy": 1, "thin_consistency": 1}}, "thin_consistency was renamed to .*both are there"),
            ({"weights": [1]}, "a value of another type"),
            ({"weights": {"thin": 1}}, "got thin"),
            ([], "cfseg.thin_thick.loss must be a mapping"),
        ],
    )
    def test_refuse(self, loss: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            self.settings(loss=loss)


class TestCountBlocks:
    def count(self, total: int = 20, section: dict[str, Any] | None = None, **weights: float) -> SlabBlocks:
        plans = thin_thick_section(configuration(**(section or {})), trainer="T")
        return count_blocks(total, plans, ThinThickSettings(weights=weights))

    def test_by_hand(self) -> None:
        assert self.count(thick=1, slab=1, feature=1) == SlabBlocks(columns=1, thick=3, thin=12)

    def test_none_that_no_term_looks_at(self) -> None:
        assert self.count(thick=1, slab=0) == SlabBlocks(columns=0, thick=20, thin=0)
        assert self.count(slab=1) == SlabBlocks(columns=0, thick=0, thin=20)
        assert self.count(thick=1, feature=1) == SlabBlocks(columns=1, thick=15, thin=0)

    @given(
        total=st.integers(5, 200),
        columns=st.floats(0, 1),
        thick=st.floats(0, 1),
        used=st.sets(st.sampled_from(TERMS), min_size=1),
    )
    def test_are_as_many_as_planned(self, total: int, columns: float, thick: float, used: set[str]) -> None:
        section = {"column_fraction": columns, "thick_fraction": thick}
        blocks = self.count(total, section, **dict.fromkeys(used, 1.0))
        assert blocks.columns * 5 + blocks.thick + blocks.thin == total
        assert (blocks.columns > 0) == ("feature" in used)

    def test_fewer_blocks_than_a_column_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"must be >= 5, .*, got 4"):
            self.count(4, feature=1)


class TestColumnFeatures:
    def test_thin_ones_lie_on_top_of_each_other(self) -> None:
        # A crop's blocks: one column and a thick block; r = 2 thin ones of the column, two slices deep, and one more.
        features = torch.arange(5 * 2).float().view(1, 5, 1, 2, 1, 1)
        thick, thin = column_features(features, SlabBlocks(columns=1, thick=1, thin=1), factor=2)
        assert thick.flatten().tolist() == [0, 1]
        assert thin.shape == (1, 1, 4, 1, 1)
        assert thin.flatten().tolist() == [4, 5, 6, 7]
