"""Run one cell of a benchmark: train, predict and evaluate, each only once even if the cell is started again."""

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
from nnunetv2_cfseg.files.atomic_files import remove_leftovers, write_json
from nnunetv2_cfseg.files.checksum import sha256
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.environment import BUDGET_VARIABLE, EXT_TRAINER, FOLDERS, SEED_VARIABLE, ext_trainer_path
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner

#: Files of a finished cell.
RECORD, TABLE = "cell.json", "summary.csv"
LOG = Path("log.txt")
RESULTS = FOLDERS[2]
#: Costs of steps that a row does not need: training, or prediction if its predictions exist.
NO_COSTS: dict[str, Any] = {"seconds": 0.0, "peak_bytes": 0}
NO_NETWORK: dict[str, Any] = {"parameters": None, "flops_per_voxel": None}
#: How often the costs of a training are saved, in case it is killed.
NOTE_EVERY_S = 10.0
POLL_S = 0.5


def is_done(folder: Path) -> bool:
    """Whether a cell's folder holds the record, and the table that the record was written for."""
    try:
        table = read_json(folder / RECORD).get("table_sha256")
    except (ValueError, OSError):
        return False
    file = folder / TABLE
    return file.is_file() and table in (None, sha256(file))  # records of earlier versions lack it


def run_cell(matrix: Matrix, cell: Cell, output: Path, *, threads: int, stop: threading.Event | None = None) -> None:
    """Run the steps of a cell that are not done yet.

    A second process that runs the same cell waits for the first.

    Args:
        output: the benchmark's folder.
        threads: number of threads for training and prediction.
        stop: stops the cell when another thread sets it.

    Raises:
        CommandError: a command failed.
        ValueError: the cell has no scans to score.
        InterruptedError: ``stop`` was set.
    """
    folder = output / cell.folder
    stop = stop or threading.Event()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, stop) as lock:
        if not is_done(folder):
            remove_leftovers(folder, in_subfolders=True)
            _run(matrix, cell, output, threads, lock, stop)


def _run(matrix: Matrix, cell: Cell, output: Path, threads: int, lock: int, stop: threading.Event) -> None:
    folder = output / cell.folder
    results = folder.resolve() / RESULTS
    results.mkdir(exist_ok=True)
    variables = {RESULTS: str(results), **environment(matrix, cell, threads), **data_folders(cell.row, output)}
    # A training that outlives this process for a moment still holds the lock.
    runner = CommandRunner(folder, variables, inherited=lock, stop=stop)
    scans = find_scans(cell, folder)
    model_flags = ["-tr", cell.row.trainer, "-p", cell.plans, "-device", matrix.device]
    network = folder.resolve() / "network.json"
    train = ["python", "-m", "nnunetv2_cfseg.benchmark.train", str(network), cell.dataset, cell.configuration,
             cell.fold, *model_flags]  # fmt: skip
    training, description = NO_COSTS, NO_NETWORK

    def learn() -> dict[str, Any]:
        return measured(runner, [*train, *_pretrained(matrix, cell, output)], so_far=folder / "train_so_far.json")

    if cell.row.trainer:
        training = _once(folder / "train.json", learn)
        description = read_json(network)
    (folder / "train_so_far.json").unlink(missing_ok=True)
    predictions = folder / "predictions"

    def predict() -> dict[str, Any]:
        shutil.rmtree(predictions, ignore_errors=True)  # a prediction that was stopped may have left broken files
        if cell.row.predictions:
            link_predictions(cell, scans, predictions)
            return NO_COSTS
        command, *sub = cell.row.predict.split()
        flags = ["--disable_tta"] if command == "nnUNetv2_predict" else []
        files = ["-i", str(scans.images), "-o", predictions.name]
        model = ["-d", cell.dataset, *model_flags, "-c", cell.configuration, "-f", cell.fold]
        if cell.row.model:
            model = ["-m", str(model_folder(cell)), "-f", cell.fold, "-device", matrix.device]
            command = {"nnUNetv2_predict": "nnUNetv2_predict_from_modelfolder"}.get(command, command)
        return measured(runner, [command, *sub, *files, *model, *flags, *cell.row.arguments])

    prediction = _once(folder / "predict.json", predict)
    evaluate = ["cfseg", "evaluate", str(scans.truth), "predictions", "-djfile", str(scans.dataset_json), "-o",
                Path(TABLE).with_suffix(".json").name, "-np", str(threads), "--no_pbar"]  # fmt: skip
    runner.run(evaluate, environment={}, log=LOG)
    description = dict(description)
    machine = description.pop("machine", None) or describe_machine()
    record = {
        "cell": {**asdict(cell), "cases": scans.cases, "scored_on": scans.words},
        "budget_s": matrix.budget_s,
        "threads": threads,
        "device": matrix.device,
        "train": training,
        "predict": prediction,
        "network": description,
        "machine": machine,
        "table_sha256": sha256(folder / TABLE),
    }
    write_json(folder / RECORD, record)


