"""Checkpoints that a stranger made: none runs code, takes memory or is loaded with weights that cannot be meant."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixtures.mutations import mutations

from nnunetv2_cfseg.cli import main
from nnunetv2_cfseg.inference.load_models import load_models
from nnunetv2_cfseg.inference.model import load_model
from nnunetv2_cfseg.nnunet.checkpoints import read_model_checkpoint

Write = Callable[..., Path]
CHECKPOINT = "checkpoint_final.pth"
WEIGHT = "embedding.weight"


class RunsCode:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path, how: str) -> None:
        self.mark, self.how = mark, how

    def __reduce__(self) -> Any:
        touch = f"open({str(self.mark)!r}, 'w').close()"
        return {
            "exec": (exec, (touch,)),
            "eval": (eval, (touch,)),
            "os.system": (os.system, (f"touch {self.mark}",)),
            "Path.touch": (Path.touch, (self.mark,)),
            "open": (open, (str(self.mark), "w")),
            "os.open": (os.open, (str(self.mark), os.O_CREAT)),
            "torch.save": (torch.save, (1, str(self.mark))),
            "torch.load": (torch.load, (str(self.mark),)),
            "numpy.save": (np.save, (str(self.mark), 1)),
        }[self.how]


HOW = ("exec", "eval", "os.system", "Path.touch", "open", "os.open", "torch.save", "torch.load", "numpy.save")
PLACES = ("network_weights", "init_args", "trainer_name", "logging", "optimizer_state", "unknown")


@pytest.fixture
def folder(write_model: Write) -> Path:
    return write_model()


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "fold_0" / CHECKPOINT


@pytest.fixture
def content(file: Path) -> dict[str, Any]:
    return dict(torch.load(file, weights_only=False))


def refusal(folder: Path, file: Path) -> str:
    with pytest.raises(ValueError, match=f"{file}$") as error:
        load_model(folder)
    return str(error.value)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("is_zip", [True, False])
def test_no_code_runs(
    folder: Path, file: Path, content: dict[str, Any], tmp_path: Path, how: str, is_zip: bool
) -> None:
    mark = tmp_path / "ran"
    for place in PLACES:
        torch.save({**content, place: RunsCode(mark, how)}, file, _use_new_zipfile_serialization=is_zip)
        assert "--trust_checkpoint" in refusal(folder, file)
        assert not mark.exists(), place


@pytest.mark.parametrize("protocol", range(6))
def test_no_code_of_a_bare_pickle_runs(folder: Path, file: Path, tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    file.write_bytes(pickle.dumps(RunsCode(mark, "exec"), protocol=protocol))
    refusal(folder, file)
    assert not mark.exists()


def test_no_code_of_other_archives_runs(folder: Path, file: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code = pickle.dumps(RunsCode(mark, "exec"))
    with tarfile.open(file, "w") as archive:
        for name in ("pickle", "storages", "tensors"):
            entry = tarfile.TarInfo(name)
            entry.size = len(code)
            archive.addfile(entry, io.BytesIO(code))
    assert "--trust_checkpoint" in refusal(folder, file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", code)
    refusal(folder, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Identity()), str(file))
    assert "TorchScript" in refusal(folder, file)
    assert not mark.exists()


@pytest.mark.parametrize("command", ["predict", "export", "refine_labels"])
def test_no_command_runs_it_unless_it_is_trusted(
    command: str, folder: Path, file: Path, content: dict[str, Any], tmp_path: Path, write_scan: Write,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    mark = tmp_path / "ran"
    torch.save({**content, "unknown": RunsCode(mark, "exec")}, file)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    flags = {
        "predict": ["-i", str(write_scan()), "-o", str(tmp_path / "out"), "--precision", "float32"],
        "export": ["-o", str(tmp_path / "out"), "--licence", "x", "--training_data", "x"],
        "refine_labels": ["-i", str(tmp_path / "none"), "-o", "801"],
    }[command]
    assert main([command, "-m", str(folder), *flags]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in ("can run code", "--trust_checkpoint", "nnU-Net's own commands", str(file)))
    assert len(error.splitlines()) == 1
    assert not mark.exists()
    main([command, "-m", str(folder), *flags, "--trust_checkpoint"])
    assert mark.exists()


def test_nothing_of_a_bundle_without_its_index_is_unpickled(
    folder: Path, content: dict[str, Any], tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    torch.save({**content, "unknown": RunsCode(mark, "exec")}, folder / "fold_0" / CHECKPOINT)
    (folder / "fold_0.safetensors").touch()
    for trust in (False, True):
        with pytest.raises(ValueError, match=rf"bundle.json.*fold_0.safetensors.*{folder}$"):
            load_models(folder, checkpoint=CHECKPOINT, trust_checkpoint=trust)
    assert not mark.exists()


def test_archives_that_unpack_to_more_than_they_are(folder: Path, file: Path, content: dict[str, Any]) -> None:
    content["unknown"] = torch.zeros(30_000_000)
    torch.save(content, file)
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert file.stat().st_size < 2_000_000
    assert "compressed" in refusal(folder, file)


WEIGHTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "nan": lambda weight: torch.full_like(weight, torch.nan),
    "one nan": lambda weight: weight.clone().index_fill_(0, torch.tensor(0), torch.nan),
    "infinity": lambda weight: torch.full_like(weight, torch.inf),
    "infinite in 32 bits": lambda weight: torch.full_like(weight, 1e300, dtype=torch.float64),
    "another shape": lambda weight: weight[:1],
    "no axes": lambda weight: weight.sum(),
    "empty": lambda weight: weight[:0],
    "integers": lambda weight: weight.long(),
    "complex": lambda weight: weight.to(torch.complex64),
    "sparse": lambda weight: weight.to_sparse(),
    "of no memory": lambda weight: torch.empty_like(weight, device="meta"),
    "one number for all": lambda weight: torch.zeros(1, 1).expand(2**20, 2**20),
    "text": lambda weight: "weights",
    "numbers": lambda weight: weight.tolist(),
    "None": lambda weight: None,
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_cannot_be_meant(folder: Path, file: Path, content: dict[str, Any], kind: str) -> None:
    weights = OrderedDict(content["network_weights"])
    weights[WEIGHT] = WEIGHTS[kind](weights[WEIGHT])
    torch.save({**content, "network_weights": weights}, file)
    refusal(folder, file)


@pytest.mark.parametrize("names", [{}, {WEIGHT: 0}, {0: torch.zeros(1)}, {"..": torch.zeros(1)}, [], None, "x"])
def test_names_of_weights_that_cannot_be_meant(folder: Path, file: Path, content: dict[str, Any], names: Any) -> None:
    torch.save({**content, "network_weights": names}, file)
    refusal(folder, file)


def test_other_entries_may_be_anything(folder: Path, file: Path, content: dict[str, Any]) -> None:
    """Every odd value in the place of every other entry either does not matter or is named."""
    weights = content.pop("network_weights")
    content = {**content, "inference_allowed_mirroring_axes": [2], "logging": {"ema_fg_dice": [0.5]}}
    content["init_args"] = {**content["init_args"], "plans": {}}
    refused = 0
    for what, changed in mutations(content):
        torch.save({**changed, "network_weights": weights}, file)
        try:
            read, _ = read_model_checkpoint(file)
        except ValueError as error:
            assert str(file) in str(error), what  # noqa: PT017
            refused += 1
        else:
            assert set(read.inference_allowed_mirroring_axes or ()) <= {0, 1, 2}, what
            assert "/" not in read.trainer_name, what
    assert refused > 60


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.99])
def test_truncated_files_are_named(folder: Path, file: Path, share: float) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    assert "truncated" in refusal(folder, file)


def test_flipped_bytes_do_no_harm(folder: Path, file: Path) -> None:
    rng = np.random.default_rng(0)
    whole = file.read_bytes()
    for _ in range(40):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 30):
            broken[place] ^= int(rng.integers(1, 256))
        file.write_bytes(bytes(broken))
        try:
            load_model(folder)
        except ValueError as error:
            assert str(file) in str(error)  # noqa: PT017
