"""Small synthetic datasets, planned and preprocessed once, and short trainings on them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures.warm_commands import WarmCommands
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    plan_experiment_dataset,
)
from nnunetv2.inference import predict_from_raw_data
from nnunetv2.run import run_training
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

import nnunetv2_cfseg
from nnunetv2_cfseg.planners.plan_and_preprocess import plan_and_preprocess

SHIM = Path(nnunetv2_cfseg.__file__).parent / "nnunet_ext"
TINY_PLANS = "nnUNetTinyPlans"
SHAPE = (32, 48, 48)

#: Trainers for tests, which nnU-Net finds by name as it finds any other.
TRAINERS = '''
import os

from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.timed import nnUNetTrainer_timed
from nnunetv2_cfseg.trainers.variants import nnUNetTrainerCFSeg_timed


class Short:
    """A few epochs of three steps, without plots; dies where CFSEG_TEST_DIE_AT_STEP says."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch = 3
        self.num_val_iterations_per_epoch = 1
        self.num_epochs = int(os.environ.get("CFSEG_TEST_EPOCHS", 4))
        self.save_every = 1
        self.steps = 0
        self.logger.plot_progress_png = lambda folder: None

    def train_step(self, batch):
        if os.environ.get("CFSEG_TEST_DIE_AT_STEP") == str(self.steps):
            raise KeyboardInterrupt
        self.steps += 1
        return super().train_step(batch)


class nnUNetTrainerCFSegShort(Short, nnUNetTrainerCFSeg):
    pass


class nnUNetTrainerCFSegShort_timed(Short, nnUNetTrainerCFSeg_timed):
    pass


class nnUNetTrainerShort_timed(Short, nnUNetTrainer_timed):
    pass


