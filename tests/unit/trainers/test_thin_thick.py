"""What thin-thick training counts, and the plans it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnunetv2_cfseg.trainers.thin_thick import count_classes
from nnunetv2_cfseg.trainers.thin_thick_plans import read_factor, slab_sampling, thin_thick_section


def configuration(**section: Any) -> dict[str, Any]:
    return {
        "patch_size": [24, 16, 16],
        "cfseg": {"blocks_per_crop": 20, "thin_thick": {"factor": 4, "thick_blocks_per_crop": 3, **section}},
    }


class TestCountClasses:
    def test_labels_and_regions(self) -> None:
        segmentations = [np.array([0, 0, 1, 2]), np.array([2, 2, 0, -1])]
        assert count_classes(segmentations, [0, 1, 2]) == [3, 1, 3]
        assert count_classes(segmentations, [[0, 1, 2], (1, 2), (2,)]) == [7, 4, 3]


class TestPlans:
    def test_the_section(self) -> None:
        assert thin_thick_section(configuration(), trainer="T")["factor"] == 4
        assert slab_sampling(configuration()).blocks_per_crop == 3

    def test_other_plans_are_refused(self) -> None:
        with pytest.raises(ValueError, match="T needs plans for pairs"):
            thin_thick_section({"patch_size": [24, 16, 16], "cfseg": {}}, trainer="T")

    @pytest.mark.parametrize("factor", [1, 0, -2, 2.5, None, "4"])
    def test_a_factor_that_is_none_is_refused(self, factor: object) -> None:
        with pytest.raises(ValueError, match="whole number >= 2"):
            thin_thick_section(configuration(factor=factor), trainer="T")

    def test_a_crop_of_broken_slabs_is_refused(self) -> None:
        with pytest.raises(ValueError, match="whole slabs of 5 slices, got 24"):
            thin_thick_section(configuration(factor=5), trainer="T")

    def test_blocks_must_be_counted(self) -> None:
        plans = configuration()
        del plans["cfseg"]["thin_thick"]["thick_blocks_per_crop"]
        with pytest.raises(ValueError, match="must have thick_blocks_per_crop"):
            slab_sampling(plans)


class TestReadFactor:
    def test_of_a_raw_dataset(self, tmp_path: Any) -> None:
        (tmp_path / "thin_thick.json").write_text('{"factor": 5}')
        assert read_factor(tmp_path) == 5

    def test_a_dataset_without_pairs_is_refused(self, tmp_path: Any) -> None:
        with pytest.raises(ValueError, match="needs a dataset of cfseg make_pairs"):
            read_factor(tmp_path)

    @pytest.mark.parametrize("text", ["{", "[]", "{}"])
    def test_a_broken_one_is_refused(self, tmp_path: Any, text: str) -> None:
        (tmp_path / "thin_thick.json").write_text(text)
        with pytest.raises(ValueError, match="must be JSON with a factor"):
            read_factor(tmp_path)
