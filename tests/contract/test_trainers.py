"""What the trainers take for granted of the installed nnU-Net."""

from __future__ import annotations

import inspect
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from batchgenerators.dataloading import nondet_multi_threaded_augmenter
from nnunetv2.inference.predict_from_raw_data import (
    nnUNetPredictor,
    predict_entry_point,
    predict_entry_point_modelfolder,
)
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import run_training_entry
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

import nnunetv2_cfseg
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.nnunet_ext import baseline_trainers, cfseg_trainers
from nnunetv2_cfseg.trainers.background import BackgroundBatches
from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.checkpoint import NEEDED
from nnunetv2_cfseg.trainers.pretrained import OUTPUT_LAYERS
from nnunetv2_cfseg.trainers.sample_slab_blocks import SlabTargets

SHIM = Path(nnunetv2_cfseg.__file__).parent / "nnunet_ext"
TRAINERS = {name: getattr(module, name) for module in (baseline_trainers, cfseg_trainers) for name in module.__all__}
#: Methods of nnU-Net's trainer that it calls itself and that a trainer of ours replaces.
HOOKS = [
    "build_network_architecture",
    "configure_optimizers",
    "configure_rotation_dummyDA_mirroring_and_inital_patch_size",
    "get_dataloaders",
    "get_tr_and_val_datasets",
    "get_training_transforms",
    "initialize",
    "load_checkpoint",
    "on_train_end",
    "on_train_epoch_end",
    "on_train_epoch_start",
    "on_train_start",
    "perform_actual_validation",
    "run_training",
    "save_checkpoint",
    "train_step",
]


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(function).parameters.items() if name != "self"}


