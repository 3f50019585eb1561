"""However a scan is stored, the same patient gets the same labels.

All 48 orders of axes, oblique ones, DICOM in three positions; datasets of mixed orders; plans that do not say an order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.cli import main
from nnunetv2_cfseg.data.pairing.pair import make_pair
from nnunetv2_cfseg.data.pairing.settings import PairSettings
from nnunetv2_cfseg.data.pairing.sources import Source
from nnunetv2_cfseg.data.pairing.survey import common_order, survey
from nnunetv2_cfseg.inference.load_models import load_models
from nnunetv2_cfseg.inference.predict import predict
from nnunetv2_cfseg.inference.predict_volume import PredictionSettings
from nnunetv2_cfseg.inference.records import Recipe
from nnunetv2_cfseg.inference.scans import find_cases
from nnunetv2_cfseg.planners.storage_order import storage_order

ORDERS = ["".join(letters) for axes in permutations(("LR", "PA", "SI")) for letters in product(*axes)]
ModelOf, ScanOf, PlansOf = Callable[..., Path], Callable[..., Path], Callable[..., dict[str, Any]]


def plans_in(order: str | None, plans_of: PlansOf) -> dict[str, Any]:
    plans = plans_of()
    section = plans["configurations"]["3d_fullres"]["cfseg"]
    plans["configurations"]["3d_fullres"]["cfseg"] = {**section, **({"storage_order": order} if order else {})}
    return plans


def labels_of(folder: Path, scans: Path, output: Path, **settings: Any) -> dict[str, sitk.Image]:
    """The labels of each file of a folder, by the model in another one."""
    models = load_models(folder, checkpoint="checkpoint_final.pth", configuration="3d_fullres")
    cases = find_cases(scans, file_ending=".nii.gz", channels=1)
    how = PredictionSettings(shifts=2)
    recipe = Recipe.of(models, how, name="model")
    outcomes = predict(cases, models, output, how, recipe=recipe, progress=False, **settings)
    assert [outcome.error for outcome in outcomes] == [None] * len(cases)
    return {case.name: sitk.ReadImage(str(output / f"{case.name}.nii.gz")) for case in cases}


def array_in(image: sitk.Image, order: str) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.DICOMOrient(image, order))


@pytest.mark.parametrize("trained_in", ["LPS", "RAS", "PSL"])
def test_every_order_gives_the_same_labels_on_its_own_grid(
    trained_in: str, tmp_path: Path, write_model: ModelOf, write_scan: ScanOf, plans_of: PlansOf
) -> None:
    folder = write_model(plans=plans_in(trained_in, plans_of))
    scan = sitk.ReadImage(str(write_scan("scan_0000.nii.gz", folder=tmp_path / "one")))
    (tmp_path / "scans").mkdir()
    for order in ORDERS if trained_in == "LPS" else ORDERS[::7]:
        sitk.WriteImage(sitk.DICOMOrient(scan, order), str(tmp_path / "scans" / f"{order}_0000.nii.gz"))
    found = labels_of(folder, tmp_path / "scans", tmp_path / "out")
    expected = array_in(next(iter(found.values())), "LPS")
    assert len(np.unique(expected)) > 1
    for order, labels in found.items():
        np.testing.assert_array_equal(array_in(labels, "LPS"), expected, err_msg=order)
        stored = sitk.DICOMOrient(scan, order)
        assert labels.GetSize() == stored.GetSize()
        np.testing.assert_allclose(labels.GetOrigin(), stored.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(labels.GetDirection(), stored.GetDirection(), atol=1e-6)


def test_a_scan_in_the_models_own_order_is_labelled_as_it_always_was(
    tmp_path: Path, write_model: ModelOf, write_scan: ScanOf, plans_of: PlansOf
) -> None:
    """The order that a model knows decides: the same voxels called RAS are turned for LPS and left for RAS."""
    file = write_scan("a_0000.nii.gz", direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    found = {
        order: sitk.GetArrayFromImage(
            labels_of(
                write_model(plans=plans_in(order, plans_of), root=tmp_path / order), file.parent, tmp_path / f"o{order}"
            )["a"]
        )
        for order in ("LPS", "RAS")
    }
    straight = write_scan("a_0000.nii.gz", folder=tmp_path / "straight")
    (tmp_path / "s").mkdir()
    as_lps = labels_of(
        write_model(plans=plans_in("LPS", plans_of), root=tmp_path / "m"), straight.parent, tmp_path / "s"
    )
    np.testing.assert_array_equal(found["RAS"], sitk.GetArrayFromImage(as_lps["a"]))
    assert (found["LPS"] != found["RAS"]).any()


def test_an_oblique_scan_is_turned_to_the_nearest_order(
    tmp_path: Path, write_model: ModelOf, write_scan: ScanOf, plans_of: PlansOf
) -> None:
    folder = write_model(plans=plans_in("LPS", plans_of))
    oblique = (-0.96, 0.28, 0, -0.28, -0.96, 0, 0, 0, 1)
    scans = write_scan("ras_0000.nii.gz", direction=oblique).parent
    image = sitk.ReadImage(str(scans / "ras_0000.nii.gz"))
    sitk.WriteImage(sitk.DICOMOrient(image, "LPS"), str(scans / "lps_0000.nii.gz"))
    found = labels_of(folder, scans, tmp_path / "out")
    np.testing.assert_array_equal(array_in(found["ras"], "LPS"), array_in(found["lps"], "LPS"))


def test_probabilities_follow_the_file(
    tmp_path: Path, write_model: ModelOf, write_scan: ScanOf, plans_of: PlansOf
) -> None:
    folder = write_model(plans=plans_in("LPS", plans_of))
    scans = write_scan("lps_0000.nii.gz").parent
    image = sitk.ReadImage(str(scans / "lps_0000.nii.gz"))
    sitk.WriteImage(sitk.DICOMOrient(image, "ASR"), str(scans / "asr_0000.nii.gz"))
    labels = labels_of(folder, scans, tmp_path / "out", save_probabilities=True)
    for name in ("lps", "asr"):
        probabilities = np.load(tmp_path / "out" / f"{name}.npz")["probabilities"]
        np.testing.assert_array_equal(probabilities.argmax(0), sitk.GetArrayFromImage(labels[name]))


def test_a_model_of_the_reader_that_reorients_agrees_with_nnunet(
    tmp_path: Path, write_model: ModelOf, write_scan: ScanOf, plans_of: PlansOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from nnunetv2_cfseg.nnunet.environment import EXT_FOLDER

    monkeypatch.setenv("nnUNet_extTrainer", EXT_FOLDER)
    folder = write_model(plans=plans_of(image_reader_writer="NibabelIOWithReorient"))
    scan = write_scan("a_0000.nii.gz", shape=(8, 12, 16))
    image = sitk.ReadImage(str(scan))
    sitk.WriteImage(sitk.DICOMOrient(image, "ASR"), str(scan.parent / "b_0000.nii.gz"))
    predictor = nnUNetPredictor(use_mirroring=False, use_gaussian=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    (tmp_path / "theirs").mkdir()
    predictor.predict_from_files_sequential(str(scan.parent), str(tmp_path / "theirs"))
    call = ["predict", "-i", scan.parent, "-o", tmp_path / "ours", "-m", folder, "--keep_air", "--shifts", "1",
            "--precision", "float32", "--save_probabilities"]  # fmt: skip
    assert main([str(word) for word in call]) == 0
    for name in "ab":
        theirs, ours = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / who / f"{name}.nii.gz"))) for who in ("theirs", "ours")
        )
        assert (theirs == ours).mean() >= 0.999, name
        probabilities = np.load(tmp_path / "ours" / f"{name}.npz")["probabilities"]
        stored = sitk.ReadImage(str(tmp_path / "ours" / f"{name}.nii.gz"))
        np.testing.assert_array_equal(probabilities.argmax(0), array_in(stored, "RAS"))


class TestPlansThatDoNotSay:
    def test_have_the_order_of_their_raw_dataset(
        self, tmp_path: Path, write_model: ModelOf, write_scan: ScanOf, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
        raw = tmp_path / "raw" / "Dataset900_Tiny" / "imagesTr"
        for name in "ab":
            write_scan(f"{name}_0000.nii.gz", folder=raw, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
        (model, *_) = load_models(write_model(), checkpoint="checkpoint_final.pth")
        assert model.configuration.storage_order == "RAS"
        assert capsys.readouterr().err.count("RAS, the order of all scans") == 1

    @pytest.mark.parametrize("kind", ["no dataset", "two orders", "a broken file"])
    def test_have_lps_where_it_cannot_tell(
        self, kind: str, tmp_path: Path, write_model: ModelOf, write_scan: ScanOf, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
        raw = tmp_path / "raw" / "Dataset900_Tiny" / "imagesTr"
        if kind != "no dataset":
            file = write_scan("a_0000.nii.gz", folder=raw, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
        if kind == "two orders":
            write_scan("b_0000.nii.gz", folder=raw)
        if kind == "a broken file":
            file.with_name("b_0000.nii.gz").write_bytes(b"nothing")
        (model, *_) = load_models(write_model(), checkpoint="checkpoint_final.pth")
        assert model.configuration.storage_order == "LPS"
        assert "assuming LPS" in capsys.readouterr().err

    def test_a_bad_order_is_refused(self, tmp_path: Path, write_model: ModelOf, plans_of: PlansOf) -> None:
        folder = write_model()
        for order in ("XYZ", "LRS", 7, ["L", "P", "S"], ""):
            plans = plans_of()
            plans["configurations"]["3d_fullres"]["cfseg"]["storage_order"] = order
            (folder / "plans.json").write_text(json.dumps(plans))
            with pytest.raises(ValueError, match="storage"):
                load_models(folder, checkpoint="checkpoint_final.pth")


class TestDatasets:
    def test_planning_takes_one_order(self, write_scan: ScanOf) -> None:
        files = [write_scan(f"{name}_0000.nii.gz", direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)) for name in "ab"]
        assert storage_order(files, reader="SimpleITKIO", dataset="Dataset001_A") == "RAS"

    def test_planning_refuses_several(self, write_scan: ScanOf) -> None:
        files = [write_scan("a_0000.nii.gz"), write_scan("b_0000.nii.gz"),
                 write_scan("c_0000.nii.gz", direction=(1, 0, 0, 0, -1, 0, 0, 0, 1))]  # fmt: skip
        with pytest.raises(ValueError, match=r"2 LPS \(a_0000.nii.gz\), 1 LAS \(c_0000.nii.gz\).*Dataset001_A"):
            storage_order(files, reader="SimpleITKIO", dataset="Dataset001_A")
        assert storage_order(files, reader="NibabelIOWithReorient", dataset="Dataset001_A") == "RAS"

    @pytest.mark.parametrize("stored", ["LPS", "RAS", "LPI", "PLS", "SLP"])
    def test_make_pairs_turns_what_is_stored_in_several(
        self, stored: str, tmp_path: Path, write_scan: ScanOf, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The pair of a turned scan is that of the straight one, whichever way scan and labels are stored."""
        straight = write_scan("a_0000.nii.gz", shape=(8, 10, 12))
        image = sitk.ReadImage(str(straight))
        labels = sitk.Cast(image > 60, sitk.sitkUInt8)

        def source(order: str, label_order: str) -> Source:
            files = [tmp_path / f"{order}_{label_order}_{what}.nii.gz" for what in ("image", "label")]
            for volume, to, file in zip((image, labels), (order, label_order), files, strict=True):
                sitk.WriteImage(sitk.DICOMOrient(volume, to), str(file))
            return Source("a", "Tr", *files)

        plain, turned = source("LPS", "LPS"), source(stored, "LAS")
        order = common_order([plain, turned, source("LAI", "LPS")])
        assert order == "LPS"
        assert "several orders" in capsys.readouterr().err
        assert survey([turned], labels=None, factor=4, thickness_mm=None, order=order) == ("thin", 4)
        expected, found = (make_pair(one, PairSettings(4, "thin", order=order)) for one in (plain, turned))
        np.testing.assert_array_equal(found.image, expected.image)
        np.testing.assert_array_equal(found.annotation, expected.annotation)
        assert found.grid.order == "LPS"
        np.testing.assert_allclose(found.grid.origin_mm, expected.grid.origin_mm, atol=1e-4)

    def test_make_pairs_leaves_one_order_alone(self, write_scan: ScanOf) -> None:
        files = [write_scan(f"{name}_0000.nii.gz", direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)) for name in "ab"]
        assert common_order([Source("a", "Tr", file, file) for file in files]) is None
