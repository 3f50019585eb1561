"""Write the demo's report: the page of ``cfseg report`` with additional text and sections."""

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
    """Write the report of a finished demo and return its file.

    Args:
        folder: the demo's folder.
        steps: all steps, which must be done.
        settings: the demo's settings.

    Raises:
        ValueError: the results of a step are not as expected.
    """
    tables = ((PREDICTIONS, TABLE), (COPY_PREDICTIONS, COPY_TABLE))
    evaluation, copy_evaluation = (_read(folder.path, predictions, table) for predictions, table in tables)
    comparison = Section(
        "Compared with copied labels",
        (
            "The same network was trained equally long with every thick label copied to its thin slices. The table "
            f"compares it with the paired training. In a boundary slab, some of the {FACTOR} thin slices bleed and "
            "some do not, so the copied label is wrong there. Tests of the differences are in the folder comparison.",
        ),
        table=_comparison(copy_evaluation, evaluation),
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
    """Means over cases of each class, for copied labels and for paired training."""
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
        "y, x) with fresh intracerebral (ICH) and intraventricular (IVH) haemorrhage from the largest third of sizes, "
        "which can be learnt in minutes. They were annotated on slices "
        f"{FACTOR} times as thick, in which a voxel is marked if at least half of its slab bleeds. The block-centre "
        f"transformer learnt for {settings.train_seconds:g} s to segment thin slices from {settings.train} scans with "
        f"thick annotations, of which nnU-Net kept {VALIDATION_CASES} for its own validation. cfseg predict then "
        f"segmented the thin slices of the other {settings.test} scans. This page compares them with the thin truth, "
        f"which training never saw. The seed was {settings.seed}.",
        "A program draws the phantoms. The results show that everything works; they say nothing about patients, or "
        "about longer training.",
    )


def _sections(folder: DemoFolder, steps: list[Step], settings: DemoSettings) -> tuple[Section, ...]:
    return (
        Section("Time", table=_times(folder, steps)),
        Section("Versions and seed", table=_versions(settings)),
        Section(
            "The commands",
            ("These commands ran in the demo's folder; they are also in commands.sh.",),
            code=shell_script(steps),
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
        "commands above from step 2 on, with <code>Dataset501_Mine</code> instead of <code>{source}</code> and without "
        "the line that keeps only {kept} validation cases (there are five folds); <code>cfseg make_pairs -h</code> "
        "explains how to name thick annotations. Give the training more time: <code>CFSEG_TIME_BUDGET_S</code> is in "
        "seconds. "
        "On a GPU leave out <code>-device cpu</code> and <code>-gpu_memory_target 1</code>, and train with "
        "<code>-tr nnUNetTrainerCFSegThinThick</code>, nnU-Net's 1000 epochs; "
        "predict with the same trainer. Evaluation needs the truth of the unseen scans. "
        "Without <code>--disable_tta</code> prediction averages over mirrored scans and takes twice as long."
    ).format(format=DATASET_FORMAT, kept=VALIDATION_CASES, source=SOURCE)