def takes_whatever(found: dict[str, inspect.Parameter]) -> bool:
    kinds = {p.kind for p in found.values()}
    return {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds


class TestFinding:
    @pytest.mark.parametrize("name", TRAINERS)
    def test_yields_the_class_that_importing_it_yields(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("nnUNet_extTrainer", str(SHIM))
        found = recursive_find_trainer_class_by_name(name)
        assert found is TRAINERS[name]
        assert pickle.loads(pickle.dumps(found)) is found
        assert found.__module__.startswith(("nnunetv2_cfseg.trainers.", "nnunetv2_cfseg.baselines."))

    def test_covers_every_trainer_of_the_package(self) -> None:
        from nnunetv2_cfseg.baselines import compact as compact_baselines
        from nnunetv2_cfseg.baselines import monai_networks, primus, pytorch3dunet_networks, stock_recipe
        from nnunetv2_cfseg.trainers import cfseg, compact, thin_thick, timed, variants

        public = {
            name
            for module in (
                cfseg,
                compact,
                thin_thick,
                timed,
                variants,
                compact_baselines,
                monai_networks,
                primus,
                pytorch3dunet_networks,
                stock_recipe,
            )
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__ and name.startswith("nnUNetTrainer")
        }
        assert public == set(TRAINERS)

    def test_goes_past_other_folders_of_trainers(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("class nnUNetTrainerMine: ...\n")
        monkeypatch.setenv("nnUNet_extTrainer", f"{tmp_path}:{SHIM}")
        assert recursive_find_trainer_class_by_name("nnUNetTrainerCFSeg") is nnUNetTrainerCFSeg


@pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS)
class TestSignatures:
    def test_of_the_constructor_is_nnunets(self, trainer: type[nnUNetTrainer]) -> None:
        # nnU-Net looks its own local variables up under the names of these parameters.
        ours, theirs = parameters(trainer.__init__), parameters(nnUNetTrainer.__init__)
        assert list(ours) == list(theirs)
        assert {n: (p.kind, p.default) for n, p in ours.items()} == {n: (p.kind, p.default) for n, p in theirs.items()}

    @pytest.mark.parametrize("hook", HOOKS)
    def test_of_what_it_replaces_are_compatible(self, trainer: type[nnUNetTrainer], hook: str) -> None:
        theirs = parameters(getattr(nnUNetTrainer, hook))
        ours = parameters(getattr(trainer, hook))
        if takes_whatever(ours):
            return
        assert list(ours)[: len(theirs)] == list(theirs)
        extra = list(ours.values())[len(theirs) :]
        assert all(p.default is not inspect.Parameter.empty for p in extra)
        for name, parameter in theirs.items():
            assert (ours[name].default is inspect.Parameter.empty) == (parameter.default is inspect.Parameter.empty)

    def test_of_the_network_builder_is_that_of_a_function_of_the_class(self, trainer: type[nnUNetTrainer]) -> None:
        # Prediction calls it on the class, and tells the newer signature from the older by this parameter.
        assert isinstance(inspect.getattr_static(trainer, "build_network_architecture"), staticmethod | classmethod)
        assert "plans_manager" in parameters(trainer.build_network_architecture)


@pytest.mark.parametrize("hook", HOOKS)
def test_nnunet_has_what_is_replaced(hook: str) -> None:
    assert callable(getattr(nnUNetTrainer, hook))
    assert any(
        hook in vars(cls)
        for trainer in TRAINERS.values()
        for cls in trainer.__mro__
        if cls.__module__.startswith("nnunetv2_cfseg")
    )


def test_nnunet_calls_what_is_replaced() -> None:
    source = inspect.getsource(nnUNetTrainer)
    called_by_command = {"load_checkpoint", "perform_actual_validation", "run_training"}
    called_by_trainer = set(HOOKS) - called_by_command
    assert [hook for hook in sorted(called_by_trainer) if f"self.{hook}(" not in source] == []


def test_checkpoint_holds_what_continuing_needs(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 3)
    trainer = SimpleNamespace(
        local_rank=0,
        disable_checkpointing=False,
        is_ddp=False,
        network=network,
        optimizer=torch.optim.AdamW(network.parameters()),
        grad_scaler=None,
        logger=SimpleNamespace(get_checkpoint=lambda: {"train_losses": [1.0]}),
        _best_ema=0.5,
        current_epoch=3,
        my_init_kwargs={"fold": 0},
        inference_allowed_mirroring_axes=(0, 1),
    )
    nnUNetTrainer.save_checkpoint(trainer, str(tmp_path / "checkpoint.pth"))
    checkpoint = torch.load(tmp_path / "checkpoint.pth", weights_only=False)
    assert set(checkpoint) >= {"network_weights", "optimizer_state", "logging", "_best_ema", "init_args"}
    assert checkpoint["current_epoch"] == 4
    assert checkpoint["logging"] == {"train_losses": [1.0]}
    assert checkpoint["inference_allowed_mirroring_axes"] == (0, 1)
    assert set(checkpoint["network_weights"]) == set(network.state_dict())


def test_checkpoint_is_read_for_what_is_looked_at() -> None:
    source = inspect.getsource(nnUNetTrainer.load_checkpoint)
    assert [key for key in NEEDED if f"'{key}'" not in source] == []


class TestWorkers:
    """What background.py takes for granted of nnU-Net and batchgenerators."""

    def test_are_made_by_the_names_that_are_replaced(self) -> None:
        source = inspect.getsource(nnUNetTrainer.get_dataloaders)
        for name in ("NonDetMultiThreadedAugmenter", "SingleThreadedAugmenter"):
            assert f"{name}(" in source
            assert hasattr(trainer_module, name)

    def test_first_tell_the_loader_which_they_are_then_ask_for_batches(self) -> None:
        source = inspect.getsource(nondet_multi_threaded_augmenter.producer)
        assert source.index("data_loader.set_thread_id(") < source.index("next(data_loader)")

    def test_are_kept_under_these_names(self) -> None:
        stock = nondet_multi_threaded_augmenter.NonDetMultiThreadedAugmenter([], None, 1)
        assert (stock._processes, stock._queue, stock.abort_event, stock.initialized) == ([], None, None, False)

    def test_that_died_are_said_to_in_these_words(self) -> None:
        source = inspect.getsource(nondet_multi_threaded_augmenter.results_loop)
        assert "no longer alive" in source


TARGETS = SlabTargets(torch.arange(2), torch.arange(3).view(3, 1), torch.arange(4))


class Loader:
    """Yields a batch of one crop as nnU-Net's loader makes it from :data:`TARGETS`."""

    def set_thread_id(self, thread_id: int) -> None:
        pass

    def get_indices(self) -> list[str]:
        return ["case"]

    def get_do_oversample(self, index: int) -> bool:
        return False

    def get_bbox(self, *_: Any) -> tuple[list[int], list[int]]:
        return [0, 0, 0], [2, 2, 2]

    def load_case(self, name: str) -> tuple[Any, ...]:
        return np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2)), None, {"class_locations": {}}

    def transforms(self, *, image: torch.Tensor, segmentation: torch.Tensor) -> dict[str, Any]:
        return {"image": image, "segmentation": list(TARGETS)}

    def __next__(self) -> dict[str, Any]:
        if hasattr(self, "batch_size"):
            time.sleep(60)  # a worker that ends while its second batch is read breaks the thread that reads
        self._data, self.batch_size, self.patch_size_was_2d = self, 1, False
        return nnUNetDataLoader.generate_train_batch(self)


