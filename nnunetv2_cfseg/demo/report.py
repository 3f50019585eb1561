"""What the demo tells beside its figures, in the page that ``cfseg report`` writes."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from nnunetv2_cfseg.demo.folder import DemoFolder
from nnunetv2_cfseg.demo.settings import BLEEDS, FACTOR, SOURCE, VALIDATION_CASES, DemoSettings
from nnunetv2_cfseg.demo.steps import (
    COPY_PREDICTIONS,
    COPY_TABLE,
    FOLDS,
    PREDICTIONS,
    RAW,
    REPORT,
    TABLE,
    TITLE,
    TRAINER,
    TRUTH,
    Step,
    shell_script,
)
from nnunetv2_cfseg.evaluation.evaluate import Evaluation
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.evaluation.report.page import Section
from nnunetv2_cfseg.evaluation.report.tables import Cell, Head, Row, Table, words_table
from nnunetv2_cfseg.evaluation.report.write import Extras
from nnunetv2_cfseg.evaluation.report.write import write_report as write_page
from nnunetv2_cfseg.evaluation.saved_table import read_evaluation

DATASET_FORMAT = "https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md"
PACKAGES = ("nnunetv2_cfseg", "nnunetv2", "torch", "numpy", "SimpleITK")


def write_report(folder: DemoFolder, steps: list[Step], settings: DemoSettings) -> Path:
    """Write the report of what the steps left; returns it.

    Args:
        folder: the demo's.
        steps: all of them, done.
        settings: of the demo.

    Raises:
        ValueError: what a step left is not what it should be.
    """
    tables = ((PREDICTIONS, TABLE), (COPY_PREDICTIONS, COPY_TABLE))
    evaluation, of_copy = (_read(folder.path, predictions, table) for predictions, table in tables)
    comparison = Section(
        "Next to copying",
        (
            "The same network, trained for as long with every thick label copied to its thin slices, and the paired "
            f"training. A boundary slab is one of {FACTOR} thin slices of which some are bleeding and some are not: "
            "there the copied label is wrong. The tests of the difference are in the folder comparison.",
        ),
        table=_comparison(of_copy, evaluation),
    )
    extras = Extras(title=TITLE, lead=_lead(settings), sections=(comparison, *_sections(folder, steps, settings)))
    return write_page(
        evaluation,
        folder.path / REPORT,
        images=folder.path / RAW / "imagesTs",
        model=(folder.path / FOLDS[TRAINER]).parent,
        extras=extras,
    )


def _read(path: Path, predictions: str, table: str) -> Evaluation:
    return read_evaluation(
        path / table,
        path / TRUTH,
        path / predictions,
        dataset_json=path / predictions / "dataset.json",
        plans_json=path / predictions / "plans.json",
        settings=MetricSettings(factor=FACTOR),
    )


def _comparison(copied: Evaluation, paired: Evaluation) -> Table:
    """Means over cases of each class, copied first."""
    measures = {"Dice": "Dice", "boundary_Dice": "Dice on boundary slabs"}
    means = [evaluation.table.groupby("class")[list(measures)].mean() for evaluation in (copied, paired)]
    rows = [
        Row(f"{name}, {words}", tuple(Cell(f"{mean[measure][name]:.3f}") for mean in means))
        for measure, words in measures.items()
        for name in BLEEDS
    ]
    return Table(
        "Mean over the unseen scans", (Head("class"), Head("copied labels"), Head("paired training")), tuple(rows)
    )


def _lead(settings: DemoSettings) -> tuple[str, ...]:
    matrix = " x ".join(str(n) for n in settings.matrix)
    spacing = " x ".join(f"{mm:g}" for mm in settings.spacing_mm)
    return (
        f"This demo made {settings.train + settings.test} phantom head CTs ({matrix} voxels of {spacing} mm, along z, "
        "y, x) with fresh intracerebral (ICH) and intraventricular (IVH) haemorrhage of the largest third of their "
        "sizes, so that minutes are enough to learn them, and had them annotated on slices "
        f"{FACTOR} times as thick: a voxel is marked there when at least half of its slab bleeds. Of {settings.train} "
        f"scans with these thick annotations, {VALIDATION_CASES} of which nnU-Net kept for its own validation, the "
        f"block-centre transformer learnt for {settings.train_seconds:g} s to segment thin slices. cfseg predict "
        f"segmented the thin slices of the other {settings.test} scans, and here they are compared with the thin "
        f"truth, which training never saw. The seed was {settings.seed}.",
        "Phantoms are drawn by a program. The figures show that everything works; they say nothing about patients, nor "
        "about what a long training reaches.",
    )


def _sections(folder: DemoFolder, steps: list[Step], settings: DemoSettings) -> tuple[Section, ...]:
    return (
        Section("Time", table=_times(folder, steps)),
        Section("Versions and seed", table=_versions(settings)),
        Section(
            "The commands", ("These ran, in the demo's folder; they are in commands.sh too.",), code=shell_script(steps)
        ),
        Section("The same on your own data", (_own_data(),)),
    )


def _times(folder: DemoFolder, steps: list[Step]) -> Table:
    records = [(step.title, folder.record(step)) for step in steps]
    rows = tuple(
        Row(title + (f" (in {record.runs} runs)" if record.runs > 1 else ""), (Cell(f"{record.seconds:.0f}"),))
        for title, record in records
    )
    together = Row("together", (Cell(f"{sum(record.seconds for _, record in records):.0f}"),))
    return Table("Seconds that the steps took", (Head("step"), Head("time", "s")), rows, together)


def _versions(settings: DemoSettings) -> Table:
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores"
    known = {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}, "machine": machine}
    return words_table("What ran", ("name", "version"), [*known.items(), ("seed", str(settings.seed))])


def _own_data() -> Markup:
    return Markup(
        'Put your thin CTs and their labels into <a href="{format}">nnU-Net\'s raw layout</a>, for instance as '
        "<code>nnUNet_raw/Dataset501_Mine</code>; annotations of thick slices are fine as they are. Then run the "
        "commands above from step 2 on, with <code>Dataset501_Mine</code> for <code>{source}</code> and without the "
        "line that keeps only {kept} validation cases (there are five folds); <code>cfseg make_pairs -h</code> tells "
        "how to name thick annotations. Give the training more time: <code>CFSEG_TIME_BUDGET_S</code> is in seconds. "
        "On a GPU leave out <code>-device cpu</code> and <code>-gpu_memory_target 1</code>, and train with "
        "<code>-tr nnUNetTrainerCFSegThinThick</code>, nnU-Net's 1000 epochs; "
        "predict with the same trainer. Evaluation needs the truth of the unseen scans. "
        "Without <code>--disable_tta</code> prediction averages over mirrored scans and takes twice as long."
    ).format(format=DATASET_FORMAT, kept=VALIDATION_CASES, source=SOURCE)
