"""Normalised intensities by hand: what is clipped, shifted and divided by, for each scheme of the plans."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nnunetv2_cfseg.inference.intensity import Intensity, intensity_of

CT = {"mean": 50.0, "std": 25.0, "percentile_00_5": -100.0, "percentile_99_5": 300.0}


def normalised(scheme: str, values: list[float], properties: dict[str, float] | None = None) -> list[float]:
    """Values of one row of voxels, after the scheme."""
    row = np.array(values).reshape(1, 1, -1)
    return intensity_of(scheme, properties or {}, row).normalise(torch.from_numpy(row)).flatten().tolist()


def test_ct_is_clipped_to_the_percentiles_then_shifted_and_divided() -> None:
    assert normalised("CTNormalization", [-1000, -100, 50, 100, 300, 3000], CT) == [-6, -6, 0, 2, 10, 10]


def test_z_scores_use_the_mean_and_the_deviation_of_the_whole_scan() -> None:
    assert normalised("ZScoreNormalization", [-9, 3]) == [-1, 1]  # mean -3, deviation 6
    scan = np.array([[[-9.0, -9.0]], [[3.0, 3.0]]])  # the same, in two planes that do not vary
    intensity = intensity_of("ZScoreNormalization", {}, scan)
    assert (intensity.mean, intensity.std) == (-3, 6)


def test_without_normalisation_values_stay_as_they_are() -> None:
    assert normalised("NoNormalization", [-2000, -0.5, 0, 7, 40000]) == [-2000, -0.5, 0, 7, 40000]


def test_a_scan_of_one_value_is_not_divided_by_zero() -> None:
    assert normalised("ZScoreNormalization", [7, 7]) == [0, 0]
    assert intensity_of("ZScoreNormalization", {}, np.full((2, 1, 1), 7.0)).std == 1e-8
    assert intensity_of("CTNormalization", {**CT, "std": 0.0}, np.zeros((1, 1, 1))).std == 1e-8
    assert intensity_of("CTNormalization", {**CT, "std": 0.25}, np.zeros((1, 1, 1))).std == 0.25


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16])
def test_the_scan_itself_is_not_changed(dtype: torch.dtype) -> None:
    values = torch.tensor([-1000, 100], dtype=dtype)
    assert Intensity(low=-100.0, high=300.0, mean=50.0, std=25.0).normalise(values).dtype == torch.float32
    assert values.tolist() == [-1000, 100]


@pytest.mark.parametrize("scheme", ["", "HistogramNormalization", "RGBTo01Normalization", "znormalization"])
def test_unknown_schemes_are_refused(scheme: str) -> None:
    with pytest.raises(ValueError, match=f"unknown normalisation {scheme} in the plans"):
        intensity_of(scheme, CT, np.zeros((1, 1, 1)))
