"""One cell of a benchmark: train, predict, evaluate, each once however often the cell is started."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix
from nnunetv2_cfseg.benchmark.memory_monitor import tree_bytes
from nnunetv2_cfseg.benchmark.scans import find_scans, link_predictions
from nnunetv2_cfseg.benchmark.system_info import describe_machine
from nnunetv2_cfseg.benchmark.thin_labels import data_folders
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.checksum import sha256
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.environment import BUDGET_VARIABLE, EXT_TRAINER, FOLDERS, SEED_VARIABLE, ext_trainer_path
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner

#: What a finished cell holds.
RECORD, TABLE = "cell.json", "summary.csv"
LOG = Path("log.txt")
RESULTS = FOLDERS[2]
#: Of a row that trains nothing, or whose predictions are there.
NO_COSTS: dict[str, Any] = {"seconds": 0.0, "peak_bytes": 0}
NO_NETWORK: dict[str, Any] = {"parameters": None, "flops_per_voxel": None}
#: What a training has taken is kept this often, for one that is killed.
NOTE_EVERY_S = 10.0
POLL_S = 0.5


def is_done(folder: Path) -> bool:
    """Whether a cell's folder holds all of it: the record, and the table as it was when the record was written."""
    try:
        table = read_json(folder / RECORD).get("table_sha256")
    except (ValueError, OSError):
        return False
    file = folder / TABLE
    return file.is_file() and table in (None, sha256(file))  # records of earlier versions do not say


def run_cell(matrix: Matrix, cell: Cell, output: Path, *, threads: int, stop: threading.Event | None = None) -> None:
    """Do what is not done yet of a cell.

    A second process that is given the same cell waits for the first.

    Args:
        output: the benchmark's folder.
        threads: that training and prediction may use.
        stop: ends it when it is set, from another thread.

    Raises:
        CommandError: a command failed.
        ValueError: the cell has no scans to be scored on.
        InterruptedError: ``stop`` was set.
    """
    folder = output / cell.folder
    stop = stop or threading.Event()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, stop) as lock:
        if not is_done(folder):
            remove_unfinished(folder)
            _run(matrix, cell, output, threads, lock, stop)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed processes left; the cell is locked, so nobody writes them."""
    for file in folder.rglob(".*.tmp"):
        file.unlink(missing_ok=True)


def _run(matrix: Matrix, cell: Cell, output: Path, threads: int, lock: int, stop: threading.Event) -> None:
    folder = output / cell.folder
    results = folder.resolve() / RESULTS
    results.mkdir(exist_ok=True)
    steering = {RESULTS: str(results), **environment(matrix, cell, threads), **data_folders(cell.row, output)}
    # A training that outlives this process for a moment holds the lock.
    runner = CommandRunner(folder, steering, inherited=lock, stop=stop)
    scans = find_scans(cell, folder)
    of_model = ["-tr", cell.row.trainer, "-p", cell.plans, "-device", matrix.device]
    network = folder.resolve() / "network.json"
    train = ["python", "-m", "nnunetv2_cfseg.benchmark.train", str(network), cell.dataset, cell.configuration,
             cell.fold, *of_model]  # fmt: skip
    training, described = NO_COSTS, NO_NETWORK

    def learn() -> dict[str, Any]:
        return measured(runner, [*train, *_pretrained(matrix, cell, output)], so_far=folder / "train_so_far.json")

    if cell.row.trainer:
        training = _once(folder / "train.json", learn)
        described = read_json(network)
    (folder / "train_so_far.json").unlink(missing_ok=True)
    predictions = folder / "predictions"

    def predict() -> dict[str, Any]:
        shutil.rmtree(predictions, ignore_errors=True)  # of one that was stopped, files may be broken
        if cell.row.predictions:
            link_predictions(cell, scans, predictions)
            return NO_COSTS
        command, *sub = cell.row.predict.split()
        flags = ["--disable_tta"] if command == "nnUNetv2_predict" else []
        files = ["-i", str(scans.images), "-o", predictions.name]
        model = ["-d", cell.dataset, *of_model, "-c", cell.configuration, "-f", cell.fold]
        if cell.row.model:
            model = ["-m", str(_model_folder(cell)), "-f", cell.fold, "-device", matrix.device]
            command = {"nnUNetv2_predict": "nnUNetv2_predict_from_modelfolder"}.get(command, command)
        return measured(runner, [command, *sub, *files, *model, *flags, *cell.row.arguments])

    prediction = _once(folder / "predict.json", predict)
    evaluate = ["cfseg", "evaluate", str(scans.truth), "predictions", "-djfile", str(scans.dataset_json), "-o",
                Path(TABLE).with_suffix(".json").name, "-np", str(threads), "--no_pbar"]  # fmt: skip
    runner.run(evaluate, environment={}, log=LOG)
    described = dict(described)
    machine = described.pop("machine", None) or describe_machine()
    record = {
        "cell": {**asdict(cell), "cases": scans.cases, "scored_on": scans.words},
        "budget_s": matrix.budget_s,
        "threads": threads,
        "device": matrix.device,
        "train": training,
        "predict": prediction,
        "network": described,
        "machine": machine,
        "table_sha256": sha256(folder / TABLE),
    }
    write_json(folder / RECORD, record)


def _pretrained(matrix: Matrix, cell: Cell, output: Path) -> list[str]:
    """Flags of a training that starts from another row's weights."""
    before = matrix.cell_before(cell)
    if before is None:
        return []
    name = f"{before.row.trainer}__{before.plans}__{before.configuration}"
    model = Path(before.dataset, name, f"fold_{before.fold}")
    weights = output.resolve() / before.folder / RESULTS / model / "checkpoint_final.pth"
    if not weights.is_file():
        raise ValueError(f"{cell} starts from the weights of row {before.row.name}, and there are none: {weights}")
    return ["-pretrained_weights", str(weights)]


