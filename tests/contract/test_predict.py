"""``cfseg predict`` against nnU-Net's own steps: its preprocessing, the dense network, its export."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_cfseg.inference.inference_plan import read_inference_plan
from nnunetv2_cfseg.inference.predict_volume import PredictionSettings, predict_volume
from nnunetv2_cfseg.inference.resampling import resampled_shape
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.nnunet.plans import resolve

REGIONS = {
    "labels": {"background": 0, "all": [1, 2], "core": 2}, "regions_class_order": [1, 2],
}  # fmt: skip


def scan_of(shape: tuple[int, ...], *, empty_border: bool = False) -> np.ndarray:
    values = np.random.default_rng(3).normal(40, 200, shape).round().astype(np.int16)
    if empty_border:
        values[:2], values[:, -3:] = 0, 0
    return values


def nnunet(
    scan: np.ndarray, spacing_mm: tuple[float, ...], network: BlockCenterTransformer, plans: dict, dataset_json: dict
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities as nnU-Net makes them of the network's dense forward."""
    manager = PlansManager(deepcopy(plans))
    configuration = manager.get_configuration("3d_fullres")
    labels = manager.get_label_manager(dataset_json)
    data, _, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        scan[None], None, {"spacing": list(spacing_mm)}, manager, configuration, dataset_json
    )
    with torch.inference_mode():
        logits = network(torch.from_numpy(data)[None])[0]
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, manager, configuration, labels, properties, return_probabilities=True
    )


@pytest.mark.parametrize(
    ("changes", "spacing_mm", "empty_border", "dataset_changes"),
    [
        pytest.param({}, (2.0, 1.5, 1.5), False, {}, id="the grid of the plans"),
        pytest.param({}, (1.0, 0.8, 0.8), False, {}, id="finer"),
        pytest.param({}, (5.0, 2.5, 2.0), True, {}, id="coarser, cropped to what is not zero"),
        pytest.param({}, (9.0, 1.5, 1.5), False, {}, id="thick slices: the nearest"),
        pytest.param({"fullres": {"spacing": [9.0, 1.5, 1.5]}}, (9.0, 1.0, 1.0), False, {}, id="thick plans"),
        pytest.param({"transpose_forward": [1, 2, 0], "transpose_backward": [2, 0, 1]}, (1.5, 2.0, 1.0), True, {},
            id="axes in another order"),
        pytest.param({}, (1.2, 1.0, 1.0), False, REGIONS, id="regions"),
        pytest.param({"fullres": {"normalization_schemes": ["ZScoreNormalization"]}}, (2.0, 1.0, 1.0), False, {},
            id="z-score"),
    ],
)  # fmt: skip
def test_labels_and_probabilities_are_nnunets(
    changes: dict[str, Any], spacing_mm: tuple[float, float, float], empty_border: bool,
    dataset_changes: dict[str, Any], plans_of: Callable[..., dict], dataset_json: dict[str, Any],
) -> None:  # fmt: skip
    plans, dataset_json = plans_of(**changes), {**dataset_json, **dataset_changes}
    configuration = read_inference_plan(plans, dataset_json, "3d_fullres")
    torch.manual_seed(0)
    network = BlockCenterTransformer(1, configuration.heads, **configuration.network).eval()
    scan = scan_of((12, 22, 25), empty_border=empty_border)
    expected, expected_probabilities = nnunet(scan, spacing_mm, network, plans, dataset_json)
    settings = PredictionSettings(skip_air=False, chunk_blocks=7)
    labels = predict_volume([scan], spacing_mm, [network], configuration, settings)
    probabilities = np.empty((configuration.heads, *scan.shape), dtype=np.float32)
    same = predict_volume([scan], spacing_mm, [network], configuration, settings, probabilities=probabilities)
    assert labels.shape == scan.shape
    assert len(np.unique(expected)) > 1
    assert (labels == expected).mean() >= 0.9999
    assert (labels == same).mean() >= 0.9999
    inside = expected_probabilities.max(0) < 1  # outside the crop nnU-Net says 1, ours what a sure network would
    np.testing.assert_allclose(
        np.where(inside, probabilities, 0), np.where(inside, expected_probabilities, 0), atol=2e-3
    )


def test_configurations_inherit_as_nnunets(plans_of: Callable[..., dict]) -> None:
    plans = plans_of()
    ours = resolve(plans, "3d_thick")
    theirs = PlansManager(deepcopy(plans)).get_configuration("3d_thick").configuration
    assert ours == {name: value for name, value in theirs.items() if name != "inherits_from"}
    with pytest.raises(ValueError, match="must be one of 3d_fullres, 3d_thick, got '2d'"):
        resolve(plans, "2d")


