"""What nnU-Net trainers do, done by ours: short trainings on small synthetic scans, in this process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from batchgeneratorsv2.transforms.noise import gaussian_blur
from nnunetv2.run.run_training import run_training
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from torch.nn.functional import one_hot

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner

pytestmark = pytest.mark.slow


def folder(trainer: Any) -> Path:
    return Path(trainer.output_folder)


def checkpoint(trainer: Any, name: str = "checkpoint_final.pth") -> dict[str, Any]:
    return torch.load(folder(trainer) / name, weights_only=False)


def losses(trainer: Any) -> np.ndarray:
    return np.array([trainer.logger.get_value(key, step=None) for key in ("train_losses", "val_losses")])


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.block_center_network().state_dict().items()}


def assert_equal(first: Any, second: Any) -> None:
    """Bit for bit."""
    torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)


class TestTraining:
    def test_leaves_what_nnunet_leaves_and_nothing_else(self, trainings: Any, ct: int) -> None:
        trainer = trainings.train(ct, epochs=2)
        names = {path.name for path in folder(trainer).iterdir() if not path.name.startswith("training_log_")}
        assert names == {"checkpoint_best.pth", "checkpoint_final.pth", "debug.json"}
        assert np.isfinite(losses(trainer)).all()
        assert losses(trainer).shape == (2, 2)
        assert {path.name for path in folder(trainer).parent.iterdir()} == {
            "dataset.json",
            "dataset_fingerprint.json",
            "fold_0",
            "plans.json",
        }

    def test_draws_blocks_in_the_data_loader(self, trainings: Any, ct: int) -> None:
        trainer = trainings.trainer(ct)
        trainer.initialize()
        training, validation = trainer.get_dataloaders()
        network = trainer.block_center_network()
        batch = next(training)
        assert batch["data"].shape == (2, 8, 1, *network.block_size)
        assert batch["target"].shape == (2, 8, 1, *network.center_size)
        crop = trainer.configuration_manager.patch_size
        assert next(validation)["data"].shape == (2, 1, *crop)

    def test_learns_on_a_share_of_the_rate_while_it_warms_up(self, trainings: Any, ct: int) -> None:
        trainer = trainings.trainer(ct)
        trainer.num_epochs = 100  # of which 3 are warm-up
        trainer.on_train_start()
        rates = []
        for epoch in range(4):
            trainer.current_epoch = epoch
            trainer.on_train_epoch_start()
            for _ in range(2):
                trainer.train_step(next(trainer.dataloader_train))
                rates.append(trainer.optimizer.param_groups[0]["lr"])
        expected = [0, 1 / 3, 1, 4 / 3, 2, 7 / 3, 3, 10 / 3]  # three steps an epoch
        share = [max(min(position / 3, 1), 0.01) * (1 - position / 100) ** 0.9 for position in expected]
        np.testing.assert_allclose(rates, np.array(share) * trainer.initial_lr)

    @pytest.mark.parametrize(("name", "epochs"), [("_5epochs", 5), ("_20epochs", 20), ("_100epochs", 100)])
    def test_comes_in_the_usual_lengths(self, trainings: Any, ct: int, name: str, epochs: int) -> None:
        trainer = trainings.trainer(ct, trainer=f"nnUNetTrainerCFSeg{name}")
        assert trainer.num_epochs == epochs
        trainer.initialize()
        assert trainer.lr_scheduler.max_steps == epochs

    def test_on_all_cases_is_fold_all(self, trainings: Any, ct: int) -> None:
        trainer = trainings.train(ct, epochs=1, fold="all")
        assert folder(trainer).name == "fold_all"
        assert (folder(trainer) / "checkpoint_final.pth").is_file()
        training, validation = trainer.do_split()
        assert sorted(training) == sorted(validation) == [f"case_{i}" for i in range(6)]

    def test_can_go_without_checkpoints(self, trainings: Any, ct: int) -> None:
        trainer = trainings.trainer(ct)
        trainer.num_epochs = 1
        trainer.disable_checkpointing = True
        trainer.run_training()
        assert list(folder(trainer).glob("*.pth*")) == []


class TestLabelsAndChannels:
    @pytest.mark.parametrize(
        ("dataset", "channels", "heads"),
        [("ct_and_mri", 2, 3), ("regions", 1, 2), ("ignore", 1, 3), ("regions_and_ignore", 1, 2)],
    )
    def test_of_every_kind_train_and_validate(
        self, trainings: Any, request: pytest.FixtureRequest, dataset: str, channels: int, heads: int
    ) -> None:
        trainer = trainings.train(request.getfixturevalue(dataset), epochs=1)
        network = trainer.block_center_network()
        assert (network.input_channels, network.num_classes) == (channels, heads)
        assert np.isfinite(losses(trainer)).all()

        trainer.perform_actual_validation()
        summary = json.loads((folder(trainer) / "validation" / "summary.json").read_text())
        assert len(summary["metric_per_case"]) == 2
        expected = {"(1, 2)", "2"} if "regions" in dataset else {"1", "2"}
        assert set(summary["mean"]) == expected
        for file in (folder(trainer) / "validation").glob("*.nii.gz"):
            assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))) <= {0, 1, 2}

    def test_ignored_voxels_take_no_part_in_the_loss(self, trainings: Any, ignore: int) -> None:
        trainer = trainings.trainer(ignore)
        trainer.on_train_start()
        batch = next(trainer.dataloader_train)
        assert (batch["target"] == 3).any()
        target = batch["target"].flatten(0, 1)
        logits = torch.randn(len(target), 3, *target.shape[2:])
        right = 10 * one_hot(target[:, 0].clamp(max=2).long(), 3).movedim(-1, 1)
        ignored, loss = target == 3, trainer.loss
        torch.testing.assert_close(loss(torch.where(ignored, right, logits), target), loss(logits, target))
        assert loss(torch.where(ignored, logits, right), target) < 0.5 * loss(logits, target)

    def test_that_name_sides_are_not_mirrored_in_training_or_prediction(self, trainings: Any, ct: int) -> None:
        data = trainings.with_own_data(ct)
        plans = json.loads((data / "nnUNetTinyPlans.json").read_text())
        plans["configurations"]["3d_fullres"]["cfseg"]["mirror_axes"] = []
        (data / "nnUNetTinyPlans.json").write_text(json.dumps(plans))
        trainer = trainings.train(ct, epochs=1)
        assert checkpoint(trainer)["inference_allowed_mirroring_axes"] is None
        transforms = [type(t).__name__ for t in trainer.dataloader_train.data_loader.augmentation.transforms]
        assert "MirrorTransform" not in transforms


class TestSeed:
    def test_gives_the_same_weights_again(self, trainings: Any, ct: int) -> None:
        runs = []
        for name, seed in (("first", 7), ("second", 7), ("other", 8)):
            trainings.into(name)
            runs.append(weights(trainings.train(ct, seed=seed, die_at_step=4)))
        assert_equal(runs[0], runs[1])
        assert any((runs[0][name] != runs[2][name]).any() for name in runs[0])

    def test_is_what_makes_weights_the_same(self, trainings: Any, ct: int) -> None:
        runs = []
        for name in ("first", "second"):
            trainings.into(name)
            runs.append(weights(trainings.train(ct, die_at_step=0)))
        assert any((runs[0][name] != runs[1][name]).any() for name in runs[0])

    def test_leaves_nothing_to_the_clock(self, trainings: Any, ct: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """nnU-Net blurs in one of two ways, whichever its stopwatch finds faster; they differ in the last bits."""
        runs = []
        for first_is_faster in (True, False):
            # Nine runs of the one way, each timed by two looks at the clock, then nine of the other.
            ticks = iter(
                time
                for _ in range(1000)
                for way in (first_is_faster, not first_is_faster)
                for _ in range(9)
                for time in (0.0, 1.0 if way else 2.0)
            )
            monkeypatch.setattr(gaussian_blur, "time", lambda ticks=ticks: next(ticks))
            trainings.into(str(first_is_faster))
            runs.append(weights(trainings.train(ct, seed=7)))
        assert_equal(runs[0], runs[1])


class TestContinuing:
    @pytest.mark.parametrize("die_at_step", [6, 8])  # before the third epoch, and within it
    def test_after_a_kill_equals_never_stopping(self, trainings: Any, ct: int, die_at_step: int) -> None:
        trainings.into("whole")
        whole = checkpoint(trainings.train(ct, seed=5))
        trainings.into("killed")
        killed = trainings.train(ct, seed=5, die_at_step=die_at_step)
        assert not (folder(killed) / "checkpoint_final.pth").exists()
        assert checkpoint(killed, "checkpoint_latest.pth")["current_epoch"] == 2
        continued = checkpoint(trainings.train(ct, seed=5, continue_training=True))

        assert continued["current_epoch"] == whole["current_epoch"] == 4
        assert_equal(continued["network_weights"], whole["network_weights"])
        for name in ("muon", "adamw"):
            of_continued, of_whole = continued["optimizer_state"][name], whole["optimizer_state"][name]
            assert_equal(of_continued["state"], of_whole["state"])
            assert of_continued["param_groups"] == of_whole["param_groups"]
        assert continued["inference_allowed_mirroring_axes"] == whole["inference_allowed_mirroring_axes"]
        for key in ("lrs", "train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice", "dice_per_class_or_region"):
            np.testing.assert_array_equal(continued["logging"][key], whole["logging"][key], err_msg=key)
            assert len(continued["logging"][key]) == 4

    def test_remembers_the_best_epoch(self, trainings: Any, ct: int, monkeypatch: pytest.MonkeyPatch) -> None:
        log = MetaLogger.log
        dice = [0.1, 0.9, 0.0, 0.0]  # the second epoch is the best, and the last before the kill
        monkeypatch.setattr(
            MetaLogger,
            "log",
            lambda self, key, value, step: log(self, key, dice[step] if key == "mean_fg_dice" else value, step),
        )
        trainings.into("whole")
        whole = checkpoint(trainings.train(ct))
        trainings.into("killed")
        trainings.train(ct, die_at_step=6)
        continued = checkpoint(trainings.train(ct, continue_training=True))
        assert whole["_best_ema"] == continued["_best_ema"] == pytest.approx(0.9 * 0.1 + 0.1 * 0.9)

    def test_a_finished_training_trains_no_more(self, trainings: Any, ct: int) -> None:
        before = weights(trainings.train(ct, epochs=1))
        again = trainings.train(ct, epochs=1, continue_training=True)
        assert again.steps == 0
        assert_equal(weights(again), before)

    def test_works_through_nnunets_function(self, trainings: Any, ct: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Training, killed and continued, then ``--val`` and ``--npz``, as ``nnUNetv2_train`` does them."""
        command = {
            "dataset_name_or_id": "901",
            "configuration": "3d_fullres",
            "fold": "0",
            "trainer_class_name": "nnUNetTrainerCFSegShort",
            "plans_identifier": "nnUNetTinyPlans",
            "device": torch.device("cpu"),
        }
        monkeypatch.setenv("CFSEG_TEST_EPOCHS", "2")
        with monkeypatch.context() as dying:
            dying.setenv("CFSEG_TEST_DIE_AT_STEP", "4")
            with pytest.raises(KeyboardInterrupt):
                run_training(**command)
        run_training(**command, continue_training=True)
        (validation,) = trainings.results.rglob("validation")
        first = {path.name: path.read_bytes() for path in validation.glob("*.nii.gz")}
        assert len(first) == 2
        assert list(validation.glob("*.npz")) == []

        for path in validation.iterdir():
            path.unlink()
        run_training(**command, only_run_validation=True, export_validation_probabilities=True)
        assert {path.name: path.read_bytes() for path in validation.glob("*.nii.gz")} == first
        for name in first:
            probabilities = np.load(validation / f"{name.removesuffix('.nii.gz')}.npz")["probabilities"]
            assert probabilities.shape == (3, 32, 48, 48)
            np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-3)
            segmentation = sitk.GetArrayFromImage(sitk.ReadImage(str(validation / name)))
            assert (probabilities.argmax(0) == segmentation).mean() > 0.999


