"""Scans that end where the patient does not, and scans of next to nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg.cli import main
from nnunetv2_cfseg.inference.inference_plan import read_inference_plan
from nnunetv2_cfseg.inference.predict_volume import PredictionSettings, predict_volume, shorter_than_block
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.beyond_scan import MODES

Write = Callable[..., Path]
PlansOf = Callable[..., dict[str, Any]]
FAST = ["-device", "cpu", "--precision", "float32", "--disable_progress_bar"]


def network(mode: str) -> BlockCenterTransformer:
    torch.manual_seed(0)
    windows = [{"mean": 40.0, "std": 100.0, "windows_hu": [(-160, 240), (-1000, 1000)]}]
    return BlockCenterTransformer(
        1, 3, patch_size=(2, 3, 4), block_patches=4, center_patches=2, embed_dim=12, depth=2, num_heads=2,
        norm="pre", activation="gelu", decoder="voxel", windows=windows, beyond_scan=mode,
    ).eval()  # fmt: skip


def predict(scan: Path, out: Path, model: Path, *arguments: object) -> np.ndarray:
    assert main(["predict", "-i", str(scan), "-o", str(out), "-m", str(model), *map(str, arguments), *FAST]) == 0
    return sitk.GetArrayFromImage(sitk.ReadImage(str(out / scan.name.replace("_0000", ""))))


def write(values: np.ndarray, file: Path, direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)) -> Path:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.5, 1.5, 2.0))
    image.SetDirection(direction)
    file.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(file))
    return file


def one_slice_again_and_again(count: int, shape: tuple[int, int] = (14, 16)) -> np.ndarray:
    values = np.random.default_rng(0).normal(40, 60, shape).round().astype(np.int16)
    values[:2] = -1000
    return np.broadcast_to(values, (count, *shape)).copy()


@settings(max_examples=30)
@given(
    mode=st.sampled_from(["edge", "reflect"]), axis=st.integers(0, 2), size=st.integers(1, 9), seed=st.integers(0, 99)
)
def test_a_cut_through_what_does_not_change_changes_nothing(mode: str, axis: int, size: int, seed: int) -> None:
    """Of a volume that is the same all along an axis any part, of one voxel or more, is segmented as the whole is."""
    shape = [9, 9, 9]
    shape[axis] = 1
    whole = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))
    whole = whole.repeat_interleave(20, dim=axis + 2)
    with torch.inference_mode():
        part = network(mode)(whole.narrow(axis + 2, 0, size))
        torch.testing.assert_close(part, network(mode)(whole).narrow(axis + 2, 0, size), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(part, network("mean")(whole.narrow(axis + 2, 0, size)), atol=1e-2)


@pytest.mark.parametrize("slices", [1, 2, 3])
@pytest.mark.parametrize("shifts", [1, 3])
@pytest.mark.parametrize("extra", [[], ["--keep_air"], ["--mirror"]])
def test_few_slices_are_segmented_as_many_of_their_like(
    slices: int, shifts: int, extra: list[str], write_model: Write, plans_of: PlansOf, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The command as a whole: files, resampling, moved grids, mirrors, air left out, labels."""
    model = write_model(plans=plans_of())
    few = write(one_slice_again_and_again(slices), tmp_path / "few" / "case_0000.nii.gz")
    many = write(one_slice_again_and_again(24), tmp_path / "many" / "case_0000.nii.gz")
    options = ("--beyond_scan", "edge", "--shifts", shifts, *extra)
    found = predict(few, tmp_path / "a", model, *options)
    assert found.shape == (slices, 14, 16)
    assert len(np.unique(found)) > 1
    said = capsys.readouterr().err
    assert f"case has {slices} slice" in said
    assert f"{slices * 2} mm of the 16 mm that a block sees" in said
    assert np.array_equal(found, predict(many, tmp_path / "b", model, *options)[:slices])
    assert "Warning" not in capsys.readouterr().err


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 14, 15), (9, 1, 15), (9, 14, 1), (1, 1, 1), (2, 3, 1), (40, 2, 2)])
def test_any_mode_segments_any_scan(
    mode: str, shape: tuple[int, int, int], plans_of: PlansOf, dataset_json: dict[str, Any]
) -> None:
    configuration = read_inference_plan(plans_of(), dataset_json, "3d_fullres")
    scan = np.random.default_rng(0).normal(40, 60, shape)
    options = PredictionSettings(beyond_scan=mode, shifts=2, mirror_axes=(0, 2))
    assert predict_volume([scan], (2.0, 1.5, 1.5), [network("mean")], configuration, options).shape == shape