@pytest.mark.parametrize("spacing", [(1.0, 0.7, 0.7), (5.0, 0.44, 0.44), (2.5, 3.9, 4.1)])
def test_shapes_are_rounded_as_nnunets(spacing: tuple[float, float, float]) -> None:
    for shape in ((107, 511, 512), (1, 3, 5)):
        assert resampled_shape(shape, spacing, (2.0, 1.5, 1.5)) == tuple(
            compute_new_shape(shape, spacing, (2.0, 1.5, 1.5))
        )


def test_the_predictor_of_nnunet_finds_the_same(
    tmp_path: Path, write_model: Callable[..., Path], write_scan: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan of one tile: nnU-Net pads a tile's border with zeros as the dense forward does a volume's."""
    import SimpleITK as sitk
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from nnunetv2_cfseg.cli import main
    from nnunetv2_cfseg.nnunet.environment import EXT_FOLDER

    monkeypatch.setenv("nnUNet_extTrainer", EXT_FOLDER)
    folder = write_model(folds=("0", "1"))
    scan = write_scan(shape=(8, 12, 16))
    predictor = nnUNetPredictor(use_mirroring=False, use_gaussian=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0, 1))
    (tmp_path / "theirs").mkdir()
    predictor.predict_from_files_sequential(str(scan.parent), str(tmp_path / "theirs"))
    once = ["--keep_air", "--shifts", "1", "--precision", "float32"]
    assert main(["predict", "-i", str(scan.parent), "-o", str(tmp_path / "ours"), "-m", str(folder), *once]) == 0
    theirs, ours = (sitk.ReadImage(str(tmp_path / who / "case_0.nii.gz")) for who in ("theirs", "ours"))
    agreement = (sitk.GetArrayFromImage(theirs) == sitk.GetArrayFromImage(ours)).mean()
    assert agreement >= 0.999  # nnU-Net adds up its logits in float16
    assert ours.GetPixelID() == theirs.GetPixelID()
    assert (ours.GetOrigin(), ours.GetSpacing(), ours.GetDirection()) == (
        theirs.GetOrigin(), theirs.GetSpacing(), theirs.GetDirection(),
    )  # fmt: skip


def test_nnunet_ensembles_what_was_saved(
    tmp_path: Path, write_model: Callable[..., Path], write_scan: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import SimpleITK as sitk
    from nnunetv2.ensembling import ensemble

    from nnunetv2_cfseg.cli import main

    threads = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(ensemble, "multiprocessing", threads)
    scans, folder = write_scan().parent, write_model(folds=("0", "1"))
    folds = [tmp_path / f"fold_{fold}" for fold in (0, 1)]
    for number, out in enumerate(folds):
        call = ["predict", "-i", scans, "-o", out, "-m", folder, "-f", number, "--save_probabilities"]
        assert main([*map(str, call), "-device", "cpu"]) == 0
    ensemble.ensemble_folders([str(out) for out in folds], str(tmp_path / "ensemble"), num_processes=1)
    mean = sum(np.load(out / "case_0.npz")["probabilities"] for out in folds)
    image = sitk.ReadImage(str(tmp_path / "ensemble" / "case_0.nii.gz"))
    scan = sitk.ReadImage(str(scans / "case_0_0000.nii.gz"))
    assert (sitk.GetArrayFromImage(image) == mean.argmax(0)).all()
    assert (image.GetOrigin(), image.GetSpacing(), image.GetDirection()) == (
        scan.GetOrigin(), scan.GetSpacing(), scan.GetDirection(),
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 12, 16), (3, 12, 16), (3, 5, 7), (8, 1, 16)])
@pytest.mark.parametrize("mode", ["mean", "edge", "air"])
def test_nnunets_tiles_are_filled_up_with_zeros_which_are_beyond_the_scan(
    shape: tuple[int, int, int], mode: str, plans_of: Callable[..., dict], dataset_json: dict
) -> None:
    """As ``nnUNetv2_predict`` predicts scans that are smaller than its tile of 8 x 12 x 16 voxels."""
    plans = plans_of()
    manager = PlansManager(plans)
    arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    torch.manual_seed(0)
    network = BlockCenterTransformer(1, 3, **{**arguments, "beyond_scan": mode}).eval()
    predictor = nnUNetPredictor(
        use_gaussian=False,
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        network, manager, manager.get_configuration("3d_fullres"), None, dataset_json, "nnUNetTrainerCFSeg", None
    )
    scan = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    logits = predictor.predict_sliding_window_return_logits(scan).float()
    pads = [
        ((tile - size) // 2, tile - size - (tile - size) // 2) for size, tile in zip(shape, (8, 12, 16), strict=True)
    ]
    with torch.inference_mode():
        expected = network(network.beyond_scan.extend(scan, pads)[None])[0]
    inside = tuple(slice(before, before + size) for (before, _), size in zip(pads, shape, strict=True))
    torch.testing.assert_close(logits, expected[(slice(None), *inside)], atol=2e-2, rtol=1e-2)
