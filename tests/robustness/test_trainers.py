"""Trainings that are stopped, continued, fed bad files or started twice: what is right afterwards, and what is said."""

from __future__ import annotations

import copy
import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixtures.tiny_training import CASES, make_trainer, training_plans, write_preprocessed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import parameters_to_vector

from nnunetv2_cfseg.baselines.baseline_trainer import BaselineTrainer
from nnunetv2_cfseg.files.atomic_files import atomic_write, remove_leftovers
from nnunetv2_cfseg.files.folder_lock import lock_folder
from nnunetv2_cfseg.losses.thin_thick import ThinThickSettings
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.nnunet.plans import resolve
from nnunetv2_cfseg.processes.lifetime import process_exists
from nnunetv2_cfseg.processes.stop_signals import JOB_SIGNALS, Stopped, stopped_by_signals
from nnunetv2_cfseg.trainers import cfseg, thin_thick
from nnunetv2_cfseg.trainers.background import BackgroundBatches, quiet_about_dead_workers
from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.checkpoint import NEEDED, STATE
from nnunetv2_cfseg.trainers.export_thick_model import write_thick_model
from nnunetv2_cfseg.trainers.guarded import check_worker_count
from nnunetv2_cfseg.trainers.one_sentence import one_sentence
from nnunetv2_cfseg.trainers.plans import block_sampling, check_batch_size, check_plans
from nnunetv2_cfseg.trainers.pretrained import check_pretrained_weights, pretrained_weights_file
from nnunetv2_cfseg.trainers.seed import read_seed
from nnunetv2_cfseg.trainers.thin_thick import nnUNetTrainerCFSegThinThick
from nnunetv2_cfseg.trainers.thin_thick_plans import count_blocks, thin_thick_section
from nnunetv2_cfseg.trainers.timed import read_time_budget_s

LATEST, FINAL = "checkpoint_latest.pth", "checkpoint_final.pth"

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler"
)


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nnU-Net's folder of preprocessed datasets, with one."""
    folder = tmp_path_factory.mktemp("preprocessed")
    write_preprocessed(folder, training_plans())
    return folder


