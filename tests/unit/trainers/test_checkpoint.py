"""Checkpoints that a kill cannot break, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_cfseg.nnunet.checkpoints import check_weights_fit, read_checkpoint
from nnunetv2_cfseg.trainers.checkpoint import CheckpointMixin


class FakeTrainer(nnUNetTrainer):
    """Saves as nnU-Net's trainer does, as far as it matters here."""

    def __init__(self) -> None:
        self.local_rank = 0
        self.disable_checkpointing = False
        self.content: Any = None

    def save_checkpoint(self, filename: str) -> None:
        if self.local_rank == 0 and not self.disable_checkpointing:
            torch.save(self.content, filename)


class Trainer(CheckpointMixin, FakeTrainer):
    pass


@pytest.fixture
def trainer() -> Trainer:
    trainer = Trainer()
    trainer.content = {"network_weights": {"weight": torch.arange(1000.0)}}
    return trainer


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestSaving:
    def test_writes_the_file_and_nothing_beside_it(self, trainer: Trainer, tmp_path: Path) -> None:
        file = tmp_path / "checkpoint_latest.pth"
        trainer.save_checkpoint(str(file))
        assert files(tmp_path) == [file.name]
        torch.testing.assert_close(read_checkpoint(file), trainer.content)

    def test_replaces_an_older_file(self, trainer: Trainer, tmp_path: Path) -> None:
        file = tmp_path / "checkpoint_latest.pth"
        trainer.save_checkpoint(str(file))
        trainer.content = {"network_weights": {"weight": torch.ones(3)}}
        trainer.save_checkpoint(str(file))
        torch.testing.assert_close(read_checkpoint(file), trainer.content)
        assert files(tmp_path) == [file.name]

    @pytest.mark.parametrize("death", [OSError("No space left on device"), KeyboardInterrupt(), SystemExit(1)])
    def test_that_dies_half_way_leaves_the_old_file_whole(
        self, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: BaseException
    ) -> None:
        file = tmp_path / "checkpoint_latest.pth"
        trainer.save_checkpoint(str(file))
        before = file.read_bytes()

        def save_half(content: Any, name: str) -> None:
            Path(name).write_bytes(before[: len(before) // 2])
            raise death

        monkeypatch.setattr(torch, "save", save_half)
        trainer.content = {"network_weights": {}}
        with pytest.raises(type(death)):
            trainer.save_checkpoint(str(file))
        assert file.read_bytes() == before
        assert files(tmp_path) == [file.name]

    def test_that_dies_half_way_leaves_nothing_where_nothing_was(
        self, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def save_half(content: Any, name: str) -> None:
            Path(name).write_bytes(b"half")
            raise OSError("No space left on device")

        monkeypatch.setattr(torch, "save", save_half)
        with pytest.raises(OSError, match="No space left"):
            trainer.save_checkpoint(str(tmp_path / "checkpoint_best.pth"))
        assert files(tmp_path) == []

    @pytest.mark.parametrize("setting", [{"local_rank": 1}, {"disable_checkpointing": True}])
    def test_is_left_to_rank_zero_and_to_those_who_want_it(
        self, trainer: Trainer, tmp_path: Path, setting: dict[str, Any]
    ) -> None:
        for name, value in setting.items():
            setattr(trainer, name, value)
        trainer.save_checkpoint(str(tmp_path / "checkpoint_best.pth"))
        assert files(tmp_path) == []


class TestReading:
    def test_refuses_a_missing_file(self, tmp_path: Path) -> None:
        file = tmp_path / "checkpoint_final.pth"
        with pytest.raises(ValueError, match=f"there is none: {file}$"):
            read_checkpoint(file)

    def test_refuses_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"a folder is where a file must be: {tmp_path}"):
            read_checkpoint(tmp_path)

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
    def test_refuses_a_truncated_file(self, trainer: Trainer, tmp_path: Path, share: float) -> None:
        file = tmp_path / "checkpoint_final.pth"
        trainer.save_checkpoint(str(file))
        whole = file.read_bytes()
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=f"cannot be read, it is truncated or no checkpoint: {file}$"):
            read_checkpoint(file)

    @pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, torch.zeros(3), None])
    def test_refuses_a_file_of_torch_that_is_no_checkpoint(self, tmp_path: Path, content: Any) -> None:
        file = tmp_path / "checkpoint_final.pth"
        torch.save(content, file)
        with pytest.raises(ValueError, match=f"has no 'network_weights'.*: {file}$"):
            read_checkpoint(file)

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"hello, I am a text file\n", id="text"),
            pytest.param(b'{"network_weights": 1}', id="json"),
            pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", id="lfs pointer"),
            pytest.param(b"\x1f\x8b\x08\x00" + bytes(30), id="gzip"),
            pytest.param(b"PK\x03\x04" + bytes(100), id="zip"),
            pytest.param(b"cnot_there\nThing\n.", id="pickle of a missing package"),
            pytest.param(b"ctorch\nThing\n.", id="pickle of a missing class"),
        ],
    )
    def test_refuses_any_other_file(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "checkpoint_final.pth"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"cannot be read, it is truncated or no checkpoint: {file}$"):
            read_checkpoint(file)


class TestFit:
    def test_of_a_networks_own_weights(self) -> None:
        network = torch.nn.Linear(2, 3)
        check_weights_fit(network, network.state_dict(), "file.pth")

    def test_ignores_the_prefix_of_data_parallel_training(self) -> None:
        network = torch.nn.Linear(2, 3)
        weights = {f"module.{name}": value for name, value in network.state_dict().items()}
        check_weights_fit(network, weights, "file.pth")

    def test_refuses_another_shape(self) -> None:
        with pytest.raises(
            ValueError,
            match=r"written for another network than the plans describe "
            r"\(bias is \(4,\) there and \(3,\) here\): file\.pth$",
        ):
            check_weights_fit(torch.nn.Linear(2, 3), torch.nn.Linear(2, 4).state_dict(), "file.pth")

    def test_refuses_missing_weights(self) -> None:
        weights = torch.nn.Linear(2, 3, bias=False).state_dict()
        with pytest.raises(ValueError, match=r"\(bias is missing there and \(3,\) here\)"):
            check_weights_fit(torch.nn.Linear(2, 3), weights, "file.pth")

    def test_refuses_weights_that_the_network_lacks(self) -> None:
        weights = torch.nn.Linear(2, 3).state_dict()
        with pytest.raises(ValueError, match=r"\(bias is \(3,\) there and missing here\)"):
            check_weights_fit(torch.nn.Linear(2, 3, bias=False), weights, "file.pth")
