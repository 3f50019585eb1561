"""DICOM slices that are no CT in HU, or do not say how large their pixels are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from nnunetv2_cfseg.inference.scans import find_cases, read_scan

VALUES = np.random.default_rng(0).normal(40, 60, (6, 16, 16)).round().astype(np.int16)
VALUES[:, :3] = -1000


@pytest.fixture
def series(tmp_path: Path) -> Callable[..., Path]:
    """Writes six slices, with some attributes changed or, if None, left out."""

    def write(changes: Mapping[str, object], *, of_slices: range = range(6)) -> Path:
        folder = tmp_path / "series"
        folder.mkdir()
        for index, values in enumerate(VALUES):
            meta = FileMetaDataset()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
            meta.MediaStorageSOPInstanceUID = f"1.2.3.{index + 1}"
            data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
            attributes = {
                "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": f"1.2.3.{index + 1}", "Modality": "CT",
                "SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "InstanceNumber": index,
                "ImagePositionPatient": [0, 0, 2.0 * index], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [0.75, 0.5], "SliceThickness": 2, "Rows": 16, "Columns": 16, "SamplesPerPixel": 1,
                "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
                "PixelRepresentation": 1, "RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "HU",
                **(changes if index in of_slices else {}),
            }  # fmt: skip
            for name, value in attributes.items():
                if value is not None:
                    setattr(data, name, value)
            data.PixelData = values.tobytes()
            data.save_as(folder / f"{index}.dcm", enforce_file_format=True)
        assert pydicom.dcmread(folder / "0.dcm").Rows == 16
        return folder

    return write


def read(folder: Path):
    (case,) = find_cases(folder, file_ending=".nii.gz", channels=1)
    return read_scan(case, ("CT",))


@pytest.mark.parametrize("unit", ["HU", "US", None])
def test_a_ct_is_read(unit: str | None, series: Callable[..., Path]) -> None:
    scan = read(series({"RescaleType": unit}))
    np.testing.assert_array_equal(scan.channels[0], VALUES)
    assert scan.spacing_mm == (2.0, 0.75, 0.5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Modality": "MR"}, "MR"),
        ({"Modality": "PT"}, "PT"),
        ({"Modality": "OT"}, "OT"),
        ({"Modality": None}, "not said"),
        ({"PixelSpacing": None}, "missing"),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [1, 1]}, "missing"),
        ({"PixelSpacing": [0, 0.5]}, "pixel spacing must be"),
        ({"RescaleType": "OD"}, "OD"),
        ({"RescaleType": "Z_EFF"}, "Z_EFF"),
        ({"RescaleType": "MGML"}, "MGML"),
    ],
)
@pytest.mark.parametrize("of_slices", [range(6), range(3, 4)])
def test_what_is_no_ct_in_hu_is_refused(
    changes: Mapping[str, object], words: str, of_slices: range, series: Callable[..., Path]
) -> None:
    folder = series(changes, of_slices=of_slices)
    with pytest.raises(ValueError, match=words):
        read(folder)


def test_loss_is_said(series: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    read(series({"LossyImageCompression": "01"}))
    assert "loss" in capsys.readouterr().err
