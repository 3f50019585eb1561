"""``cfseg evaluate`` on real organs, drawn wrong on purpose, beside ``nnUNetv2_evaluate_folder``."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import SimpleITK as sitk

pytestmark = pytest.mark.slow

MANDIBLE = 5


@pytest.fixture(scope="module")
def evaluated(real_ct_data: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Three cases: organs too large, moved aside, and without a mandible; evaluated by both commands."""
    folder = tmp_path_factory.mktemp("evaluate")
    truth, prediction = folder / "truth", folder / "prediction"
    for path in (truth, prediction):
        path.mkdir()
    raw = real_ct_data / "openkbp"
    for file, draw in zip(sorted((raw / "labelsTr").glob("*.nii.gz")), (dilate, shift, without_mandible), strict=False):
        shutil.copy(file, truth)
        sitk.WriteImage(draw(sitk.ReadImage(str(file))), str(prediction / file.name))
    shutil.copy(raw / "dataset.json", prediction)
    (prediction / "plans.json").write_text('{"label_manager": "LabelManager", "image_reader_writer": "SimpleITKIO"}')
    theirs = folder / "theirs.json"
    run(
        *(sys.executable, shutil.which("nnUNetv2_evaluate_folder", path=str(Path(sys.executable).parent))),
        *(truth, prediction, "-djfile", prediction / "dataset.json", "-pfile", prediction / "plans.json"),
        *("-o", theirs, "-np", "1"),
    )
    output = run(sys.executable, "-m", "nnunetv2_cfseg.cli", "evaluate", truth, prediction, "-np", "2")
    return SimpleNamespace(
        truth=truth,
        prediction=prediction,
        theirs=json.loads(theirs.read_text()),
        ours=json.loads((prediction / "summary.json").read_text()),
        table=list(csv.DictReader((prediction / "summary.csv").read_text().splitlines())),
        output=output,
    )


def dilate(labels: sitk.Image) -> sitk.Image:
    for value in range(1, 6):
        labels = sitk.DilateObjectMorphology(labels, [1, 1, 0], sitk.sitkBall, value)
    return labels


def shift(labels: sitk.Image) -> sitk.Image:
    aside = sitk.TranslationTransform(3, [labels.GetSpacing()[0], 0.0, 2 * labels.GetSpacing()[2]])
    return sitk.Resample(labels, labels, aside, sitk.sitkNearestNeighbor, 0)


def without_mandible(labels: sitk.Image) -> sitk.Image:
    return sitk.Mask(labels, sitk.NotEqual(labels, MANDIBLE))


def run(*command: object) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment.pop("PYTHONWARNINGS", None)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_overlap_is_that_of_nnunet(evaluated: SimpleNamespace) -> None:
    for ours, theirs in zip(evaluated.ours["metric_per_case"], evaluated.theirs["metric_per_case"], strict=True):
        assert (evaluated.prediction / ours["reference_file"]).resolve() == Path(theirs["reference_file"]).resolve()
        for key, values in theirs["metrics"].items():
            for measure, value in values.items():
                assert ours["metrics"][key][measure] == pytest.approx(value, abs=1e-6, nan_ok=True)
    for measure, value in evaluated.theirs["foreground_mean"].items():
        assert evaluated.ours["foreground_mean"][measure] == pytest.approx(value, abs=1e-6)


def test_volumes_are_those_one_counts(evaluated: SimpleNamespace) -> None:
    dataset = json.loads((evaluated.prediction / "dataset.json").read_text())
    assert len(evaluated.table) == 3 * 5
    for row in evaluated.table:
        for folder, column in ((evaluated.truth, "reference_volume_ml"), (evaluated.prediction, "volume_ml")):
            image = sitk.ReadImage(str(folder / f"{row['case']}.nii.gz"))
            voxels = (sitk.GetArrayFromImage(image) == dataset["labels"][row["class"]]).sum()
            assert float(row[column]) == pytest.approx(voxels * math.prod(image.GetSpacing()) / 1000)


def test_measures_tell_what_was_drawn_wrong(evaluated: SimpleNamespace) -> None:
    large, moved, missing = sorted({row["case"] for row in evaluated.table})
    rows = {(row["case"], row["class"]): row for row in evaluated.table}
    cord = {case: rows[case, "spinal_cord"] for case in (large, moved, missing)}
    assert float(cord[large]["volume_error_ml"]) > 0
    assert float(cord[large]["lesion_recall"]) == 1
    assert 0 < float(cord[moved]["Dice"]) < 0.95
    assert float(cord[missing]["Dice"]) == float(cord[missing]["NSD"]) == 1
    assert float(cord[missing]["HD95_mm"]) == 0
    mandible = rows[missing, "mandible"]
    assert mandible["presence"] == "missed"
    assert float(mandible["Dice"]) == 0
    assert float(mandible["HD95_mm"]) > 200
    assert mandible["lesion_precision"] == ""
    assert evaluated.ours["cfseg"]["classes"][str(MANDIBLE)]["missed"] == 1


def test_table_is_printed(evaluated: SimpleNamespace) -> None:
    lines = evaluated.output.splitlines()
    assert [line.split()[1] for line in lines[2:8]] == [
        "brainstem",
        "spinal_cord",
        "parotid_right",
        "parotid_left",
        "mandible",
        "mean",
    ]
    assert f"{evaluated.theirs['foreground_mean']['Dice']:.3f} [" in lines[7]
