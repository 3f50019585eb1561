"""A dataset of phantoms: what is in it, that it goes on where it stopped, and that it depends on its seed alone.

Cases are fakes.
"""

from __future__ import annotations

import hashlib
import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from threadpoolctl import threadpool_info, threadpool_limits

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.data.phantom import dataset, files
from nnunetv2_cfseg.data.phantom.settings import CLASSES, PhantomSettings
from nnunetv2_cfseg.nnunet.dataset_json import read_raw_dataset_json
from nnunetv2_cfseg.planners.check_cases import check_cases

DRIVER = Path(__file__).with_name("phantom_driver.py")
fake_case = runpy.run_path(str(DRIVER))["fake_case"]
SETTINGS = PhantomSettings(matrix=(24, 18, 16), spacing_mm=(1.5, 0.8, 0.5), factor=3)
FLAGS = ["--matrix", "24", "18", "16", "--spacing", "1.5", "0.8", "0.5", "--factor", "3", "--seed", "5"]


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Cases are fakes; the numbers of those that were made."""
    numbers: list[int] = []

    def case(settings: PhantomSettings, *, seed: int, index: int) -> files.PhantomCase:
        numbers.append(index)
        return fake_case(settings, seed=seed, index=index)

    monkeypatch.setattr(files, "make_case", case)
    return numbers


def make(folder: Path, settings: PhantomSettings = SETTINGS, **kwargs: Any) -> Path:
    dataset.make_dataset(settings, folder, **{"num_training": 3, "num_test": 2, "seed": 5, "progress": False, **kwargs})
    return folder


def read_json(file: Path) -> Any:
    return json.loads(file.read_text())


def values(file: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def checksums(folder: Path) -> dict[str, str]:
    """Of every file, hidden ones too."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


