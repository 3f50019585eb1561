"""A scan read slice by slice against normalising and resampling it whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from nnunetv2_cfseg.inference.intensity import Intensity, intensity_of
from nnunetv2_cfseg.inference.resampled_scan import ResampledScan
from nnunetv2_cfseg.inference.resampling import linear_map

CT = {"mean": 30.0, "std": 20.0, "percentile_00_5": -1024.0, "percentile_99_5": 3071.0}
sizes = st.tuples(*[st.integers(1, 9)] * 3)


@given(old=sizes, new=sizes, dtype=st.sampled_from(["i2", ">i2", "u2", "f4", "f8", "i4"]), depth=st.integers(1, 5))
def test_normalised_then_interpolated(
    old: tuple[int, int, int], new: tuple[int, int, int], dtype: str, depth: int
) -> None:
    raw = np.random.default_rng(0).integers(0, 4000, old).astype(dtype)
    z, y, x = (linear_map(a, b) for a, b in zip(old, new, strict=True))
    slices = ResampledScan([raw], (z, y, x), [intensity_of("CTNormalization", CT, raw)])
    normalised = (torch.from_numpy(np.clip(raw.astype("f4"), -1024, 3071)) - 30) / 20
    expected = F.interpolate(normalised[None, None], new, mode="trilinear", align_corners=False)[0]
    read = torch.cat([slices.read(start, min(start + depth, new[0])) for start in range(0, new[0], depth)], dim=1)
    assert slices.shape == new
    torch.testing.assert_close(read, expected, atol=2e-3, rtol=1e-4)


def test_axes_may_be_those_of_a_view() -> None:
    raw = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    maps = (linear_map(4, 4), linear_map(3, 3), linear_map(2, 2))
    read = ResampledScan([raw.transpose(2, 1, 0)], maps, [Intensity()]).read(1, 3)
    assert torch.equal(read[0], torch.from_numpy(raw.transpose(2, 1, 0)[1:3].astype("f4")))


def test_no_slices() -> None:
    maps = (linear_map(3, 5), linear_map(3, 5), linear_map(3, 5))
    assert ResampledScan([np.zeros((3, 3, 3))], maps, [Intensity()]).read(0, 0).shape == (1, 0, 5, 5)


def test_z_score_and_none() -> None:
    raw = np.array([[[1.0, 3.0]]])
    assert intensity_of("ZScoreNormalization", {}, raw).normalise(torch.from_numpy(raw)).tolist() == [[[-1, 1]]]
    assert intensity_of("NoNormalization", {}, raw) == Intensity()
    with pytest.raises(ValueError, match="unknown normalisation RGBTo01Normalization in the plans"):
        intensity_of("RGBTo01Normalization", {}, raw)
