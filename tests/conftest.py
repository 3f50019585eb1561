"""What all tests share: a clean environment, synthetic scans, and where real scans lie."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from fixtures.threads import draw_fewer_voxels, use_threads_for_processes
from fixtures.warm_commands import WarmCommands
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from nnunetv2_cfseg.imaging import notices

pytest_plugins = ["fixtures.grids", "fixtures.tiny_model"]

# nnU-Net reads it once, when it is imported.
os.environ["nnUNet_def_n_proc"] = "1"

# What runs the tests may ignore these, as nohup does; those that send them need what a terminal has.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Machines differ in speed, and a slow example is no failure.
settings.register_profile("cfseg", deadline=None, max_examples=50)
settings.load_profile("cfseg")

#: Tests that are begun with, so that no process is left with them at the end.
LONGEST_FIRST = ("integration/test_demo", "integration/test_baselines", "integration", "browser", "robustness")
REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
#: Steer nnU-Net and this package; a test that needs one sets it.
STEERING = (
    *FOLDERS,
    "nnUNet_extTrainer",
    "nnUNet_compile",
    "nnUNet_n_proc_DA",
    "nnUNet_wandb_enabled",
    "CFSEG_SEED",
    "CFSEG_TIME_BUDGET_S",
)


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> None:
    """A warning is printed once in a process, and each test wants its own."""
    notices.forget()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees, or writes into, the nnU-Net folders of whoever runs it."""
    for name in STEERING:
        monkeypatch.delenv(name, raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; skip tests that need a GPU where there is none, before their fixtures are made."""
    items.sort(key=lambda item: _place_in_line(item.nodeid))
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _place_in_line(nodeid: str) -> int:
    return next((place for place, name in enumerate(LONGEST_FIRST) if f"tests/{name}" in nodeid), len(LONGEST_FIRST))


class FilesTogether(LoadScopeScheduling):
    """Tests of a file run in one process, where they share what fixtures make."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder.endswith("/phantom") else file  # they share heads that take long to build


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """How tests are spread over processes; xdist's groups of marks are not known to every version of pytest."""
    config.option.loadscopereorder = False
    return FilesTogether(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Three processes for two cores: a third of the time tests wait, for budgets of trainings and for kills."""
    cores = len(os.sched_getaffinity(0))
    return cores + cores // 2


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommands]:
    """Console scripts, without the seconds that their imports take."""
    server = WarmCommands(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


@pytest.fixture
def nnunet_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """nnU-Net's three folders, empty and set: ``raw``, ``preprocessed`` and ``results``."""
    folders = {name: tmp_path / name for name in FOLDERS}
    for name, folder in folders.items():
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    return SimpleNamespace(**{name.removeprefix("nnUNet_"): folder for name, folder in folders.items()})


def replace_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nnU-Net work in threads of this process, and draw few voxels for a fingerprint."""
    use_threads_for_processes(monkeypatch.setattr)
    draw_fewer_voxels(monkeypatch.setattr)


@pytest.fixture
def threads_for_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's planning, validation and evaluation in threads."""
    replace_processes(monkeypatch)


@pytest.fixture(scope="session")
def switch_to_threads() -> Callable[[pytest.MonkeyPatch], None]:
    """The same as a function, for fixtures that live longer than a test."""
    return replace_processes


def write_image(file: Path, values: np.ndarray, spacing_mm: Sequence[float]) -> None:
    """Write an array (z, y, x) with spacing and an origin of its own."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([float(s) for s in reversed(spacing_mm)])
    image.SetOrigin((-12.5, 30.0, 101.25))
    sitk.WriteImage(image, str(file))


def phantom(shape: Sequence[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A CT of a body in air with a bright organ (1) and a fatty one (2), and its labels."""
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij"))

    def ball(center: Sequence[float], radius: float) -> np.ndarray:
        return ((place - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0) < radius**2

    labels = np.zeros(shape, dtype=np.uint8)
    labels[ball((0, *rng.uniform(-0.4, -0.2, 2)), 0.4)] = 1
    labels[ball((0, *rng.uniform(0.2, 0.4, 2)), 0.35)] = 2
    hu = np.where(ball((0, 0, 0), 0.95), 40.0, -1000.0)
    hu[labels == 1] = 700
    hu[labels == 2] = -90
    return (hu + rng.normal(0, 15, shape)).round().astype(np.int16), labels


@pytest.fixture(scope="session")
def write_raw_dataset() -> Callable[..., Path]:
    """A function that writes a raw nnU-Net dataset of phantoms and returns its folder."""

    def write(
        raw: Path,
        name: str,
        *,
        cases: int = 4,
        shape: Sequence[int] = (24, 32, 32),
        spacing_mm: Sequence[float] = (2.0, 1.5, 1.5),
        channel_names: Sequence[str] = ("CT",),
        labels: dict[str, Any] | None = None,
        regions_class_order: Sequence[int] | None = None,
        ignore: int | None = None,
        seed: int = 0,
    ) -> Path:
        """``ignore``: a label that covers all but a third of the slices of every case."""
        rng = np.random.default_rng(seed)
        folder = raw / name
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True)
        for number in range(cases):
            hu, segmentation = phantom(shape, rng)
            if ignore is not None:
                segmentation[np.arange(shape[0]) % 3 > 0] = ignore
            for channel, modality in enumerate(channel_names):
                values = hu if modality.lower() == "ct" else np.abs(hu // 8).astype(np.int16)
                write_image(folder / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz", values, spacing_mm)
            write_image(folder / "labelsTr" / f"case_{number}.nii.gz", segmentation, spacing_mm)
        dataset_json = {
            "channel_names": {str(i): modality for i, modality in enumerate(channel_names)},
            "labels": labels or {"background": 0, "bright": 1, "fatty": 2},
            "numTraining": cases,
            "file_ending": ".nii.gz",
            **({} if regions_class_order is None else {"regions_class_order": list(regions_class_order)}),
        }
        (folder / "dataset.json").write_text(json.dumps(dataset_json))
        return folder

    return write


@pytest.fixture(scope="session")
def real_ct_data() -> Path:
    """The folder of real CTs; without it a failure on CI, elsewhere a skip."""
    folder = Path(os.environ.get("CFSEG_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        reason = f"real CTs are not there, set CFSEG_TEST_DATA to where they are: {folder}"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