class TestContents:
    def test_are_nnunets_and_a_few_of_ours(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "new" / "Dataset900_Phantom")
        names = [f"phantom_00{i}" for i in range(5)]
        assert sorted(checksums(folder)) == sorted(
            ["dataset.json", "phantom.json", "splits_final.json"]
            + [f"provenance/{name}.json" for name in names]
            + [
                file
                for part, cases in (("Tr", names[:3]), ("Ts", names[3:]))
                for thick in ("", "_thick")
                for name in cases
                for file in (f"images{part}{thick}/{name}_0000.nii.gz", f"labels{part}{thick}/{name}.nii.gz")
            ]
        )
        assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == set()

    def test_have_no_thick_scans_by_default(self, tmp_path: Path) -> None:
        folder = make(tmp_path, replace(SETTINGS, factor=1), num_test=0)
        assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["imagesTr", "labelsTr", "provenance"]

    def test_pass_the_checks_before_planning(self, tmp_path: Path) -> None:
        folder = make(tmp_path)
        dataset_json = read_raw_dataset_json(folder / "dataset.json")
        case = {
            "images": [str(folder / "imagesTr/phantom_001_0000.nii.gz")],
            "label": str(folder / "labelsTr/phantom_001.nii.gz"),
        }
        check_cases({"phantom_001": case}, dataset_json, progress=False)
        assert dataset_json["channel_names"] == {"0": "CT"}
        assert dataset_json["labels"] == {"background": 0, "EDH": 1, "ICH": 2, "IVH": 3, "SAH": 4, "SDH": 5}
        assert dataset_json["numTraining"] == 3
        assert dataset_json["file_ending"] == ".nii.gz"
        assert dataset_json["licence"] == "CC0-1.0"

    def test_thin_scans_are_the_cases(self, tmp_path: Path) -> None:
        folder = make(tmp_path)
        for index, part in ((1, "Tr"), (3, "Ts")):
            case = fake_case(SETTINGS, seed=5, index=index)
            image = sitk.ReadImage(str(folder / f"images{part}/phantom_00{index}_0000.nii.gz"))
            assert image.GetPixelID() == sitk.sitkInt16
            np.testing.assert_array_equal(sitk.GetArrayFromImage(image), case.image)
            np.testing.assert_allclose(image.GetSpacing(), (0.5, 0.8, 1.5), rtol=1e-6)
            np.testing.assert_allclose(image.GetOrigin(), case.geometry.origin_mm, rtol=1e-6)
            np.testing.assert_allclose(image.GetDirection(), case.geometry.direction, atol=1e-6)
            labels = sitk.ReadImage(str(folder / f"labels{part}/phantom_00{index}.nii.gz"))
            assert labels.GetPixelID() == sitk.sitkUInt8
            np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), case.labels)

    def test_thick_scans_average_three_slices_each(self, tmp_path: Path) -> None:
        folder = make(tmp_path)
        thin, thick = (values(folder / f"imagesTr{kind}/phantom_000_0000.nii.gz") for kind in ("", "_thick"))
        assert thick.dtype == np.int16
        assert thick.shape == (8, 18, 16)
        np.testing.assert_array_equal(thick[2], np.rint((thin[6].astype(float) + thin[7] + thin[8]) / 3))
        marked, voxels = (values(folder / f"labelsTr{kind}/phantom_000.nii.gz") for kind in ("_thick", ""))
        assert marked.dtype == np.uint8
        # Case 0 shows class 1 in slices 4 to 6: two of the three of slab 1, one of the three of slab 2.
        assert np.unique(voxels).tolist() == [0, 1]
        assert [(marked[z] == 1).sum() for z in range(8)] == [0, 16, 0, 0, 0, 0, 0, 0]

    @pytest.mark.parametrize("kind", ["imagesTr_thick/phantom_000_0000", "labelsTr_thick/phantom_000"])
    def test_thick_slices_lie_at_the_centre_of_their_slab(self, tmp_path: Path, kind: str) -> None:
        folder = make(tmp_path)
        thin = sitk.ReadImage(str(folder / "imagesTr/phantom_000_0000.nii.gz"))
        thick = sitk.ReadImage(str(folder / f"{kind}.nii.gz"))
        np.testing.assert_allclose(thick.GetSpacing(), (0.5, 0.8, 4.5), rtol=1e-6)
        np.testing.assert_allclose(thick.GetDirection(), thin.GetDirection(), atol=1e-6)
        for z in range(8):
            middle = thin.TransformIndexToPhysicalPoint((5, 7, 3 * z + 1))
            np.testing.assert_allclose(thick.TransformIndexToPhysicalPoint((5, 7, z)), middle, atol=1e-4)

    def test_provenance_names_seed_and_volumes(self, tmp_path: Path) -> None:
        folder = make(tmp_path)
        provenance = read_json(folder / "provenance/phantom_002.json")  # classes 1 and 2, 3 x 2 x 8 voxels each
        case = fake_case(SETTINGS, seed=5, index=2)
        assert provenance["drawn"] == case.provenance["drawn"]
        assert (provenance["seed"], provenance["index"]) == (5, 2)
        ml = 48 * 1.5 * 0.8 * 0.5 / 1000
        assert provenance["volume_ml"] == pytest.approx({"EDH": ml, "ICH": ml, "IVH": 0, "SAH": 0, "SDH": 0})

    def test_the_record_names_all_that_was_asked_for(self, tmp_path: Path) -> None:
        record = read_json(make(tmp_path, replace(SETTINGS, frequencies={"SDH": 0.5, "EDH": 1})) / "phantom.json")
        assert record == {
            "version": __version__,
            "seed": 5,
            "num_training": 3,
            "num_test": 2,
            "matrix": [24, 18, 16],
            "spacing_mm": [1.5, 0.8, 0.5],
            "factor": 3,
            "supersampling": 2,
            "smallest": 0.0,
            "fresh": False,
            "noise_hu": None,
            "frequencies": {"EDH": 1, "ICH": 0, "IVH": 0, "SAH": 0, "SDH": 0.5},
            "background": None,
        }

    def test_classes_that_were_chosen_are_all_it_has(self, tmp_path: Path) -> None:
        settings = replace(SETTINGS, classes=("ICH", "SDH"), frequencies={"SDH": 0.5, "ICH": 1})
        folder = make(tmp_path, settings)
        assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "ICH": 1, "SDH": 2}
        assert read_json(folder / "phantom.json")["classes"] == ["ICH", "SDH"]
        provenance = read_json(folder / "provenance/phantom_002.json")  # labels 1 and 2
        ml = 48 * 1.5 * 0.8 * 0.5 / 1000
        assert provenance["volume_ml"] == pytest.approx({"ICH": ml, "SDH": ml})

    def test_cases_see_all_frequencies_in_one_order(self, tmp_path: Path) -> None:
        folder = make(tmp_path, replace(SETTINGS, frequencies={"SDH": 0.5, "EDH": 1}), num_training=1)
        assert list(read_json(folder / "provenance/phantom_000.json")["frequencies"]) == list(CLASSES)

    def test_a_background_is_known_by_its_content(self, tmp_path: Path) -> None:
        scan = tmp_path / "doe_john.nii.gz"
        scan.write_bytes(b"a scan")
        folder = make(tmp_path / "phantoms", replace(SETTINGS, background=scan))
        text = (folder / "phantom.json").read_text()
        assert hashlib.sha256(b"a scan").hexdigest() in text
        assert "doe_john" not in text
        assert read_json(folder / "dataset.json")["licence"] == "that of the background"

    def test_a_background_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"none\.nii\.gz"):
            make(tmp_path / "phantoms", replace(SETTINGS, background=tmp_path / "none.nii.gz"))
        assert not (tmp_path / "phantoms").exists()

    @pytest.mark.parametrize("count", [2, 3])
    def test_folds_hold_the_training_cases(self, tmp_path: Path, count: int) -> None:
        folds = read_json(make(tmp_path, num_training=count) / "splits_final.json")
        assert sorted(fold["val"] for fold in folds) == [[f"phantom_00{i}"] for i in range(count)]

    def test_one_training_case_has_no_folds(self, tmp_path: Path) -> None:
        assert not (make(tmp_path, num_training=1) / "splits_final.json").exists()