def _pretrained(matrix: Matrix, cell: Cell, output: Path) -> list[str]:
    """Flags of a training that starts from another row's weights; empty for other trainings."""
    before = matrix.cell_before(cell)
    if before is None:
        return []
    name = f"{before.row.trainer}__{before.plans}__{before.configuration}"
    model = Path(before.dataset, name, f"fold_{before.fold}")
    weights = output.resolve() / before.folder / RESULTS / model / "checkpoint_final.pth"
    if not weights.is_file():
        raise ValueError(f"{cell} starts from the weights of row {before.row.name}, which do not exist: {weights}")
    return ["-pretrained_weights", str(weights)]


def model_folder(cell: Cell) -> Path:
    """The folder of the model that a row names.

    Raises:
        ValueError: it has no ``plans.json``, or lacks the cell's fold.
    """
    folder = Path(os.environ[RESULTS]).resolve() / cell.dataset / cell.row.model
    if not (folder / "plans.json").is_file():
        raise ValueError(f"the model of row {cell.row.name} is not a folder with plans.json: {folder}")
    if not (folder / f"fold_{cell.fold}").is_dir():
        raise ValueError(f"the model of row {cell.row.name} has no fold {cell.fold}: {folder}")
    return folder


def environment(matrix: Matrix, cell: Cell, threads: int) -> dict[str, str]:
    """Environment variables of a cell's commands: nnU-Net's input folders, seed, budget, threads and devices."""
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
    """Run a command and measure its time and memory.

    Args:
        so_far: file that keeps the costs of a command that can be stopped and continued.

    Returns:
        ``seconds``, and ``peak_bytes``, the most memory that its process and their children held at one time.

    Raises:
        ValueError: the command failed.
    """
    earlier = read_json(so_far) if so_far and so_far.is_file() else {"seconds": 0.0, "peak_bytes": 0}
    begun = noted = time.perf_counter()
    peak_bytes = earlier["peak_bytes"]

    def costs() -> dict[str, float]:
        return {"seconds": earlier["seconds"] + time.perf_counter() - begun, "peak_bytes": peak_bytes}

    def look(pid: int) -> None:
        nonlocal peak_bytes, noted
        peak_bytes = max(peak_bytes, tree_bytes(pid))
        if so_far and time.perf_counter() - noted > NOTE_EVERY_S:
            write_json(so_far, costs())
            noted = time.perf_counter()

    try:
        runner.run(command, environment={}, log=LOG, watch=look)
    finally:
        if so_far:
            write_json(so_far, costs())
    return costs()


def _once(file: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of ``work``, which is read from the file if an earlier process did the work."""
    if not file.is_file():
        write_json(file, work())
    return read_json(file)


@contextmanager
def _alone(folder: Path, stop: threading.Event) -> Iterator[int]:
    """Lock the cell, waiting for other processes; yields the lock's file descriptor for child processes to inherit.

    The lock file stays and is harmless: a lock ends when the processes that hold it end or are killed.
    """
    with (folder / ".lock").open("w") as lock:
        announced = False
        while not _locked(lock.fileno()):
            if not announced:
                print(f"waiting for another process that works in {folder}", file=sys.stderr)
                announced = True
            if stop.wait(POLL_S):
                raise InterruptedError("stopped")
        yield lock.fileno()


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