@pytest.mark.parametrize(
    ("shape", "phrases"),
    [
        ((8, 12, 16), []),
        ((7, 12, 16), ["7 slices, 14 mm of the 16 mm that a block sees"]),
        ((9, 11, 16), ["11 rows, 16.5 mm of the 18 mm that a block sees"]),
        ((9, 14, 1), ["1 column, 1.5 mm of the 24 mm that a block sees"]),
        ((1, 1, 2), ["1 slice, 2 mm of the 16 mm", "1 row, 1.5 mm of the 18 mm", "2 columns, 3 mm of the 24 mm"]),
    ],
)
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_a_scan_shorter_than_a_block_is_said(
    shape: tuple[int, int, int], phrases: list[str], transpose: tuple[int, int, int], plans_of: PlansOf,
    dataset_json: dict[str, Any],
) -> None:  # fmt: skip
    """Axes are called by what they are in the scan, whatever their order in the plans."""
    net, (z, y, x) = network("mean"), transpose
    net.patch_size = (net.patch_size[z], net.patch_size[y], net.patch_size[x])
    spacing_mm = (2.0, 1.5, 1.5)
    plans = plans_of(transpose_forward=list(transpose), fullres={"spacing": [spacing_mm[axis] for axis in transpose]})
    configuration = read_inference_plan(plans, dataset_json, "3d_fullres")
    said = shorter_than_block(shape, spacing_mm, net, configuration)
    assert len(said) == len(phrases)
    assert all(line.startswith(phrase) for line, phrase in zip(said, phrases, strict=True))


def test_plans_of_before_mean_zeros_and_a_flag_overrides_them(
    write_model: Write, write_scan: Write, plans_of: PlansOf, tmp_path: Path
) -> None:
    """And the other way round; the same weights fit either."""
    old, new = plans_of(), plans_of()
    new["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["beyond_scan"] = "edge"
    models = {name: write_model(plans=plans, root=tmp_path / name) for name, plans in (("old", old), ("new", new))}
    scan = write_scan()
    labels = {
        (name, mode): predict(scan, tmp_path / f"{name}_{mode}", model, *(["--beyond_scan", mode] if mode else []))
        for name, model in models.items()
        for mode in (None, *MODES)
    }
    assert np.array_equal(labels["old", None], labels["old", "mean"])
    assert np.array_equal(labels["new", None], labels["new", "edge"])
    assert all(np.array_equal(labels["old", mode], labels["new", mode]) for mode in MODES)
    assert len({labels["old", mode].tobytes() for mode in MODES}) == len(MODES)


@pytest.mark.parametrize("value", ["zeros", "EDGE", "", None, 0, 1.5, [], {"mode": "edge"}])
def test_plans_with_another_mode_are_refused(
    value: Any, write_model: Write, write_scan: Write, plans_of: PlansOf, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = write_model()
    plans = plans_of()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["beyond_scan"] = value
    (model / "plans.json").write_text(json.dumps(plans))
    arguments = ["predict", "-i", str(write_scan()), "-o", str(tmp_path / "out"), "-m", str(model), *FAST]
    assert main(arguments) == 2
    assert "beyond_scan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_air_is_refused_where_a_channel_is_not_ct(
    write_model: Write, write_scan: Write, plans_of: PlansOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = plans_of()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["windows"] = None
    arguments = ["predict", "-i", str(write_scan()), "-o", str(tmp_path / "out"), "-m", str(write_model(plans=plans))]
    assert main([*arguments, "--beyond_scan", "air", *FAST]) == 2
    assert "'air' needs CT windows for every channel" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@settings(max_examples=30)
@given(
    mode=st.sampled_from(["edge", "air"]), shape=st.tuples(*[st.integers(1, 9)] * 3),
    filled=st.tuples(*[st.integers(0, 2)] * 3), behind=st.tuples(*[st.integers(0, 9)] * 3),
)  # fmt: skip
def test_what_nnunet_fills_a_tile_up_with_is_beyond_the_scan(
    mode: str, shape: tuple[int, int, int], filled: tuple[int, int, int], behind: tuple[int, int, int]
) -> None:
    """``nnUNetv2_predict`` puts zeros on both sides of scans smaller than its tiles. They change nothing."""
    net = network(mode)
    scan = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    before = [whole * times for whole, times in zip(net.center_size, filled, strict=True)]  # grids stay in step
    pads = [side for pair in zip(reversed(before), reversed(behind), strict=True) for side in pair]
    with torch.inference_mode():
        logits = net(torch.nn.functional.pad(scan, pads))
        z, y, x = (slice(low, low + size) for low, size in zip(before, shape, strict=True))
        torch.testing.assert_close(logits[..., z, y, x], net(scan), atol=1e-5, rtol=1e-4)