class TestAgain:
    def test_gives_the_same_bytes(self, tmp_path: Path) -> None:
        assert checksums(make(tmp_path / "one")) == checksums(make(tmp_path / "two"))

    def test_another_seed_gives_others(self, tmp_path: Path) -> None:
        one, two = checksums(make(tmp_path / "one")), checksums(make(tmp_path / "two", seed=6))
        file = "imagesTr/phantom_000_0000.nii.gz"
        assert one[file] != two[file]

    def test_keeps_what_is_complete(self, tmp_path: Path, made: list[int]) -> None:
        before = checksums(make(tmp_path))
        made.clear()
        assert checksums(make(tmp_path)) == before
        assert made == []

    @pytest.mark.parametrize(
        "lost", ["provenance/phantom_001.json", "labelsTr/phantom_001.nii.gz", "imagesTr_thick/phantom_001_0000.nii.gz"]
    )
    def test_makes_what_is_not(self, tmp_path: Path, made: list[int], lost: str) -> None:
        before = checksums(make(tmp_path))
        (tmp_path / lost).unlink()
        made.clear()
        assert checksums(make(tmp_path)) == before
        assert made == [1]

    def test_more_test_cases_change_no_other(self, tmp_path: Path, made: list[int]) -> None:
        before = checksums(make(tmp_path))
        made.clear()
        after = checksums(make(tmp_path, num_test=4))
        assert made == [5, 6]
        assert {file for file in before if before[file] != after[file]} == {"phantom.json"}
        assert read_json(tmp_path / "phantom.json")["num_test"] == 4
        assert after == checksums(make(tmp_path / "at_once", num_test=4))

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"seed": 6}, "seed was 5 and is now 6; .*phantom.json$"),
            ({"num_training": 4}, "num_training was 3 and is now 4; "),
            ({"num_training": 2}, "num_training was 3 and is now 2; "),
            ({"num_test": 1}, "num_test was 2 and is now 1; .* at least as many: "),
            ({"settings": replace(SETTINGS, matrix=(24, 16, 16))}, r"matrix was \[24, 18, 16\] and is now "),
            ({"settings": replace(SETTINGS, noise_hu=4.0)}, "noise_hu was null and is now 4.0; "),
            ({"settings": replace(SETTINGS, frequencies={"EDH": 0.5})}, "frequencies was .* and is now .*; "),
            (
                {"settings": replace(SETTINGS, classes=("ICH",), frequencies={"ICH": 1})},
                r"(frequencies|classes) was .* and is now ",
            ),
        ],
    )
    def test_refuses_what_the_dataset_was_not_begun_with(
        self, tmp_path: Path, change: dict[str, Any], named: str
    ) -> None:
        before = checksums(make(tmp_path))
        with pytest.raises(ValueError, match=named):
            make(tmp_path, **change)
        assert checksums(tmp_path) == before

    @pytest.mark.parametrize(("before", "now"), [(("ICH", "SDH"), tuple(CLASSES)), (tuple(CLASSES), ("ICH", "SDH"))])
    def test_refuses_other_classes(self, tmp_path: Path, before: tuple[str, ...], now: tuple[str, ...]) -> None:
        settings = replace(SETTINGS, frequencies={"ICH": 1})
        make(tmp_path, replace(settings, classes=before))
        with pytest.raises(ValueError, match=r"classes was .* and is now "):
            make(tmp_path, replace(settings, classes=now))

    def test_refuses_another_background(self, tmp_path: Path) -> None:
        for name in ("one", "same", "two"):
            (tmp_path / name).write_text(name.replace("same", "one"))
        make(tmp_path / "phantoms", replace(SETTINGS, background=tmp_path / "one"))
        make(tmp_path / "phantoms", replace(SETTINGS, background=tmp_path / "same"))
        with pytest.raises(ValueError, match=r"background was \{\"sha256\": \""):
            make(tmp_path / "phantoms", replace(SETTINGS, background=tmp_path / "two"))

    def test_refuses_a_dataset_of_another_version(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make(tmp_path)
        monkeypatch.setattr(dataset, "__version__", "9.9.9")
        with pytest.raises(ValueError, match=f'version was "{__version__}" and is now "9.9.9"; '):
            make(tmp_path)

    @pytest.mark.parametrize("content", ["{", "[1, 2]", "7", "null"])
    def test_refuses_a_record_that_is_none(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "phantom.json").write_text(content)
        with pytest.raises(ValueError, match=r"^phantom.json must be what cfseg phantom wrote, .*: .*phantom.json$"):
            make(tmp_path)


class TestRefusals:
    @pytest.mark.parametrize("name", ["dataset.json", "imagesTr"])
    def test_of_a_folder_with_something_else(self, tmp_path: Path, made: list[int], name: str) -> None:
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=f"needs a folder of its own, and {name} is in {tmp_path}$"):
            make(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert made == []

    def test_of_a_file_for_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            make(tmp_path / "file")

    @pytest.mark.parametrize(
        ("number", "named"),
        [
            ({"num_training": 0}, "training cases, got 0$"),
            ({"num_test": -1}, "number of test cases must be from 0 .*, got -1$"),
            ({"seed": -1}, "a seed must be .*, got -1$"),
            ({"num_processes": 0}, "-np must be .*, got 0$"),
        ],
    )
    def test_of_bad_numbers(self, tmp_path: Path, number: dict[str, int], named: str) -> None:
        with pytest.raises(ValueError, match=named):
            make(tmp_path / "phantoms", **number)
        assert not (tmp_path / "phantoms").exists()


def test_a_failure_in_the_middle_keeps_what_is_complete(
    tmp_path: Path, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels of case 1 cannot be written when its scan is."""
    write = sitk.WriteImage

    def fail(image: sitk.Image, file: str, **kwargs: Any) -> None:
        if "labelsTr/" in file and "phantom_001" in file:
            raise RuntimeError("several\nlines")
        write(image, file, **kwargs)

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(OSError, match=r"cannot be written.*phantom_001.nii.gz$"):
        make(tmp_path)
    assert sorted(checksums(tmp_path)) == [
        "imagesTr/phantom_000_0000.nii.gz",
        "imagesTr_thick/phantom_000_0000.nii.gz",
        "labelsTr/phantom_000.nii.gz",
        "labelsTr_thick/phantom_000.nii.gz",
        "phantom.json",
        "provenance/phantom_000.json",
    ]
    monkeypatch.setattr(sitk, "WriteImage", write)
    made.clear()
    assert checksums(make(tmp_path)) == checksums(make(tmp_path.with_name("at_once")))
    assert made[:4] == [1, 2, 3, 4]


def test_cases_are_made_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def case(*args: Any, **kwargs: Any) -> files.PhantomCase:
        threads.extend(library["num_threads"] for library in threadpool_info())
        return fake_case(*args, **kwargs)

    monkeypatch.setattr(files, "make_case", case)
    with threadpool_limits(2):
        make(tmp_path, num_training=1, num_test=0)
        assert 2 in [library["num_threads"] for library in threadpool_info()]
    assert set(threads) == {1}


def test_progress_counts_cases_with_those_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, progress=True)
    assert "Making phantoms: 100%" in capsys.readouterr().err
    (tmp_path / "provenance/phantom_001.json").unlink()
    make(tmp_path, progress=True)
    shown = capsys.readouterr().err
    assert "80%" in shown
    assert "5/5" in shown
    make(tmp_path)
    assert capsys.readouterr().err == ""
