"""Where there is no thin truth, nothing is measured."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnunetv2_cfseg.trainers import thin_validation


@pytest.mark.parametrize("raw", [None, "raw"])
def test_without_thin_labels(raw: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin_validation, "nnUNet_raw", raw and str(tmp_path / raw))
    metrics = thin_validation.validate_on_thin(
        "Dataset001_A", tmp_path, reader_writer=None, file_ending=".nii.gz", labels=None, num_processes=1
    )
    assert metrics is None
    assert not list(tmp_path.iterdir())


def test_the_summary_is_json_of_any_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net writes NaN for a class that no case has."""
    (tmp_path / "Dataset001_A" / thin_validation.THIN_LABELS).mkdir(parents=True)

    def measure(truth: str, predictions: str, output: str, *others: object, **more: object) -> dict[str, float]:
        Path(output).write_text('{"mean": {"1": {"Dice": NaN}}}')
        return {"Dice": 0.5}

    monkeypatch.setattr(thin_validation, "nnUNet_raw", str(tmp_path))
    monkeypatch.setattr(thin_validation, "compute_metrics_on_folder", measure)
    labels = SimpleNamespace(has_regions=False, foreground_labels=[1], ignore_label=None)
    found = thin_validation.validate_on_thin(
        "Dataset001_A", tmp_path, reader_writer=None, file_ending=".nii.gz", labels=labels, num_processes=1
    )
    assert found == {"Dice": 0.5}
    assert json.loads((tmp_path / thin_validation.SUMMARY).read_text()) == {"mean": {"1": {"Dice": None}}}
