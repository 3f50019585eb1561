"""Plans, pairs, a bundle and a checkpoint of version 0.1 go on working; ``fixtures/before_0_2`` keeps one of each.

``training_settings.json`` is what 0.1 read of the plans; ``case.nii.gz`` is what it made of the scan, by the bundle
and by the model folder alike.
"""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fixtures.tiny_training import make_trainer, write_preprocessed

from nnunetv2_cfseg.cli import main
from nnunetv2_cfseg.data.pairing.sidecar import pairs_in, read_pairing
from nnunetv2_cfseg.imaging.read import read_volume
from nnunetv2_cfseg.losses.thin_thick import ThinThickSettings
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.nnunet.plans import resolve
from nnunetv2_cfseg.nnunet.renamed_keys import new_path
from nnunetv2_cfseg.trainers.plans import (
    block_sampling,
    check_batch_size,
    check_plans,
    foreground_range,
    foreground_statistics,
)
from nnunetv2_cfseg.trainers.thin_thick import nnUNetTrainerCFSegThinThick
from nnunetv2_cfseg.trainers.thin_thick_plans import count_blocks, thin_thick_section

BEFORE = Path(__file__).parents[1] / "fixtures" / "before_0_2"
THEN = json.loads((BEFORE / "training_settings.json").read_text())
#: Keys that plans without them were trained without.
LEFT_OUT = ("foreground_share", "lookalike_share", "cut_share", "mirror_axes", "storage_order", "hounsfield_jitter")


def read(name: str) -> dict[str, Any]:
    return json.loads((BEFORE / f"{name}.json").read_text())


def settings_now(plans: dict[str, Any]) -> dict[str, Any]:
    """What training goes by, under the names of 0.1."""
    configuration = resolve(plans, "3d_fullres")
    check_plans(configuration, trainer="T")
    check_batch_size(configuration)
    section = CFSegSection.from_plans(configuration)
    sampling = block_sampling(section)
    low, high = foreground_range(section, *foreground_statistics(plans)) or (None, None)
    settings = {
        "sampling": {
            "blocks_per_crop": sampling.blocks_per_crop,
            "foreground_share": sampling.foreground_fraction,
            "lookalike_share": sampling.hard_background_fraction,
            "cut_share": sampling.border_fraction,
        },
        "mirror_axes": list(section.mirror_axes),
        "foreground_range": [low, high],
        "hounsfield_jitter": section.hounsfield_jitter,
        "storage_order": section.storage_order,
    }
    if section.thin_thick is not None:
        pairs = thin_thick_section(configuration, trainer="T")
        loss = ThinThickSettings.from_plans(pairs.loss)
        settings["thin_thick"] = {
            "factor": pairs.factor,
            "threshold": pairs.threshold,
            "loss": asdict(loss),
            "blocks": asdict(count_blocks(sampling.blocks_per_crop, pairs, loss)),
        }
    return settings


def with_todays_terms(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of then, with the loss's terms as they are called now."""
    changed = deepcopy(settings)
    if "thin_thick" in changed:
        loss = changed["thin_thick"]["loss"]
        path = "thin_thick.loss.weights."
        loss["weights"] = {new_path(path + name).removeprefix(path): w for name, w in loss["weights"].items()}
    return changed


class TestPlans:
    @pytest.mark.parametrize(
        ("name", "keys"),
        [
            ("nnUNetCFSegPlans", ["foreground_fraction", "hard_background_fraction", "border_fraction"]),
            ("nnUNetThinThickPlans", ["border_fraction", "thin_thick.column_fraction", "thin_thick.thick_fraction"]),
        ],
    )
    def test_train_as_they_did_with_one_warning(
        self, name: str, keys: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert settings_now(read(name)) == with_todays_terms(THEN[name])
        (warning,) = capsys.readouterr().err.splitlines()
        for key in keys:
            assert f"is now {key}" in warning

    def test_without_keys_train_as_they_did(self) -> None:
        plans = read("nnUNetThinThickPlans")
        section = plans["configurations"]["3d_fullres"]["cfseg"]
        for key in LEFT_OUT:
            del section[key]
        for key in ("threshold", "loss"):
            del section["thin_thick"][key]
        assert settings_now(plans) == with_todays_terms(THEN["keys left out"])

    def test_with_a_term_of_the_loss_train_as_they_did(self) -> None:
        plans = read("nnUNetThinThickPlans")
        loss = plans["configurations"]["3d_fullres"]["cfseg"]["thin_thick"]["loss"]
        loss["weights"] = {"slab": 1.0, "thin_consistency": 0.25}
        assert settings_now(plans) == with_todays_terms(THEN["another loss"])


class TestPairs:
    def test_are_known_by_their_sidecar(self) -> None:
        assert read_pairing(BEFORE) == (4, 0.6)

    def test_that_were_begun_go_on(self, tmp_path: Path) -> None:
        shutil.copy(BEFORE / "thin_thick.json", tmp_path)
        (tmp_path / "imagesTr").mkdir()
        (tmp_path / "imagesTr" / "case_0_0000.nii.gz").touch()
        sidecar = read("thin_thick")
        begun = {name: sidecar[name] for name in ("factor", "labels", "threshold", "folds", "seed")}
        with pairs_in(tmp_path).writing(begun) as before:
            assert before == sidecar


@pytest.mark.parametrize("model", ["bundle", "model"])
def test_models_predict_what_they_did(model: str, tmp_path: Path) -> None:
    arguments = ["-device", "cpu", "--precision", "float32", "--disable_progress_bar"]
    main(["predict", "-i", str(BEFORE / "scan"), "-o", str(tmp_path / "out"), "-m", str(BEFORE / model), *arguments])
    then, now = (read_volume(folder / "case.nii.gz").values for folder in (BEFORE, tmp_path / "out"))
    assert [(then == value).sum() > 40 for value in range(3)] == [True] * 3
    assert (then != now).mean() < 1e-3  # machines differ in the last digits of logits


def test_trainings_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plans = read("model/plans")
    write_preprocessed(tmp_path / "preprocessed", plans)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name.removeprefix("nnUNet_")))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_compile", "f")
    trainer = make_trainer(nnUNetTrainerCFSegThinThick, plans, epochs=61)
    trainer.load_checkpoint(str(BEFORE / "model" / "fold_0" / "checkpoint_final.pth"))
    assert capsys.readouterr().err.count("is now hard_background_fraction") == 1
    trainer.run_training()
    assert (trainer.current_epoch, trainer.steps) == (61, 3)
