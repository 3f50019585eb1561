"""What the demo tells beside its figures, in the page that ``cfseg report`` writes."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from nnunetv2_cfseg.demo.folder import DemoFolder
from nnunetv2_cfseg.demo.settings import DATASET, DATASET_ID, VALIDATION_CASES, DemoSettings
from nnunetv2_cfseg.demo.steps import FOLD, PREDICTIONS, PROCESSES, RAW, REPORT, TITLE, Step, shell_script
from nnunetv2_cfseg.evaluation.evaluate import evaluate_folders
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.evaluation.report.page import Section
from nnunetv2_cfseg.evaluation.report.tables import Cell, Head, Row, Table, words_table
from nnunetv2_cfseg.evaluation.report.write import Extras
from nnunetv2_cfseg.evaluation.report.write import write_report as write_page

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
    predictions = folder.path / PREDICTIONS
    evaluation = evaluate_folders(
        folder.path / RAW / "labelsTs",
        predictions,
        dataset_json=predictions / "dataset.json",
        plans_json=predictions / "plans.json",
        settings=MetricSettings(),
        num_processes=PROCESSES,
        progress=False,
    )
    extras = Extras(title=TITLE, lead=_lead(settings), sections=_sections(folder, steps, settings))
    return write_page(
        evaluation,
        folder.path / REPORT,
        images=folder.path / RAW / "imagesTs",
        model=(folder.path / FOLD).parent,
        extras=extras,
    )


def _lead(settings: DemoSettings) -> tuple[str, ...]:
    matrix = " x ".join(str(n) for n in settings.matrix)
    spacing = " x ".join(f"{mm:g}" for mm in settings.spacing_mm)
    return (
        f"This demo made {settings.train + settings.test} phantom head CTs ({matrix} voxels of {spacing} mm, along z, "
        "y, x) with epidural (EDH), intracerebral (ICH), intraventricular (IVH), subarachnoid (SAH) and subdural (SDH) "
        "haemorrhage, all five in every scan, fresh, and of the largest third of their sizes, so that minutes are "
        f"enough to learn them. It trained the block-centre transformer for {settings.train_seconds:g} s on "
        f"{settings.train} of them, of which nnU-Net kept {VALIDATION_CASES} for its own validation, and let "
        f"nnUNetv2_predict segment the other {settings.test}, which training never saw, without test-time mirroring. "
        f"The seed was {settings.seed}.",
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
        'Put your dataset into <a href="{format}">nnU-Net\'s raw layout</a>, for instance as '
        "<code>nnUNet_raw/Dataset501_Mine</code>. Then run the commands above without step 1, which makes phantoms and "
        "keeps only {kept} validation cases (nnU-Net makes five folds by itself), and with <code>501</code> for "
        "<code>{id}</code> and <code>Dataset501_Mine</code> for <code>{name}</code>. Give the training more time: "
        "<code>CFSEG_TIME_BUDGET_S</code> is in seconds. On a GPU leave out <code>-device cpu</code> and "
        "<code>-gpu_memory_target 1</code>, and train with <code>-tr nnUNetTrainerCFSeg</code>, nnU-Net's 1000 epochs; "
        "predict with the same trainer. Evaluation needs the truth of the unseen scans in <code>labelsTs</code>. "
        "Without <code>--disable_tta</code> prediction averages over mirrored scans and takes twice as long."
    ).format(format=DATASET_FORMAT, kept=VALIDATION_CASES, id=DATASET_ID, name=DATASET)
