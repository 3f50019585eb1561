"""Pairs of real CTs: nnU-Net takes the dataset, and a thick scan off its place is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.imaging.slabs import annotate_slabs, average_slabs

pytestmark = pytest.mark.slow


def read(file: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


@pytest.fixture
def three_cases(real_ct_data: Path, tmp_path: Path) -> Path:
    """The first three cases of the head-and-neck data."""
    source, target = real_ct_data / "openkbp", tmp_path / "thin"
    for part in ("imagesTr", "labelsTr"):
        (target / part).mkdir(parents=True)
        for file in sorted((source / part).glob("*.nii.gz"))[:3]:
            shutil.copy(file, target / part)
    dataset_json = json.loads((source / "dataset.json").read_text())
    (target / "dataset.json").write_text(json.dumps({**dataset_json, "numTraining": 3}))
    return target


def test_nnunet_takes_pairs_of_head_and_neck(
    three_cases: Path, tmp_path: Path, threads_for_processes: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-i", str(three_cases), "-d", "511", "-n", "Pairs", "-o", str(tmp_path), "--factor", "4", "-np", "1"]
    assert cli.main(["make_pairs", *arguments, "--no_pbar"]) == 0
    folder = tmp_path / "Dataset511_Pairs"
    verify_dataset_integrity(str(folder), num_processes=1)
    assert "Error" not in capsys.readouterr().out

    sidecar = json.loads((folder / "thin_thick.json").read_text())
    for name, case in sidecar["cases"].items():
        first = case["left_out"]["image_slices"][0]
        thin, thin_labels = (
            read(three_cases / file)[first : first + case["thin"]["slices"]]
            for file in (f"imagesTr/{name}_0000.nii.gz", f"labelsTr/{name}.nii.gz")
        )
        image, labels = read(folder / f"imagesTr/{name}_0000.nii.gz"), read(folder / f"labelsTr/{name}.nii.gz")
        np.testing.assert_array_equal(image, thin)
        np.testing.assert_array_equal(labels, np.repeat(annotate_slabs(thin_labels, 4), 4, axis=0))
        np.testing.assert_allclose(
            average_slabs(image, 4).mean(axis=(1, 2)),
            thin.reshape(-1, 4, *thin.shape[1:]).mean(axis=(1, 2, 3)),
            atol=1e-2,
        )
        assert case["values"] == [1, 2, 3, 4, 5]
        assert 10_000 < (folder / f"pictures/{name}.png").stat().st_size < 300_000


class TestThickScanOfAHead:
    """A real head CT and the average of four of its slices, with a header that is off."""

    FACTOR = 4

    @pytest.fixture
    def make(self, real_ct_data: Path, tmp_path: Path) -> Callable[..., int]:
        head = sitk.ReadImage(str(real_ct_data / "head/invesalius_0051_head_ct_raw.nii.gz"))[::4, ::4, :]
        array = sitk.GetArrayFromImage(head)
        slabs = len(array) // self.FACTOR
        thick_hu = np.rint(average_slabs(array[: slabs * self.FACTOR], self.FACTOR)).astype(np.int16)
        labels = ((thick_hu > 20) & (thick_hu < 60)).astype(np.uint8)
        labels[[0, -1]] = 0  # what the wrong header puts outside of the scan

        def make(off_slices: float, *more: str) -> int:
            for name, volume in (("thick", thick_hu), ("labels", labels), ("thin", array)):
                image = sitk.GetImageFromArray(volume)
                image.CopyInformation(head) if name == "thin" else self.lay(image, head, off_slices)
                (tmp_path / name).mkdir(exist_ok=True)
                ending = ".nii.gz" if name == "labels" else "_0000.nii.gz"
                sitk.WriteImage(image, str(tmp_path / name / f"head{ending}"))
            content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "brain": 1}, "numTraining": 1}
            (tmp_path / "dataset.json").write_text(json.dumps({**content, "file_ending": ".nii.gz"}))
            arguments = ["-i", tmp_path / "thin", "-l", tmp_path / "labels", "-t", tmp_path / "thick", "-d", "1"]
            arguments += ["-djfile", tmp_path / "dataset.json", "-o", tmp_path / "raw", "-np", "1", "--no_pbar"]
            (tmp_path / "raw").mkdir(exist_ok=True)
            return cli.main(["make_pairs", *map(str, arguments), *more])

        return make

    def lay(self, thick: sitk.Image, head: sitk.Image, off_slices: float) -> None:
        """Give a thick image its place, and put it off by some thin slices."""
        x, y, z = head.GetSpacing()
        thick.SetSpacing((x, y, z * self.FACTOR))
        middle = (self.FACTOR - 1) / 2 + off_slices
        thick.SetOrigin(head.TransformContinuousIndexToPhysicalPoint((0, 0, middle)))
        thick.SetDirection(head.GetDirection())

    @pytest.mark.parametrize(("off_slices", "found_mm"), [(1, "-1.5"), (-2, "+3"), (2, "-3"), (3, "-4.5")])
    def test_off_its_place_is_refused(
        self,
        make: Callable[..., int],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        off_slices: float,
        found_mm: str,
    ) -> None:
        assert make(off_slices) == 2
        message = capsys.readouterr().err
        assert f"its voxels lie {abs(off_slices)} thin slices ({found_mm} mm) off" in message
        assert not list((tmp_path / "raw").iterdir())

    def test_in_its_place_is_taken(self, make: Callable[..., int], tmp_path: Path) -> None:
        assert make(0, "--threshold", "0.75") == 0
        sidecar = json.loads((tmp_path / "raw/Dataset001_ThinThick/thin_thick.json").read_text())
        assert (sidecar["labels"], sidecar["threshold"]) == ("annotated", 0.75)
        case = sidecar["cases"]["head"]
        assert case["thick_image_correlation"] > 0.9999
        assert case["slabs"] == 27
        assert case["left_out"]["image_slices"] == [0, 0]