class nnUNetTrainerCFSegLearns(Short, nnUNetTrainerCFSeg):
    """Long enough to learn what is easy."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch = 8
        self.num_epochs = 2
'''


class Workspace:
    """nnU-Net's folders for all tests of a session, and its commands run in them."""

    def __init__(
        self,
        folder: Path,
        commands: WarmCommands,
        write_raw_dataset: Callable[..., Path],
        switch_to_threads: Callable[[pytest.MonkeyPatch], None],
    ) -> None:
        self.folder = folder
        self.commands = commands
        self.write_raw_dataset, self.switch_to_threads = write_raw_dataset, switch_to_threads
        self.raw, self.preprocessed, self.results = (folder / name for name in ("raw", "preprocessed", "results"))
        self.trainers = folder / "trainers"
        for path in (self.raw, self.preprocessed, self.results, self.trainers):
            path.mkdir()
        (self.trainers / "trainers_for_tests.py").write_text(TRAINERS)
        self.find_trainer = cache(recursive_find_trainer_class_by_name)

    def environment(self) -> dict[str, str]:
        """What nnU-Net and this package are steered by."""
        return {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": os.pathsep.join([str(SHIM), str(self.trainers)]),
            "nnUNet_compile": "f",
            "nnUNet_def_n_proc": "1",
            "nnUNet_n_proc_DA": "0",
        }

    def run(self, command: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of nnU-Net's, or ``cfseg``, as a user would, and stop the test if it fails."""
        done = self.commands.run(
            [command, *arguments],
            environment={**os.environ, **self.environment(), **environment},
            cwd=self.folder,
        )
        assert done.returncode == 0, (
            f"{command} {arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
        return done

    @contextmanager
    def in_process(self, *, results: Path | None = None) -> Iterator[pytest.MonkeyPatch]:
        """nnU-Net's functions in this process, their worker processes replaced by threads.

        They look for a trainer in all of nnU-Net's modules, which takes a second, once a session.
        """
        with pytest.MonkeyPatch.context() as monkeypatch:
            self.switch_to_threads(monkeypatch)
            for module in (run_training, predict_from_raw_data):
                monkeypatch.setattr(module, "recursive_find_trainer_class_by_name", self.find_trainer)
            for name, value in self.environment().items():
                monkeypatch.setenv(name, value)
            if results is not None:
                monkeypatch.setenv("nnUNet_results", str(results))
            yield monkeypatch

    def add_dataset(self, number: int, name: str, **kwargs: Any) -> int:
        """Write a dataset, plan and preprocess it; returns its id."""
        self.write_raw_dataset(self.raw, f"Dataset{number}_{name}", **{"cases": 6, "shape": SHAPE, **kwargs})
        self.plan_and_preprocess(number)
        return number

    def plan_and_preprocess(self, number: int) -> None:
        """``cfseg plan_and_preprocess`` in this process, and plans of a tiny network beside those it makes."""
        with self.in_process():
            plan_and_preprocess(
                [number], gpu_memory_target_gb=1, num_processes=[1], num_processes_fingerprint=1, progress=False
            )
        self.shrink_plans(self.dataset_folder(number).name)

    def shrink_plans(self, dataset: str) -> None:
        """Beside the plans of a dataset put some for a network so small that its steps take no time."""
        folder = self.preprocessed / dataset
        plans = json.loads((folder / "nnUNetCFSegPlans.json").read_text())
        plans["plans_name"] = TINY_PLANS
        configuration = plans["configurations"]["3d_fullres"]
        configuration["architecture"]["arch_kwargs"].update(embed_dim=24, depth=1, num_heads=2)
        configuration["cfseg"]["blocks_per_crop"] = 8
        (folder / f"{TINY_PLANS}.json").write_text(json.dumps(plans))

    def dataset_folder(self, number: int) -> Path:
        """The preprocessed folder of a dataset."""
        (folder,) = self.preprocessed.glob(f"Dataset{number}_*")
        return folder


class Trainings:
    """Trainings in this process; their results go where no other test looks."""

    def __init__(self, workspace: Workspace, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace, self.results, self.monkeypatch = workspace, results, monkeypatch

    def trainer(
        self,
        dataset: int,
        *,
        trainer: str = "nnUNetTrainerCFSegShort",
        plans: str = TINY_PLANS,
        fold: int | str = 0,
        continue_training: bool = False,
        pretrained_weights: Path | None = None,
        device: str = "cpu",
    ) -> nnUNetTrainer:
        """A trainer that is ready to train, as ``nnUNetv2_train`` makes it."""
        made = get_trainer_from_args(
            str(dataset), "3d_fullres", fold, trainer, plans, continue_training, torch.device(device)
        )
        maybe_load_checkpoint(made, continue_training, False, pretrained_weights and str(pretrained_weights))
        return made

    def train(
        self,
        dataset: int,
        *,
        epochs: int = 4,
        seed: int | None = None,
        die_at_step: int | None = None,
        **kwargs: Any,
    ) -> nnUNetTrainer:
        """Train to the end, or to the step where the process is to die."""
        steering = {"CFSEG_TEST_EPOCHS": epochs, "CFSEG_SEED": seed, "CFSEG_TEST_DIE_AT_STEP": die_at_step}
        with pytest.MonkeyPatch.context() as monkeypatch:
            for name, value in steering.items():
                if value is not None:
                    monkeypatch.setenv(name, str(value))
            trainer = self.trainer(dataset, **kwargs)
            try:
                trainer.run_training()
            except KeyboardInterrupt:
                assert die_at_step is not None
        return trainer

    def into(self, name: str) -> None:
        """Let what follows write its results into a folder of its own."""
        self.monkeypatch.setenv("nnUNet_results", str(self.results / name))

    def with_own_data(self, dataset: int) -> Path:
        """Let what follows work on a copy of the preprocessed data; returns the dataset's folder in it."""
        source = self.workspace.dataset_folder(dataset)
        copy = self.results / "preprocessed" / source.name
        shutil.copytree(source, copy)
        self.monkeypatch.setenv("nnUNet_preprocessed", str(copy.parent))
        return copy


@pytest.fixture(scope="session")
def workspace(
    tmp_path_factory: pytest.TempPathFactory,
    commands: WarmCommands,
    write_raw_dataset: Callable[..., Path],
    switch_to_threads: Callable[[pytest.MonkeyPatch], None],
) -> Workspace:
    """nnU-Net's folders for the session."""
    return Workspace(tmp_path_factory.mktemp("nnunet"), commands, write_raw_dataset, switch_to_threads)


@pytest.fixture(scope="session")
def ct(workspace: Workspace) -> int:
    """A dataset of six CTs with two classes, planned and preprocessed."""
    return workspace.add_dataset(901, "CT")


@pytest.fixture(scope="session")
def stock_plans(workspace: Workspace, ct: int) -> str:
    """nnU-Net's own plans of the same dataset, for a U-Net of a few features; they share our preprocessed data."""
    with workspace.in_process() as monkeypatch:
        monkeypatch.setenv("nnUNet_n_proc_DA", "1")  # nnU-Net's planner gives torch as many threads
        plan_experiment_dataset(ct, gpu_memory_target_in_gb=1)
    file = workspace.dataset_folder(ct) / "nnUNetPlans.json"
    plans = json.loads(file.read_text())
    configuration = plans["configurations"]["3d_fullres"]
    configuration["data_identifier"] = "nnUNetCFSegPlans_3d_fullres"
    kwargs = configuration["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [4] * kwargs["n_stages"]
    file.write_text(json.dumps(plans))
    return "nnUNetPlans"


@pytest.fixture(scope="session")
def ct_and_mri(workspace: Workspace) -> int:
    """Two channels, of which one is a CT."""
    return workspace.add_dataset(902, "CTandMRI", channel_names=("T1", "CT"))


@pytest.fixture(scope="session")
def regions(workspace: Workspace) -> int:
    """Region-based labels."""
    labels = {"background": 0, "both": [1, 2], "fatty": 2}
    return workspace.add_dataset(903, "Regions", labels=labels, regions_class_order=(1, 2))


@pytest.fixture(scope="session")
def ignore(workspace: Workspace) -> int:
    """Every third slice annotated, the others ignored."""
    labels = {"background": 0, "bright": 1, "fatty": 2, "ignore": 3}
    return workspace.add_dataset(904, "Ignore", labels=labels, ignore=3)


@pytest.fixture(scope="session")
def regions_and_ignore(workspace: Workspace) -> int:
    """Both."""
    labels = {"background": 0, "both": [1, 2], "fatty": 2, "ignore": 3}
    return workspace.add_dataset(905, "RegionsIgnore", labels=labels, regions_class_order=(1, 2), ignore=3)


@pytest.fixture
def trainings(workspace: Workspace, tmp_path: Path) -> Iterator[Trainings]:
    """Trainings in this process, into folders of this test's own."""
    with workspace.in_process(results=tmp_path) as monkeypatch:
        yield Trainings(workspace, tmp_path, monkeypatch)
