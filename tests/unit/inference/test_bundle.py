"""Bundles: what was written is loaded, without unpickling."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nnunetv2_cfseg.inference.bundle import Card, load_bundle, write_bundle
from nnunetv2_cfseg.inference.load_models import load_models
from nnunetv2_cfseg.nnunet.fold_cases import FoldCases

Write = Callable[..., Path]
CARD = Card("cc-by-4.0", "Forty scans of phantoms.")
VALIDATION = {
    "0": {"1": 0.5, "2": 0.75},
    "1": {"1": 0.7, "2": float("nan")},
}


@pytest.fixture
def models(write_model: Write) -> list[Any]:
    thin = write_model(folds=("0", "1"))
    write_model("nnUNetTrainerCFSeg__nnUNetTinyPlans__3d_thick", folds=("0", "1"), configuration="3d_thick")
    return load_models(thin, checkpoint="checkpoint_final.pth")


def test_what_was_written_is_loaded_without_unpickling(
    models: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    write_bundle(models, bundle, CARD, VALIDATION)
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("a bundle must not be unpickled"))
    loaded = load_models(bundle, checkpoint="checkpoint_final.pth")
    assert [model.configuration for model in loaded] == [model.configuration for model in models]
    for ours, theirs in zip(loaded, models, strict=True):
        assert (ours.folds, ours.mirror_axes, ours.trainer) == (theirs.folds, theirs.mirror_axes, theirs.trainer)
        for one, other in zip(ours.networks, theirs.networks, strict=True):
            torch.testing.assert_close(one.state_dict(), other.state_dict())
    assert [model.configuration.name for model in load_bundle(bundle, ["1"], "3d_thick")] == ["3d_thick"]
    assert sorted(file.name for file in bundle.iterdir()) == [
        "README.md", "bundle.json", "dataset.json", "fold_0.safetensors", "fold_1.safetensors", "plans.json",
    ]  # fmt: skip


def test_the_card_says_what_the_model_is(models: list[Any], tmp_path: Path) -> None:
    write_bundle(models, tmp_path / "bleeds", CARD, VALIDATION)
    card = (tmp_path / "bleeds" / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    for text in ("Segments bright, fatty in CT", "| 3d_thick | 10 | 1.5 x 1.5 |", "4 cases", "folds 0, 1",
                 "Forty scans of phantoms.", "| bright | 0.600 | 2 |", "| fatty | 0.750 | 1 |",
                 "Not a medical device"):  # fmt: skip
        assert text in card
    write_bundle(models, tmp_path / "unmeasured", CARD, {})
    assert "holds no validation/summary.json" in (tmp_path / "unmeasured" / "README.md").read_text()


def test_the_card_tells_training_cases_from_validation_cases(models: list[Any], tmp_path: Path) -> None:
    def card(name: str, *, folds: tuple[str, ...] = ("0", "1"), **cases: Any) -> str:
        some = [replace(model, folds=folds, networks=model.networks[: len(folds)]) for model in models]
        write_bundle(some, tmp_path / name, CARD, VALIDATION, **cases)
        return (tmp_path / name / "README.md").read_text()

    known = {"0": FoldCases(3, 1), "1": FoldCases(2, 2)}
    assert "| fold | training cases | validation cases |\n|---|---|---|\n| 0 | 3 | 1 |\n| 1 | 2 | 2 |\n\n##" in (
        card("known", fold_cases=known)
    )
    unknown = "The dataset has 4 cases; how many of them each fold was trained on is not known."
    assert unknown in card("unknown")
    assert unknown in card("partly_known", fold_cases={"0": FoldCases(3, 1)})
    assert "All 4 cases of the dataset were trained on." in card("all", folds=("all",))


def test_configurations_with_other_weights_do_not_share_a_bundle(write_model: Write, tmp_path: Path) -> None:
    thin = load_models(write_model(), checkpoint="checkpoint_final.pth")
    other = load_models(write_model("other", folds=("9",)), checkpoint="checkpoint_final.pth")
    with torch.no_grad():
        other[0].networks[0].embedding.bias.add_(1)
    with pytest.raises(ValueError, match="share their weights"):
        write_bundle([*thin, *other], tmp_path / "bundle", CARD, {})
    assert not (tmp_path / "bundle").exists()


def test_what_is_there_is_not_written_over(models: list[Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"-o must name a new folder, and this one is there: {tmp_path}"):
        write_bundle(models, tmp_path, CARD, {})


def test_what_is_missing_or_broken_is_named(models: list[Any], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    write_bundle(models, bundle, CARD, {})
    with pytest.raises(ValueError, match=r"the bundle has the folds 0, 1, not 7"):
        load_bundle(bundle, ["7"])
    with pytest.raises(ValueError, match=r"the bundle has the configurations 3d_fullres, 3d_thick, not 2d"):
        load_bundle(bundle, None, "2d")
    weights = bundle / "fold_0.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"must be a whole .safetensors file"):
        load_bundle(bundle)
    index = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps({**index, "format": 2}))
    with pytest.raises(ValueError, match="format must be 1 or lower, got 2"):
        load_bundle(bundle)