@pytest.fixture
def folders(preprocessed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """nnU-Net is steered to the dataset, and to results of this test's own."""
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_compile", "f")
    monkeypatch.setenv("CFSEG_SEED", "3")
    return tmp_path


@pytest.fixture
def own_data(folders: Path, preprocessed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the preprocessed cases to spoil."""
    shutil.copytree(preprocessed, folders / "copy")
    monkeypatch.setenv("nnUNet_preprocessed", str(folders / "copy"))
    return folders / "copy" / "Dataset900_Tiny" / "tiny"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes this process look like a command of nnU-Net's."""

    def pretend(name: str, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [f"/usr/bin/{name}", *arguments])

    return pretend


def said_in_the_log(trainer: Any) -> str:
    return "".join(file.read_text() for file in Path(trainer.output_folder).glob("training_log_*"))


class TestContinued:
    """A training that is stopped within an epoch and continued is the one that never stopped, bit for bit."""

    def run(self, name: str, operator: str, monkeypatch: pytest.MonkeyPatch, folders: Path, **how: Any) -> Any:
        monkeypatch.setenv("nnUNet_results", str(folders / name))
        trainer = make_trainer(nnUNetTrainerCFSegThinThick, training_plans(operator=operator), epochs=3)
        trainer.die_at_step = how.get("die_at_step")
        if how.get("continued"):
            trainer.load_checkpoint(str(Path(trainer.output_folder, LATEST)))
        if trainer.die_at_step is None:
            trainer.run_training()
        else:
            with pytest.raises(KeyboardInterrupt):
                trainer.run_training()
        return trainer

    @pytest.mark.parametrize("operator", ["transition", "count"])
    def test_paired_training(self, operator: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = self.run("whole", operator, monkeypatch, folders)
        self.run("stopped", operator, monkeypatch, folders, die_at_step=4)
        continued = self.run("stopped", operator, monkeypatch, folders, continued=True)
        assert continued.steps == 6
        learnt = whole.thin_thick_loss.state_dict()
        assert set(learnt) == ({"volume.margin"} if operator == "transition" else {"volume.margin", "slab.shift"})
        assert all(value.abs().max() > 0.01 for value in learnt.values())
        for one, other in (
            (continued.network.state_dict(), whole.network.state_dict()),
            (continued.thin_thick_loss.state_dict(), learnt),
        ):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        for key in ("train_losses", "val_losses", "ema_fg_dice"):
            np.testing.assert_array_equal(*(run.logger.get_value(key, step=None) for run in (continued, whole)))

    def test_from_a_checkpoint_of_before(self, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the state of the loss: it begins anew, and the log says so."""
        stopped = self.run("stopped", "count", monkeypatch, folders, die_at_step=4)
        file = Path(stopped.output_folder, LATEST)
        checkpoint = torch.load(file, weights_only=False)
        del checkpoint[STATE]
        torch.save(checkpoint, file)
        continued = self.run("stopped", "count", monkeypatch, folders, continued=True)
        assert "the checkpoint has no volume.margin, slab.shift: begins anew" in said_in_the_log(continued)

    def test_by_changed_plans_says_so(self, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stopped = self.run("stopped", "count", monkeypatch, folders, die_at_step=4)
        plans = training_plans(operator="transition")
        plans["configurations"]["3d_fullres"]["batch_size"] = 1
        other = make_trainer(nnUNetTrainerCFSegThinThick, plans)
        other.load_checkpoint(str(Path(stopped.output_folder, LATEST)))
        assert "plans have changed since this checkpoint was written: batch_size, cfseg of" in said_in_the_log(other)

    def test_checkpoints_need_no_trust(self, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What this package adds are plain values and tensors."""
        stopped = self.run("stopped", "count", monkeypatch, folders, die_at_step=4)
        state = torch.load(Path(stopped.output_folder, LATEST), weights_only=False)[STATE]
        torch.save(state, folders / "state.pth")
        torch.testing.assert_close(torch.load(folders / "state.pth", weights_only=True), state)


class TestCompiled:
    """With torch.compile, as ``nnUNet_compile=t`` has it on a GPU; on a processor nnU-Net never compiles."""

    @pytest.fixture(autouse=True)
    def _fresh_compiler(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        # Compiled code rounds bfloat16 at other places.
        for module in (cfseg, thin_thick):
            monkeypatch.setattr(module, "mixed_precision", lambda device: nullcontext())
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    def start(self, kind: type[nnUNetTrainerCFSeg], *, compiled: bool) -> Any:
        trainer = make_trainer(kind, training_plans())
        trainer._do_i_compile = lambda: compiled
        trainer.on_train_start()
        return trainer

    def epoch(self, trainer: Any, batches: list[dict], held_out: dict) -> list[float]:
        """An epoch as nnU-Net's loop has it, and the losses of its steps and of its validation."""
        trainer.on_train_epoch_start()
        losses = [float(trainer.train_step(batch)["loss"]) for batch in batches]
        trainer.on_validation_epoch_start()
        with torch.no_grad():
            losses.append(float(trainer.validation_step(held_out)["loss"]))
        return losses

    # Dynamo looks at .grad of tensors that have none.
    @pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
    @pytest.mark.parametrize(
        ("kind", "backend"),
        [
            (nnUNetTrainerCFSeg, "eager"),
            (nnUNetTrainerCFSegThinThick, "eager"),
            pytest.param(nnUNetTrainerCFSeg, "inductor", marks=[pytest.mark.slow, needs_compiler]),
        ],
    )
    def test_steps_as_without_and_compiles_once(
        self, kind: type[nnUNetTrainerCFSeg], backend: str, folders: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compile_network = torch.compile
        monkeypatch.setattr(torch, "compile", lambda module, **_: compile_network(module, backend=backend))
        trainers = [self.start(kind, compiled=compiled) for compiled in (False, True)]
        eager, compiled = trainers
        assert isinstance(compiled.network, torch._dynamo.OptimizedModule)
        compiled.bare_network().load_state_dict(eager.bare_network().state_dict())
        before = parameters_to_vector(eager.bare_network().parameters()).detach()
        batches, held_out = [next(eager.dataloader_train) for _ in range(4)], next(eager.dataloader_val)

        losses = [self.epoch(trainer, batches[:1], copy.deepcopy(held_out)) for trainer in trainers]
        with torch._dynamo.config.patch(error_on_recompile=True):
            for trainer, so_far in zip(trainers, losses, strict=True):
                so_far += self.epoch(trainer, batches[1:], copy.deepcopy(held_out))

        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
        # All weights together: the bias of attention's keys has no gradient but rounding, which AdamW scales up.
        with torch.no_grad():
            expected, moved = (parameters_to_vector(t.bare_network().parameters()) - before for t in trainers)
        assert expected.norm() > 0
        assert (moved - expected).norm() < 0.02 * expected.norm()


class TiedNetwork(torch.nn.Module):
    """As those of other libraries: a layer under several names, as in nnU-Net's U-Net, and an index as a buffer."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.layer = torch.nn.Conv3d(1, heads, 1)
        self.wide = torch.nn.Linear(300, 300)
        self.same, self.again, self.once_more = self.wide, self.wide, self.wide
        self.register_buffer("index", torch.arange(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + 0 * self.wide.weight.sum()


class TiedTrainer(BaselineTrainer):
    @staticmethod
    def make_network(input_channels: int, heads: int, crop: tuple[int, int, int]) -> torch.nn.Module:
        return TiedNetwork(heads)


def test_a_network_of_another_library_is_continued(folders: Path) -> None:
    """Its weights need be neither floating-point nor each stored for itself."""
    first = make_trainer(TiedTrainer, training_plans(), epochs=2)
    first.die_at_step = 4
    with pytest.raises(KeyboardInterrupt):
        first.run_training()
    second = make_trainer(TiedTrainer, training_plans(), epochs=2)
    second.load_checkpoint(str(Path(first.output_folder, LATEST)))
    second.run_training()
    assert second.steps == 3
    check_pretrained_weights(second.bare_network(), str(Path(second.output_folder, FINAL)))


@pytest.fixture(scope="module")
def checkpoint(preprocessed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
        monkeypatch.setenv("nnUNet_results", str(tmp_path_factory.mktemp("results")))
        monkeypatch.setenv("nnUNet_n_proc_DA", "0")
        trainer = make_trainer(nnUNetTrainerCFSeg, training_plans(), epochs=1)
        trainer.run_training()
        yield torch.load(Path(trainer.output_folder, FINAL), weights_only=False)


class TestCheckpointThatIsNoGood:
    @pytest.fixture
    def load(self, folders: Path) -> Callable[[Any], None]:
        def load(content: Any) -> None:
            file = folders / "the_checkpoint.pth"
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                torch.save(content, file)
            make_trainer(nnUNetTrainerCFSeg, training_plans()).load_checkpoint(str(file))

        return load

    def test_a_good_one_loads(self, checkpoint: dict[str, Any], load: Callable[[Any], None]) -> None:
        load(checkpoint)

    @pytest.mark.parametrize("key", NEEDED)
    def test_without_an_entry(self, key: str, checkpoint: dict[str, Any], load: Callable[[Any], None]) -> None:
        with pytest.raises(ValueError, match=rf"{key}.*the_checkpoint\.pth$"):
            load({name: value for name, value in checkpoint.items() if name != key})

    @pytest.mark.parametrize("key", [key for key, kind in NEEDED.items() if kind is not object])
    @pytest.mark.parametrize("value", [None, "text", [1, 2], 2.5])
    def test_with_an_entry_of_another_type(
        self, key: str, value: Any, checkpoint: dict[str, Any], load: Callable[[Any], None]
    ) -> None:
        with pytest.raises(ValueError, match=rf"{key}.*the_checkpoint\.pth$"):
            load({**checkpoint, key: value})

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("key", ["network_weights", "optimizer_state"])
    def test_with_values_that_are_not_finite(
        self, key: str, value: float, checkpoint: dict[str, Any], load: Callable[[Any], None]
    ) -> None:
        spoilt = copy.deepcopy(checkpoint)
        tensors = spoilt[key] if key == "network_weights" else spoilt[key]["muon"]["state"][0]
        next(iter(tensors.values())).flatten()[0] = value
        with pytest.raises(ValueError, match=r"finite.*the_checkpoint\.pth$"):
            load(spoilt)

    def test_of_another_network(self, checkpoint: dict[str, Any], load: Callable[[Any], None]) -> None:
        spoilt = copy.deepcopy(checkpoint)
        name = next(iter(spoilt["network_weights"]))
        spoilt["network_weights"][name] = torch.zeros(5, 7)
        with pytest.raises(ValueError, match=rf"{name} is \(5, 7\) there.*the_checkpoint\.pth$"):
            load(spoilt)

    def test_of_another_optimizer(self, checkpoint: dict[str, Any], load: Callable[[Any], None]) -> None:
        with pytest.raises(ValueError, match=r"muon.*the_checkpoint\.pth$"):
            load({**checkpoint, "optimizer_state": {"state": {}, "param_groups": []}})

    @pytest.mark.parametrize("logging", [{}, {"ema_fg_dice": "text"}, {"train_losses": [1.0]}])
    def test_of_a_log_that_is_none(
        self, logging: dict[str, Any], checkpoint: dict[str, Any], load: Callable[[Any], None]
    ) -> None:
        with pytest.raises(ValueError, match=r"the_checkpoint\.pth$"):
            load({**checkpoint, "logging": logging})

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
    def test_cut_short(
        self, share: float, checkpoint: dict[str, Any], load: Callable[[Any], None], tmp_path: Path
    ) -> None:
        torch.save(checkpoint, tmp_path / "whole.pth")
        whole = (tmp_path / "whole.pth").read_bytes()
        with pytest.raises(ValueError, match=r"the_checkpoint\.pth$"):
            load(whole[: int(len(whole) * share)])

    @pytest.mark.parametrize("state", [None, 3, [1], {"loss": None}, {"spent_s": "long"}])
    def test_with_an_odd_state_of_ours_loads(
        self, state: Any, checkpoint: dict[str, Any], load: Callable[[Any], None]
    ) -> None:
        load({**checkpoint, STATE: state})


class TestPretrainedWeights:
    @pytest.fixture
    def network(self) -> torch.nn.Module:
        return torch.nn.ModuleDict({"body": torch.nn.Linear(2, 3)})

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"body.weight": torch.zeros(4, 2)}, r"body\.weight is \(4, 2\) there and \(3, 2\) here"),
            ({"body.bias": None}, r"body\.bias is missing there and \(3,\) here"),
            ({"body.bias": "text"}, r"body\.bias is missing there"),
            ({"body.weight": torch.full((3, 2), math.nan)}, r"not finite \(body\.weight\)"),
        ],
    )
    def test_of_another_network(
        self, change: dict[str, Any], words: str, network: torch.nn.Module, tmp_path: Path
    ) -> None:
        weights = {name: value for name, value in {**network.state_dict(), **change}.items() if value is not None}
        torch.save({"network_weights": weights}, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=rf"{words}.*other\.pth$"):
            check_pretrained_weights(network, str(tmp_path / "other.pth"))

    def test_of_other_classes_fit(self, tmp_path: Path) -> None:
        own, other = ({"a": torch.zeros(2), "x.seg_layers.0": torch.zeros(classes)} for classes in (3, 5))
        torch.save({"network_weights": other}, tmp_path / "other.pth")
        network = torch.nn.Module()
        network.state_dict = lambda: own  # type: ignore[method-assign]
        check_pretrained_weights(network, str(tmp_path / "other.pth"))

    @pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(20)])
    def test_that_are_none(self, content: bytes, network: torch.nn.Module, tmp_path: Path) -> None:
        (tmp_path / "other.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"other\.pth$"):
            check_pretrained_weights(network, str(tmp_path / "other.pth"))

    @pytest.mark.parametrize(
        ("arguments", "file"),
        [
            (("1", "3d_fullres", "0", "-pretrained_weights", "w.pth"), "w.pth"),
            (("1", "3d_fullres", "0", "-pretrained_weights=w.pth", "-p", "Plans"), "w.pth"),
            (("1", "3d_fullres", "0", "-p", "-tr"), None),
            (("1", "3d_fullres", "0", "-tr", "T"), None),
            (("1", "3d_fullres", "0", "-pretrained_weights", "w.pth", "--c"), None),
            ((), None),
        ],
    )
    def test_are_found_on_the_command_line(
        self, arguments: tuple[str, ...], file: str | None, command: Callable[..., None]
    ) -> None:
        command("nnUNetv2_train", *arguments)
        assert pretrained_weights_file() == file

    def test_of_other_programs_are_not_looked_for(self, command: Callable[..., None]) -> None:
        command("my_train", "-pretrained_weights", "w.pth")
        assert pretrained_weights_file() is None

    def test_end_the_command_with_a_sentence(
        self, folders: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = folders / "other.pth"
        torch.save({"network_weights": {"stem.conv": torch.zeros(3)}}, file)
        trainer = make_trainer(nnUNetTrainerCFSeg, training_plans())
        command("nnUNetv2_train", "900", "3d_fullres", "0", "-pretrained_weights", str(file))
        with pytest.raises(SystemExit) as stop:
            trainer.initialize()
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("nnUNetv2_train: the pretrained weights are another network's (")
        assert line.endswith(str(file))


class TestLossThatIsNotFinite:
    @pytest.fixture
    def trainer(self, folders: Path) -> Any:
        return make_trainer(nnUNetTrainerCFSeg, training_plans(), epochs=2)

    def spoil(self, trainer: Any, monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
        loss_on_centers = trainer.loss_on_centers

        def loss(batch: dict) -> torch.Tensor:
            value = loss_on_centers(batch)
            return value * math.nan if trainer.steps - 1 in steps else value

        monkeypatch.setattr(trainer, "loss_on_centers", loss)

    def test_is_a_step_that_changes_nothing(self, trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spoil(trainer, monkeypatch, {1, 4})
        trainer.run_training()
        assert trainer.steps == 6
        assert all(bool(value.isfinite().all()) for value in trainer.network.state_dict().values())
        assert said_in_the_log(trainer).count("1 steps of this epoch were skipped") == 2

    def test_in_all_of_an_epoch_ends_training(self, trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spoil(trainer, monkeypatch, {3, 4, 5})
        with pytest.raises(ValueError, match=r"not finite in any of the 3 steps of epoch 1.*fold_0$"):
            trainer.run_training()
        left = torch.load(Path(trainer.output_folder, LATEST), weights_only=False)
        assert left["current_epoch"] == 1

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_weights_never_replace_a_good_checkpoint(self, trainer: Any, value: float, tmp_path: Path) -> None:
        trainer.initialize()
        file = tmp_path / LATEST
        trainer.save_checkpoint(str(file))
        before = file.read_bytes()
        with torch.no_grad():
            next(trainer.network.parameters()).flatten()[0] = value
        with pytest.raises(ValueError, match=rf"no longer finite.*{LATEST}$"):
            trainer.save_checkpoint(str(file))
        assert file.read_bytes() == before
        assert not list(tmp_path.glob(".*.tmp"))


class TestFullDisk:
    def test_is_said_with_the_file(self, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        trainer = make_trainer(nnUNetTrainerCFSeg, training_plans())
        trainer.initialize()

        def save(content: Any, file: str) -> None:
            Path(file).write_bytes(b"half")
            raise RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos 64 vs 0\nmore")

        monkeypatch.setattr(torch, "save", save)
        with pytest.raises(OSError, match=rf"cannot be written .*unexpected pos.*{LATEST}$"):
            trainer.save_checkpoint(str(folders / LATEST))
        assert not list(folders.glob("*.pth"))
        assert not list(folders.glob(".*.tmp"))


class TestPreprocessedFileThatIsNoGood:
    FILES = ("case_2.b2nd", "case_2_seg.b2nd", "case_2.pkl")

    @pytest.mark.parametrize("file", FILES)
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
    def test_cut_short_is_named_before_training(self, file: str, share: float, own_data: Path) -> None:
        whole = (own_data / file).read_bytes()
        (own_data / file).write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=rf"cannot be read.*{file}$"):
            make_trainer(nnUNetTrainerCFSeg, training_plans()).run_training()

    @pytest.mark.parametrize("file", [*FILES, "case_0_seg.b2nd"])  # one of validation
    def test_missing_is_named_before_training(self, file: str, own_data: Path) -> None:
        # Without its image, nnU-Net takes labels for the image of another case.
        (own_data / file).unlink()
        with pytest.raises(ValueError, match=rf"{file.split('.')[0]}"):
            make_trainer(nnUNetTrainerCFSeg, training_plans()).run_training()

    def test_damaged_inside_is_named_when_it_is_read(self, own_data: Path) -> None:
        for case in range(1, CASES):
            file = own_data / f"case_{case}.b2nd"
            content = bytearray(file.read_bytes())
            content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
            file.write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot be read.*case_\d\.b2nd$"):
            make_trainer(nnUNetTrainerCFSeg, training_plans()).run_training()

    def test_a_fold_without_cases(self, own_data: Path) -> None:
        names = [f"case_{number}" for number in range(CASES)]
        splits = own_data.parent / "splits_final.json"
        splits.write_text(json.dumps([{"train": [], "val": names}]))
        with pytest.raises(ValueError, match=r"no training cases.*tiny$"):
            make_trainer(nnUNetTrainerCFSeg, training_plans()).run_training()


class TestSentence:
    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (ValueError("the factor must be 2\nor more"), "the factor must be 2 or more"),
            (OSError(28, "No space left on device", "file.pth"), "[Errno 28] No space left on device: 'file.pth'"),
            (MemoryError(), "out of memory: MemoryError"),
            (torch.OutOfMemoryError("CUDA out of memory."), "out of memory: CUDA out of memory."),
            (ChildProcessError("a worker was killed"), "a worker was killed"),
        ],
    )
    def test_ends_a_command_of_nnunet(
        self, error: Exception, sentence: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        command("nnUNetv2_train", "1")
        logged: list[str] = []
        with pytest.raises(SystemExit) as stop, one_sentence(logged.append):
            raise error
        assert stop.value.code == 2
        assert capsys.readouterr().err == f"nnUNetv2_train: {sentence}\n"
        assert "Traceback" in logged[0]

    def test_is_an_error_for_any_other_program(self, command: Callable[..., None]) -> None:
        command("python")
        with pytest.raises(ValueError, match="no"), one_sentence():
            raise ValueError("no")

    def test_is_not_made_of_errors_of_the_program(self, command: Callable[..., None]) -> None:
        command("nnUNetv2_train")
        with pytest.raises(ZeroDivisionError), one_sentence():
            raise ZeroDivisionError

    def test_names_what_stopped_it(self, command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
        command("nnUNetv2_train")
        with pytest.raises(SystemExit) as stop, one_sentence():
            raise Stopped(signal.SIGTERM)
        assert stop.value.code == 143
        assert capsys.readouterr().err == "nnUNetv2_train: stopped by SIGTERM\n"

    @pytest.mark.parametrize("kind", [nnUNetTrainerCFSeg, nnUNetTrainerCFSegThinThick])
    def test_refuses_plans_before_anything_is_written(
        self, kind: Any, folders: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        command("nnUNetv2_train")
        with pytest.raises(SystemExit):
            make_trainer(kind, training_plans(border_fraction=7))
        assert capsys.readouterr().err == (
            "nnUNetv2_train: cfseg.border_fraction must be less than or equal to 1, got 7: the plans\n"
        )
        assert not (folders / "results").exists()


ODD = [None, True, "text", "", -1, 0, 2.5, math.nan, math.inf, -math.inf, 10**12, 1e308, [], [1], {}, {"a": 1}, [[0]]]


def look_at(plans: dict[str, Any], name: str = "3d_fullres") -> None:
    """All that trainers look at before anything is written."""
    configuration = resolve(plans, name)
    check_plans(configuration, trainer="T")
    check_batch_size(configuration)
    section = thin_thick_section(configuration, trainer="T")
    loss = ThinThickSettings.from_plans(section.loss)
    count_blocks(block_sampling(CFSegSection.from_plans(configuration)).blocks_per_crop, section, loss)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to every entry of nested dicts and lists."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*at, key))


def with_entry(plans: Any, at: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(plans)
    place = changed
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    return changed


class TestPlans:
    def test_of_the_planner_are_taken(self) -> None:
        for operator in ("transition", "count"):
            look_at(training_plans(operator=operator))
            look_at(training_plans(operator=operator), "3d_thick")

    @pytest.mark.parametrize("value", [None, True, "8", -1, 0, 2.5, math.nan, math.inf, 10**12, [], {}])
    @pytest.mark.parametrize("key", ["blocks_per_crop", "batch_size"])
    def test_counts(self, key: str, value: Any) -> None:
        plans = training_plans()
        configuration = plans["configurations"]["3d_fullres"]
        (configuration if key == "batch_size" else configuration["cfseg"])[key] = value
        with pytest.raises(ValueError, match=key):
            look_at(plans)

    @pytest.mark.parametrize("value", [None, True, "0.5", -0.01, 1.01, math.nan, math.inf, [], {}])
    @pytest.mark.parametrize(
        "key",
        [
            "foreground_fraction",
            "hard_background_fraction",
            "border_fraction",
            "column_fraction",
            "thick_fraction",
            "threshold",
        ],
    )
    def test_shares(self, key: str, value: Any) -> None:
        plans = training_plans()
        section = plans["configurations"]["3d_fullres"]["cfseg"]
        (section if key in section or key == "border_fraction" else section["thin_thick"])[key] = value
        with pytest.raises(ValueError, match=f"{key}"):
            look_at(plans)

    @pytest.mark.parametrize("axes", [None, 2, "2", [3], [-1], [0, 0], [True], ["x"], [1.0], {"0": 1}, [[0]]])
    def test_mirror_axes(self, axes: Any) -> None:
        with pytest.raises(ValueError, match=r"^cfseg\.mirror_axes.* must "):
            look_at(training_plans(mirror_axes=axes))

    @pytest.mark.parametrize("hu", [5, "a", [1], [1, 2, 3], [2, 1], [0, 0], [0, math.nan], [-math.inf, 0], [0, True]])
    def test_foreground_hu(self, hu: Any) -> None:
        with pytest.raises(ValueError, match=r"^cfseg\.foreground_hu"):
            look_at(training_plans(foreground_hu=hu))

    @pytest.mark.parametrize("name", ["3d_nothing", "", "2d"])
    def test_without_the_configuration(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"^the configuration must be one of 3d_fullres, 3d_thick, got '{name}'"):
            look_at(training_plans(), name)

    @settings(max_examples=150)
    @given(st.data())
    def test_with_any_entry_of_any_kind_are_taken_or_refused_in_a_sentence(self, data: st.DataObject) -> None:
        """Never another error than a ValueError."""
        plans = training_plans(operator=data.draw(st.sampled_from(["transition", "count", "annotator"])))
        ways = [way for way in paths(plans) if way]
        changed = with_entry(plans, data.draw(st.sampled_from(ways)), data.draw(st.sampled_from(ODD)))
        with suppress(ValueError):
            look_at(changed)

    def test_that_inherit_in_a_circle(self) -> None:
        plans = training_plans()
        plans["configurations"]["3d_fullres"]["inherits_from"] = "3d_thick"
        with pytest.raises(ValueError, match="must not inherit from each other"):
            look_at(plans)


class TestEnvironment:
    @pytest.mark.parametrize("text", ["", " ", "-1", "1.5", "1e3", "seven", "4294967296", "9" * 400, "0x10", "nan"])
    def test_seed(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CFSEG_SEED", text)
        with pytest.raises(ValueError, match="CFSEG_SEED must be a whole number"):
            read_seed()

    @pytest.mark.parametrize("text", ["", " ", "0", "-5", "20 min", "nan", "inf", "1e999", "-inf", "0x10", "1,5"])
    def test_budget(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CFSEG_TIME_BUDGET_S", text)
        with pytest.raises(ValueError, match="CFSEG_TIME_BUDGET_S must be a positive number"):
            read_time_budget_s()

    @pytest.mark.parametrize("text", ["", " ", "-1", "1.5", "many", "nan"])
    def test_workers(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("nnUNet_n_proc_DA", text)
        with pytest.raises(ValueError, match="nnUNet_n_proc_DA must be a whole number"):
            check_worker_count()


class Endless:
    """A loader of small batches, which fails at a batch."""

    transforms = None

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at, self.made = fails_at, 0

    def set_thread_id(self, thread_id: int) -> None: ...

    def __next__(self) -> dict[str, Any]:
        self.made += 1
        if self.made == self.fails_at:
            raise ValueError("a label that the dataset does not have")
        return {"data": np.zeros(10), "pid": os.getpid()}


def feed(folder: Path) -> None:
    """A process that reads from two workers until it is stopped."""
    batches = BackgroundBatches(Endless(), None, 2, num_cached=4)
    try:
        with stopped_by_signals(JOB_SIGNALS, raising=Stopped), lock_folder(folder):
            next(batches)
            (folder / "workers").write_text(" ".join(str(worker.pid) for worker in batches._processes))
            while True:
                next(batches)
    finally:
        batches.end()


def read(batches: BackgroundBatches) -> None:
    """More than what was made before anything went wrong."""
    for _ in range(10**6):
        next(batches)


def wait_for(what: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


def is_running(pid: int) -> bool:
    """Whether it exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
class TestWorkers:
    @pytest.fixture
    def fed(self, tmp_path: Path) -> Iterator[tuple[Any, list[int]]]:
        process = multiprocessing.get_context("fork").Process(target=feed, args=(tmp_path,))
        process.start()
        assert wait_for(lambda: (tmp_path / "workers").is_file() and (tmp_path / "workers").read_text() != "")
        yield process, [int(pid) for pid in (tmp_path / "workers").read_text().split()]
        if process.is_alive():
            process.kill()
        process.join()

    @pytest.mark.parametrize(
        ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)]
    )
    def test_end_with_the_training(
        self, number: signal.Signals, status: int, fed: tuple[Any, list[int]], tmp_path: Path
    ) -> None:
        process, workers = fed
        assert len(workers) == 2
        assert all(map(is_running, workers))
        os.kill(process.pid, number)
        process.join(15)
        assert process.exitcode == status
        assert wait_for(lambda: not any(map(is_running, workers)))
        with lock_folder(tmp_path):  # the lock went as well
            pass

    def test_do_not_clean_up_after_the_training(self, fed: tuple[Any, list[int]]) -> None:
        """A signal to a worker ends it on the spot, and the training with a sentence."""
        process, workers = fed
        os.kill(workers[0], signal.SIGTERM)
        process.join(15)
        assert process.exitcode == 1
        assert wait_for(lambda: not any(map(is_running, workers)))

    def test_that_fail_say_why(self) -> None:
        batches = BackgroundBatches(Endless(fails_at=3), None, 1, num_cached=2)
        try:
            with pytest.raises(ValueError, match="a label that the dataset does not have"):
                read(batches)
        finally:
            batches.end()

    def test_that_are_killed_are_said_to_be(self) -> None:
        batches = BackgroundBatches(Endless(), None, 2, num_cached=2)
        try:
            with quiet_about_dead_workers():
                next(batches)
                os.kill(batches._processes[1].pid, signal.SIGKILL)
                with pytest.raises(OSError, match="nnUNet_n_proc_DA"):
                    read(batches)
        finally:
            batches.end()

    def test_are_ended_twice_without_harm(self) -> None:
        batches = BackgroundBatches(Endless(), None, 1, num_cached=2)
        next(batches)
        batches.end()
        batches.end()
        assert not batches._processes


HOLD = """
import sys, time
from pathlib import Path
from nnunetv2_cfseg.files.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


class TestLock:
    def test_stops_a_second_training(self, folders: Path) -> None:
        trainer = make_trainer(nnUNetTrainerCFSeg, training_plans())
        process = subprocess.Popen([sys.executable, "-c", HOLD, trainer.output_folder], stdout=subprocess.PIPE)
        with process:
            assert process.stdout
            process.stdout.readline()
            for begin in (trainer.run_training, trainer.perform_actual_validation):
                with pytest.raises(ValueError, match=rf"another training .*{process.pid}.*fold_0$"):
                    begin()
            process.kill()
        assert not list(Path(trainer.output_folder).glob("*.pth"))


class TestLeftovers:
    def dead_process(self) -> int:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        return process.pid

    def test_of_killed_processes_go_at_the_next_start(self, folders: Path) -> None:
        trainer = make_trainer(nnUNetTrainerCFSeg, training_plans(), epochs=1)
        folder = Path(trainer.output_folder)
        gone, own = (f".{LATEST}.{pid}.tmp" for pid in (self.dead_process(), os.getpid()))
        alive, foreign = f".{LATEST}.{os.getppid()}.tmp", [".notes.tmp", "a.1.tmp", f".x.{LATEST}.tmp"]
        for name in (gone, own, alive, *foreign):
            (folder / name).write_bytes(b"half")
        trainer.run_training()
        left = {path.name for path in folder.iterdir() if path.name.endswith(".tmp")}
        assert left == {alive, *foreign}

    def test_of_the_thick_model_go_as_well(self, write_model: Callable[..., Path]) -> None:
        fold = write_model() / "fold_0"
        thick = write_thick_model(fold)
        leftover = thick / "fold_0" / f".{FINAL}.{self.dead_process()}.tmp"
        leftover.write_bytes(b"half")
        write_thick_model(fold)
        assert [path.name for path in (thick / "fold_0").iterdir()] == [FINAL]

    def test_are_what_a_write_uses(self, tmp_path: Path) -> None:
        with atomic_write(str(tmp_path / "a.json")) as temporary:
            Path(temporary).write_text("half")
            remove_leftovers(tmp_path)
            assert not Path(temporary).exists()  # of this process: it must not be writing
            Path(temporary).write_text("whole")

    @pytest.mark.parametrize("pid", [2**22 + 1, 10**30])
    def test_processes_that_cannot_exist_do_not(self, pid: int) -> None:
        assert not process_exists(pid)
        assert process_exists(os.getpid())
