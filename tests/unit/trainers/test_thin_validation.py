"""Where there is no thin truth, nothing is measured."""

from __future__ import annotations

from pathlib import Path

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