class TestPretrainedWeights:
    def test_start_a_training_on_other_labels(self, trainings: Any, ct: int, regions: int) -> None:
        pretrained = trainings.train(ct, epochs=1)
        given = checkpoint(pretrained)["network_weights"]
        trainer = trainings.trainer(regions, pretrained_weights=folder(pretrained) / "checkpoint_final.pth")
        for name, value in weights(trainer).items():
            if ".seg_layers." not in name:
                assert_equal(value, given[name])
        trainer.num_epochs = 1
        trainer.run_training()
        assert np.isfinite(losses(trainer)).all()
        assert any(
            (value != given[name]).any()
            for name, value in weights(trainer).items()
            if name in given and "seg" not in name
        )


#: Dynamo looks at .grad of tensors that have none.
dynamo_looks_at_grad = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


class TestCompiledNetwork:
    @dynamo_looks_at_grad
    def test_trains_saves_and_loads(self, trainings: Any, ct: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Through torch.compile's wrapper, without the minutes its compiler takes."""
        compile_network = torch.compile
        monkeypatch.setattr(torch, "compile", lambda module, **_: compile_network(module, backend="eager"))
        trainer = trainings.trainer(ct)
        trainer._do_i_compile = lambda: True
        trainer.on_train_start()
        trainer.on_train_epoch_start()
        assert np.isfinite(trainer.train_step(next(trainer.dataloader_train))["loss"])
        assert isinstance(trainer.network, torch._dynamo.OptimizedModule)
        assert type(trainer.block_center_network()) is BlockCenterTransformer
        trainer.save_checkpoint(str(folder(trainer) / "checkpoint_final.pth"))
        assert not any("_orig_mod" in name for name in checkpoint(trainer)["network_weights"])
        after = weights(trainer)
        with torch.no_grad():
            for parameter in trainer.network.parameters():
                parameter.zero_()
        trainer.load_checkpoint(str(folder(trainer) / "checkpoint_final.pth"))
        assert_equal(weights(trainer), after)


class TestBadInput:
    """Inside nnU-Net's commands bad input is an exception whose message is one clear sentence."""

    def test_truncated_checkpoint(self, trainings: Any, ct: int) -> None:
        killed = trainings.train(ct, die_at_step=4)
        file = folder(killed) / "checkpoint_latest.pth"
        file.write_bytes(file.read_bytes()[:-1000])
        with pytest.raises(
            ValueError, match=f"^the checkpoint cannot be read, it is truncated or no checkpoint: {file}$"
        ):
            trainings.trainer(ct, continue_training=True)

    def test_checkpoint_of_another_network(self, trainings: Any, ct: int) -> None:
        data = trainings.with_own_data(ct)
        trainings.train(ct, die_at_step=4)
        plans = json.loads((data / "nnUNetTinyPlans.json").read_text())
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["embed_dim"] = 36
        (data / "nnUNetTinyPlans.json").write_text(json.dumps(plans))
        with pytest.raises(
            ValueError, match=r"another network than the plans describe \(.* is \(.*24.* there and \(.*36"
        ):
            trainings.trainer(ct, continue_training=True)

    def test_label_outside_those_of_the_dataset(self, trainings: Any, ct: int) -> None:
        data = trainings.with_own_data(ct)
        file = data / "dataset.json"
        file.write_text(file.read_text().replace(', "fatty": 2', "").replace(',\n        "fatty": 2', ""))
        with pytest.raises(
            ValueError,
            match=r"^unknown labels \[2\] in the preprocessed data of Dataset901_CT; .* dataset\.json, \[0, 1\]$",
        ):
            trainings.train(ct, seed=1)

    def test_plans_of_nnunet(self, trainings: Any, stock_plans: str, ct: int) -> None:
        with pytest.raises(
            ValueError, match=r"^nnUNetTrainerCFSegShort needs plans made by CFSegPlanner .*PlainConvUNet$"
        ):
            trainings.trainer(ct, plans=stock_plans)

    def test_plans_of_nnunet_leave_nothing_behind(self, trainings: Any, stock_plans: str, ct: int) -> None:
        with pytest.raises(ValueError, match="needs plans made by CFSegPlanner"):
            trainings.trainer(ct, plans=stock_plans)
        assert list(trainings.results.rglob("*")) == []

    def test_crop_that_is_not_whole_patches(self, trainings: Any, ct: int) -> None:
        data = trainings.with_own_data(ct)
        plans = json.loads((data / "nnUNetTinyPlans.json").read_text())
        plans["configurations"]["3d_fullres"]["patch_size"][0] += 1
        (data / "nnUNetTinyPlans.json").write_text(json.dumps(plans))
        with pytest.raises(ValueError, match=r"^the crop .* must be whole centres of \[.*\] voxels .*, got \[.*\]$"):
            trainings.trainer(ct)

    def test_channel_count_that_does_not_match(self, trainings: Any, ct: int) -> None:
        data = trainings.with_own_data(ct)
        dataset_json = json.loads((data / "dataset.json").read_text())
        dataset_json["channel_names"] = {"0": "CT", "1": "T1"}
        (data / "dataset.json").write_text(json.dumps(dataset_json))
        with pytest.raises(ValueError, match="windows must have an entry for each of 2 channels, got 1"):
            trainings.train(ct)

    def test_seed_that_is_no_number(self, trainings: Any, ct: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CFSEG_SEED", "many")
        with pytest.raises(ValueError, match=r"^CFSEG_SEED must be a whole number .*, got 'many'$"):
            trainings.trainer(ct)

    def test_seed_that_is_no_number_leaves_nothing_behind(
        self, trainings: Any, ct: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CFSEG_SEED", "many")
        with pytest.raises(ValueError, match="CFSEG_SEED"):
            trainings.trainer(ct)
        assert list(trainings.results.rglob("*")) == []

    @pytest.mark.parametrize("trainer", ["nnUNetTrainerCFSeg_timed", "nnUNetTrainer_timed"])
    def test_timed_training_without_a_budget(self, trainings: Any, ct: int, trainer: str) -> None:
        with pytest.raises(ValueError, match="CFSEG_TIME_BUDGET_S is not set"):
            trainings.trainer(ct, trainer=trainer)
        assert list(trainings.results.rglob("*")) == []


class TestTimedTraining:
    @pytest.mark.parametrize("trainer", ["nnUNetTrainerCFSegShort_timed", "nnUNetTrainerShort_timed"])
    def test_ends_by_the_clock(
        self, trainings: Any, ct: int, stock_plans: str, monkeypatch: pytest.MonkeyPatch, trainer: str
    ) -> None:
        monkeypatch.setenv("CFSEG_TIME_BUDGET_S", "2")
        plans = "nnUNetTinyPlans" if "CFSeg" in trainer else stock_plans
        trained = trainings.train(ct, trainer=trainer, plans=plans)
        assert trained.steps >= 1
        assert trained.fraction_spent() == 1 or trained.current_epoch == trained.num_epochs
        assert np.isfinite(losses(trained)).all()
        assert (folder(trained) / "checkpoint_final.pth").is_file()

    def test_that_has_ended_trains_no_more(self, trainings: Any, ct: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CFSEG_TIME_BUDGET_S", "1")
        trainings.train(ct, trainer="nnUNetTrainerCFSegShort_timed")
        again = trainings.train(ct, trainer="nnUNetTrainerCFSegShort_timed", continue_training=True)
        assert again.steps == 0


@pytest.mark.gpu
def test_trains_on_a_gpu_with_a_compiled_network(trainings: Any, workspace: Any, ct: int, tmp_path: Path) -> None:
    """Where ``nnUNet_compile`` asks for it; a compiler that does not end is stopped, with all its processes."""
    stop = threading.Event()
    limit = threading.Timer(300, stop.set)
    limit.start()
    try:
        CommandRunner(tmp_path, workspace.environment(), stop=stop).run(
            ["nnUNetv2_train", str(ct), "3d_fullres", "0", "-tr", "nnUNetTrainerCFSegShort", "-p", "nnUNetTinyPlans",
             "-device", "cuda"],
            environment={"nnUNet_results": str(tmp_path), "nnUNet_compile": "t", "CFSEG_TEST_EPOCHS": "1",
                         "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            log=Path("log"),
        )  # fmt: skip
    finally:
        limit.cancel()
    assert "Using torch.compile..." in (tmp_path / "log").read_text()
    trainer = trainings.trainer(ct)
    trainer.load_checkpoint(str(folder(trainer) / "checkpoint_final.pth"))
    assert np.isfinite(losses(trainer)).all()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_training_that_runs_keeps_a_second_one_out_and_ends_with_its_workers(
    workspace: Any, ct: int, tmp_path: Path
) -> None:
    """By the command itself, as a scheduler and an impatient user would."""
    script = shutil.which("nnUNetv2_train", path=str(Path(sys.executable).parent))
    assert script
    line = [sys.executable, script, str(ct), "3d_fullres", "0", "-tr", "nnUNetTrainerCFSeg_timed",
            "-p", "nnUNetTinyPlans", "-device", "cpu"]  # fmt: skip
    environment = {
        **os.environ, **workspace.environment(), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "nnUNet_results": str(tmp_path), "nnUNet_n_proc_DA": "2", "CFSEG_TIME_BUDGET_S": "600",
    }  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        training = subprocess.Popen(line, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 300
        while "Epoch 0" not in (tmp_path / "log").read_text():
            assert training.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        children = Path(f"/proc/{training.pid}/task/{training.pid}/children")
        workers = [int(pid) for pid in children.read_text().split()]
        assert len(workers) >= 2

        second = workspace.commands.run(["nnUNetv2_train", *line[2:]], environment=environment, cwd=tmp_path)
        assert second.returncode == 2
        last = second.stderr.splitlines()[-1]
        assert last.startswith(f"nnUNetv2_train: another training writes to this folder (process {training.pid} on ")
        assert "Traceback" not in second.stderr

        training.send_signal(signal.SIGTERM)
        assert training.wait(60) == 143
        assert (tmp_path / "log").read_text().splitlines()[-1] == "nnUNetv2_train: stopped by SIGTERM"
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    finally:
        training.kill()
        training.wait()
