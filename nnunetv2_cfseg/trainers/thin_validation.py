"""Scores of a fold's validation cases against thin labels, which training has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
from nnunetv2.paths import nnUNet_raw
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.summary_json import LIMIT_BYTES

#: Folder of thin labels in a dataset written by ``cfseg make_pairs``.
THIN_LABELS = "labelsTr_thin"
SUMMARY = "summary_thin.json"


def validate_on_thin(
    dataset: str, predictions: Path, *, reader_writer: Any, file_ending: str, labels: LabelManager, num_processes: int
) -> dict[str, Any] | None:
    """Score nnU-Net's validation predictions; writes ``summary_thin.json`` beside nnU-Net's own summary.

    Args:
        dataset: name of the raw dataset, whose thin training labels are the truth.
        predictions: nnU-Net's ``validation`` folder of a fold.
        reader_writer: the plans' nnU-Net reader.
        file_ending: of the dataset.
        labels: of the dataset.
        num_processes: how many processes compute the metrics.

    Returns:
        What nnU-Net's function returns; None if there is no raw dataset or it has no thin labels.
    """
    truth = Path(nnUNet_raw or "", dataset, THIN_LABELS)
    if not nnUNet_raw or not truth.is_dir():
        return None
    summary = predictions / SUMMARY
    metrics = compute_metrics_on_folder(
        str(truth),
        str(predictions),
        str(summary),
        reader_writer,
        file_ending,
        labels.foreground_regions if labels.has_regions else labels.foreground_labels,
        labels.ignore_label,
        num_processes=num_processes,
        chill=True,
    )
    write_json(summary, read_json(summary, limit_bytes=LIMIT_BYTES))  # nnU-Net writes NaN, which is not JSON
    return metrics
