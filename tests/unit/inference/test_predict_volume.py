"""Averaging over mirrors, grids and folds, and the box that nnU-Net crops to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from nnunetv2_cfseg.inference.inference_plan import read_inference_plan
from nnunetv2_cfseg.inference.lazy_volumes import InMemoryVolume, read_all
from nnunetv2_cfseg.inference.predict_volume import (
    PredictionSettings,
    foreground_of,
    grid_shifts,
    logits_of,
    mirrors,
    nonzero_box,
    predict_volume,
)
from nnunetv2_cfseg.networks import BlockCenterTransformer

Build = Callable[..., BlockCenterTransformer]
SCAN = torch.randn(1, 9, 10, 11, generator=torch.Generator().manual_seed(0))


def dense(network: BlockCenterTransformer, scan: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(scan[None])[0]


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_folds_and_mirrors_are_averaged(network: Build) -> None:
    first, second = network(), network(depth=1)
    logits = read_all(logits_of(InMemoryVolume(SCAN), [first, second], PredictionSettings(mirror_axes=(0, 2))))
    expected = [
        dense(net, SCAN.flip([axis + 1 for axis in axes])).flip([axis + 1 for axis in axes])
        for net in (first, second)
        for axes in ((), (0,), (2,), (0, 2))
    ]
    close(logits, torch.stack(expected).mean(0))


def test_grids_of_blocks_are_moved_by_fractions_of_a_patch(network: Build) -> None:
    net = network(patch_size=(2, 4, 4))
    assert grid_shifts(net, 1) == [(0, 0, 0)]
    assert grid_shifts(net, 2) == [(0, 0, 0), (1, 2, 2)]
    moved = dense(net, torch.nn.functional.pad(SCAN, (2, 0, 2, 0, 1, 0)))[:, 1:, 2:, 2:]
    logits = read_all(logits_of(InMemoryVolume(SCAN), [net], PredictionSettings(shifts=2)))
    close(logits, (dense(net, SCAN) + moved) / 2)


def test_all_combinations_of_mirrors() -> None:
    assert mirrors(()) == [()]
    assert mirrors((0, 2)) == [(), (0,), (2,), (0, 2)]


def test_the_box_of_what_is_not_zero() -> None:
    one, other = np.zeros((5, 6, 7)), np.zeros((5, 6, 7))
    assert nonzero_box([one]) == (slice(None),) * 3
    one[1, 2, 3], other[3, 2, 0] = 1, -1
    assert nonzero_box([one, other]) == (slice(1, 4), slice(2, 3), slice(0, 4))


def test_the_range_of_foreground_is_that_of_the_plans(plans_of: Callable[..., dict], dataset_json: dict) -> None:
    configuration = read_inference_plan(plans_of(), dataset_json, "3d_fullres")
    foreground = foreground_of(configuration)
    assert foreground is not None
    assert (foreground.low, foreground.high) == ([-2.4], [9.6])  # (-200 - 40) / 100 and (1000 - 40) / 100
    assert foreground.background == [10.0, -10.0, -10.0]
    assert foreground_of(replace(configuration, foreground_hu=None)) is None
    assert foreground_of(replace(configuration, normalization=("ZScoreNormalization",))) is None
    regions = replace(configuration, regions_class_order=(1, 2))
    assert foreground_of(regions).background == [-10.0, -10.0]  # type: ignore[union-attr]


def test_air_is_background(plans_of: Callable[..., dict], dataset_json: dict, network: Build) -> None:
    configuration = read_inference_plan(plans_of(), dataset_json, "3d_fullres")
    torch.manual_seed(0)
    net = BlockCenterTransformer(1, 3, **configuration.network).eval()
    scan = np.full((40, 12, 16), -1000, np.int16)
    scan[:4] = np.random.default_rng(0).normal(40, 100, (4, 12, 16))
    with_air = predict_volume([scan], (2.0, 1.5, 1.5), [net], configuration, PredictionSettings(skip_air=False))
    without = predict_volume([scan], (2.0, 1.5, 1.5), [net], configuration, PredictionSettings())
    assert np.array_equal(with_air[:4], without[:4])
    assert not without[10:].any()
    assert with_air[10:].any()  # an untrained network finds something in air


def test_progress_counts_slices(plans_of: Callable[..., dict], dataset_json: dict) -> None:
    configuration = read_inference_plan(plans_of(), dataset_json, "3d_fullres")
    net = BlockCenterTransformer(1, 3, **configuration.network).eval()
    counts: list[int] = []
    predict_volume(
        [SCAN[0].numpy()], (1.0, 1.0, 1.0), [net], configuration, PredictionSettings(), progress=counts.append
    )
    assert sum(counts) == 9


def test_a_scan_of_next_to_nothing_is_refused(plans_of: Callable[..., dict], dataset_json: dict) -> None:
    configuration = read_inference_plan(plans_of(), dataset_json, "3d_fullres")
    net = BlockCenterTransformer(1, 3, **configuration.network).eval()
    with pytest.raises(ValueError, match=r"at least half a voxel of the plans.*got \(0.5, 9.0, 9.0\) mm"):
        predict_volume([np.ones((1, 9, 9))], (0.5, 1.0, 1.0), [net], configuration, PredictionSettings())


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="shifts must be >= 1, got 0"):
        PredictionSettings(shifts=0)
    with pytest.raises(ValueError, match="chunk_blocks must be >= 1, got 0"):
        PredictionSettings(chunk_blocks=0)