def _model_folder(cell: Cell) -> Path:
    """The model of a row that names one.

    Raises:
        ValueError: there is none.
    """
    folder = Path(os.environ[RESULTS]).resolve() / cell.dataset / cell.row.model
    if not (folder / "plans.json").is_file():
        raise ValueError(f"the model of row {cell.row.name} must be a folder with plans.json, and is none: {folder}")
    return folder


def environment(matrix: Matrix, cell: Cell, threads: int) -> dict[str, str]:
    """What a cell's commands are steered by, beside nnU-Net's folders."""
    budget = {} if matrix.budget_s is None else {BUDGET_VARIABLE: f"{matrix.budget_s:g}"}
    return {
        **{name: str(Path(os.environ[name]).resolve()) for name in FOLDERS[:2]},
        EXT_TRAINER: ext_trainer_path(),
        SEED_VARIABLE: str(cell.seed),
        **budget,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "nnUNet_def_n_proc"), str(threads)),
        "nnUNet_n_proc_DA": os.environ.get("nnUNet_n_proc_DA", str(threads)),
        **({"CUDA_VISIBLE_DEVICES": ""} if matrix.device == "cpu" else {}),
    }


def measured(runner: CommandRunner, command: Sequence[str], *, so_far: Path | None = None) -> dict[str, float]:
    """Run a command.

    Args:
        so_far: of a command that goes on where it was stopped: file that keeps what it has taken until then.

    Returns:
        ``seconds``, and ``peak_bytes`` of its process and all that this started, at any one time.

    Raises:
        ValueError: it failed.
    """
    earlier = read_json(so_far) if so_far and so_far.is_file() else {"seconds": 0.0, "peak_bytes": 0}
    begun = noted = time.perf_counter()
    most = earlier["peak_bytes"]

    def taken() -> dict[str, float]:
        return {"seconds": earlier["seconds"] + time.perf_counter() - begun, "peak_bytes": most}

    def look(pid: int) -> None:
        nonlocal most, noted
        most = max(most, tree_bytes(pid))
        if so_far and time.perf_counter() - noted > NOTE_EVERY_S:
            write_json(so_far, taken())
            noted = time.perf_counter()

    try:
        runner.run(command, environment={}, log=LOG, watch=look)
    finally:
        if so_far:
            write_json(so_far, taken())
    return taken()


def _once(file: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the work came to, also if it was done by an earlier process."""
    if not file.is_file():
        write_json(file, work())
    return read_json(file)


@contextmanager
def _alone(folder: Path, stop: threading.Event) -> Iterator[int]:
    """Wait until no other process works on the cell; a file descriptor, to be inherited by those that do.

    The file stays and is harmless: a lock ends with the processes that hold it, also with those that are killed.
    """
    with (folder / ".lock").open("w") as lock:
        told = False
        while not _locked(lock.fileno()):
            if not told:
                print(f"waiting for another process that works in {folder}", file=sys.stderr)
                told = True
            if stop.wait(POLL_S):
                raise InterruptedError("stopped")
        yield lock.fileno()


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
