"""Loading model folders, and what is said of broken ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nnunetv2_cfseg.inference.inference_plan import read_inference_plan
from nnunetv2_cfseg.inference.load_models import load_models
from nnunetv2_cfseg.inference.model import load_model

Write = Callable[..., Path]
CHECKPOINT = "checkpoint_final.pth"


def test_folds_are_those_that_are_there(write_model: Write) -> None:
    folder = write_model(folds=("0", "3", "all"))
    model = load_model(folder)
    assert model.folds == ("0", "3")
    assert model.mirror_axes == (2,)
    assert model.trainer == "nnUNetTrainerCFSeg"
    first, second = (network.embedding.weight for network in model.networks)
    assert not torch.equal(first, second)
    assert not model.networks[0].training
    assert load_model(folder, ["all"]).folds == ("all",)


def test_all_is_taken_where_there_is_no_other(write_model: Write) -> None:
    assert load_model(write_model(folds=("all",))).folds == ("all",)


def test_thin_and_thick_are_loaded_together(write_model: Write) -> None:
    thin = write_model()
    write_model("nnUNetTrainerCFSeg__nnUNetTinyPlans__3d_thick", configuration="3d_thick")
    both = load_models(thin, checkpoint=CHECKPOINT)
    assert [model.configuration.spacing_mm[0] for model in both] == [2.0, 10.0]
    for name in ("3d_fullres", "3d_thick"):
        (one,) = load_models(thin, checkpoint=CHECKPOINT, configuration=name)
        assert one.configuration.name == name
    with pytest.raises(ValueError, match=r"-c must be .* 3d_fullres, got 2d"):
        load_models(thin, checkpoint=CHECKPOINT, configuration="2d")


def test_a_checkpoint_that_can_run_code_has_to_be_trusted(write_model: Write) -> None:
    folder = write_model()
    file = folder / "fold_0" / CHECKPOINT
    load_model(folder)
    content = torch.load(file, weights_only=False)
    torch.save({**content, "logging": Path("anything")}, file)
    with pytest.raises(ValueError, match=rf"PosixPath.*--trust_checkpoint.*{file}$"):
        load_model(folder)
    assert load_model(folder, trust_checkpoint=True).folds == ("0",)


def test_what_is_missing_or_broken_is_named(write_model: Write) -> None:
    folder = write_model()
    file = folder / "fold_0" / CHECKPOINT
    with pytest.raises(ValueError, match=r"must hold a fold_N with best.pth: "):
        load_model(folder, None, "best.pth")
    with pytest.raises(ValueError, match=r"there is none: .*fold_4"):
        load_model(folder, ["4"])
    os.truncate(file, 200)
    with pytest.raises(ValueError, match=f"truncated or no checkpoint: {file}"):
        load_model(folder)
    torch.save({"weights": 1}, file)
    with pytest.raises(ValueError, match="has no 'network_weights'"):
        load_model(folder)
    (folder / "plans.json").write_text("{")
    with pytest.raises(ValueError, match=r"plans.json must be JSON"):
        load_model(folder)
    (folder / "plans.json").unlink()
    with pytest.raises(ValueError, match=r"plans.json must be a file, and there is none"):
        load_model(folder)


def test_plans_that_lack_an_entry_are_refused(write_model: Write) -> None:
    folder = write_model()
    plans = json.loads((folder / "plans.json").read_text())
    del plans["transpose_forward"]
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ValueError, match=r"transpose_forward is missing: .*plans.json"):
        load_model(folder)
    (folder / "plans.json").write_text("[]")
    with pytest.raises(ValueError, match=r"plans.json must hold a JSON object"):
        load_model(folder)


def test_weights_of_another_network_are_refused(write_model: Write) -> None:
    folder = write_model()
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["embed_dim"] = 24
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ValueError, match="written for another network than the plans describe"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"image_reader_writer": "Tiff3DIO"}, "the image reader 'Tiff3DIO'"),
        ({"fullres": {"resampling_fn_data": "resample_data_or_seg_to_shape"}}, "resampling with 'resample_data_or"),
        ({"fullres": {"previous_stage": "3d_lowres"}}, "a cascade"),
        ({"fullres": {"use_mask_for_norm": [True]}}, "normalisation within a mask"),
    ],
)
def test_what_only_nnunet_can_do_is_left_to_it(
    changes: dict, what: str, plans_of: Callable[..., dict], dataset_json: dict
) -> None:
    with pytest.raises(ValueError, match=f"ask for {what}.*use nnUNetv2_predict"):
        read_inference_plan(plans_of(**changes), dataset_json, "3d_fullres")


def test_models_of_other_networks_are_left_to_nnunet(plans_of: Callable[..., dict], dataset_json: dict) -> None:
    unet = {"network_class_name": "dynamic_network_architectures.PlainConvUNet", "arch_kwargs": {}}
    with pytest.raises(ValueError, match=r"PlainConvUNet.*; use nnUNetv2_predict"):
        read_inference_plan(plans_of(fullres={"architecture": unet}), dataset_json, "3d_fullres")


def test_models_of_other_networks_are_told_by_their_plans_before_checkpoints_are_read(
    plans_of: Callable[..., dict], dataset_json: dict, tmp_path: Path
) -> None:
    """A U-Net's checkpoint names its encoder twice, which looks as if it were larger than its file."""
    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    unet = {"network_class_name": "dynamic_network_architectures.PlainConvUNet", "arch_kwargs": {}}
    (folder / "plans.json").write_text(json.dumps(plans_of(fullres={"architecture": unet})))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"PlainConvUNet.*; use nnUNetv2_predict.*plans.json"):
        load_model(folder)


def test_labels_and_regions(plans_of: Callable[..., dict], dataset_json: dict) -> None:
    labels = read_inference_plan(plans_of(), dataset_json, "3d_fullres")
    assert (labels.heads, labels.label_values, labels.decision.region_labels) == (3, [0, 1, 2], None)
    regions = {"labels": {"background": 0, "all": [1, 2], "core": 2, "ignore": 3}, "regions_class_order": [1, 2]}
    read = read_inference_plan(plans_of(), {**dataset_json, **regions}, "3d_fullres")
    assert (read.heads, read.label_values, read.decision.region_labels) == (2, [0, 1, 2], (1, 2))