class TestSlabTargets:
    """Targets of three tensors come from the augmentation to the loss in their order."""

    def check(self, target: Any) -> None:
        expected = SlabTargets(*(values[None] for values in TARGETS))
        assert type(target) is list
        assert all(torch.equal(*pair) for pair in zip(SlabTargets(*target), expected, strict=True))

    def test_are_stacked_crop_by_crop(self) -> None:
        self.check(next(Loader())["target"])

    def test_pass_the_background_workers(self) -> None:
        batches = BackgroundBatches(Loader(), None, 1)
        try:
            self.check(next(batches)["target"])
        finally:
            batches.abort_event.set()
            batches.results_loop_thread.join()
            batches.end()

    def test_pass_pinning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)  # it needs a GPU
        pinned = nondet_multi_threaded_augmenter.pin_memory_of_all_eligible_items_in_dict(next(Loader()))
        self.check(pinned["target"])


def test_pretrained_weights_are_those_but_for_output_layers() -> None:
    source = inspect.getsource(load_pretrained_weights)
    assert f"'{OUTPUT_LAYERS}'" in source
    assert "'-pretrained_weights'" in inspect.getsource(run_training_entry)


@pytest.mark.parametrize("entry", [predict_entry_point, predict_entry_point_modelfolder])
def test_the_folder_of_scans_is_named_by_i(entry: Callable[..., None]) -> None:
    assert "'-i'" in inspect.getsource(entry)


def test_schedule_takes_a_fraction_of_an_epoch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    PolyLRScheduler(optimizer, 1.0, 10).step(2.5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.75**0.9)


def small_network(classes: int, decoder: str, channels: int = 1) -> BlockCenterTransformer:
    return BlockCenterTransformer(
        channels,
        classes,
        patch_size=2,
        block_patches=3,
        embed_dim=12,
        depth=1,
        num_heads=2,
        decoder=decoder,
    )


@pytest.mark.parametrize("decoder", ["linear", "voxel"])
def test_pretrained_weights_are_all_but_those_of_the_output(decoder: str, tmp_path: Path) -> None:
    pretrained, network = small_network(3, decoder), small_network(5, decoder)
    torch.save({"network_weights": pretrained.state_dict()}, tmp_path / "checkpoint_final.pth")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_pretrained_weights(network, str(tmp_path / "checkpoint_final.pth"))
    after, given = network.state_dict(), pretrained.state_dict()
    outputs = [name for name in after if ".seg_layers." in name]
    assert outputs
    for name in after:
        torch.testing.assert_close(after[name], before[name] if name in outputs else given[name], rtol=0, atol=0)
    # What takes part in the output has the classes in its shape, and nothing else has.
    assert {name for name in after if after[name].shape != given[name].shape} == set(outputs)


@pytest.mark.parametrize("decoder", ["linear", "voxel"])
def test_deep_supervision_can_be_switched_as_nnunet_does(decoder: str) -> None:
    network = small_network(3, decoder)
    trainer = SimpleNamespace(is_ddp=False, network=network)
    nnUNetTrainer.set_deep_supervision_enabled(trainer, False)
    assert network.decoder.deep_supervision is False
    assert network(torch.zeros(1, 1, 4, 4, 4)).shape == (1, 3, 4, 4, 4)


@pytest.mark.parametrize(("axes", "calls"), [(None, 1), ((2,), 2), ((0, 1, 2), 8)])
def test_prediction_without_mirroring_is_asked_for_by_none(axes: tuple[int, ...] | None, calls: int) -> None:
    seen: list[torch.Tensor] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x

    predictor = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=True, allow_tqdm=False)
    predictor.network, predictor.allowed_mirroring_axes = network, axes
    predictor._internal_maybe_mirror_and_predict(torch.zeros(1, 1, 4, 4, 4))
    assert len(seen) == calls
