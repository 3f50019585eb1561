"""The dataset as a whole: its files, its sidecar, and that it goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.data.pairing import dataset, files, sidecar
from nnunetv2_cfseg.data.pairing.dataset import Split, make_dataset
from nnunetv2_cfseg.data.pairing.settings import PairSettings
from nnunetv2_cfseg.data.pairing.sources import Sources, find_sources
from nnunetv2_cfseg.imaging.slabs import annotate_slabs
from nnunetv2_cfseg.nnunet.dataset_json import ignored_value, label_values

pytestmark = pytest.mark.slow

WriteRaw = Callable[..., Path]
NAMES = [f"case_{i}" for i in range(5)]
SETTINGS = PairSettings(4, "thin", values=(0, 1, 2))
PATIENTS = dict(zip(NAMES, "AABCD", strict=True))
SPLIT = Split(PATIENTS, test=["case_4"], folds=3, seed=1)


@pytest.fixture
def raw(write_raw_dataset: WriteRaw, tmp_path: Path) -> Path:
    """Five small CTs with thin labels, of 13 slices: one is left over."""
    return write_raw_dataset(tmp_path, "raw", cases=5, shape=(13, 12, 14))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pairs made, once when they are checked and once when they are written."""
    names: list[str] = []
    make_pair = files.make_pair

    def make(source: Any, settings: PairSettings) -> Any:
        names.append(source.name)
        return make_pair(source, settings)

    monkeypatch.setattr(files, "make_pair", make)
    return names


def make(raw: Path, folder: Path, **others: Any) -> dict[str, Any]:
    given = {"settings": SETTINGS, "split": SPLIT, "progress": False, "pictures": False, **others}
    return make_dataset(find_sources(raw), folder, **given)


def checksums(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(file: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


class TestFiles:
    def test_are_those_of_a_raw_dataset(self, raw: Path, tmp_path: Path) -> None:
        pairs = tmp_path / "pairs"
        make(raw, pairs, pictures=True)
        train = [f"{folder}/{name}.nii.gz" for name in NAMES[:4] for folder in ("labelsTr", "labelsTr_thin")]
        assert sorted(checksums(pairs)) == sorted(
            [
                *("dataset.json", "splits_final.json", "thin_thick.json"),
                *train,
                *(f"imagesTr/{name}_0000.nii.gz" for name in NAMES[:4]),
                *("imagesTs/case_4_0000.nii.gz", "labelsTs/case_4.nii.gz", "labelsTs_thin/case_4.nii.gz"),
                *(f"pictures/{name}.png" for name in NAMES),
            ]
        )

    def test_hold_thin_images_and_thick_labels_repeated(self, raw: Path, tmp_path: Path) -> None:
        pairs = tmp_path / "pairs"
        content = make(raw, pairs)
        for name in NAMES[:4]:
            first = content["cases"][name]["left_out"]["image_slices"][0]
            thin, labels = read(raw / f"imagesTr/{name}_0000.nii.gz"), read(raw / f"labelsTr/{name}.nii.gz")
            np.testing.assert_array_equal(read(pairs / f"imagesTr/{name}_0000.nii.gz"), thin[first : first + 12])
            np.testing.assert_array_equal(read(pairs / f"labelsTr_thin/{name}.nii.gz"), labels[first : first + 12])
            thick = annotate_slabs(labels[first : first + 12], 4)
            assert thick.any()
            np.testing.assert_array_equal(read(pairs / f"labelsTr/{name}.nii.gz"), np.repeat(thick, 4, axis=0))
            headers = [
                sitk.ReadImage(str(pairs / file))
                for file in (f"imagesTr/{name}_0000.nii.gz", f"labelsTr/{name}.nii.gz", f"labelsTr_thin/{name}.nii.gz")
            ]
            assert len({(h.GetSize(), h.GetOrigin(), h.GetSpacing(), h.GetDirection()) for h in headers}) == 1
            source = sitk.ReadImage(str(raw / f"imagesTr/{name}_0000.nii.gz"))
            np.testing.assert_allclose(headers[0].GetOrigin(), source.TransformIndexToPhysicalPoint((0, 0, first)))

    def test_say_what_the_dataset_is(self, write_raw_dataset: WriteRaw, tmp_path: Path) -> None:
        labels = {"background": 0, "both": [1, 2], "fatty": 2, "ignore": 3}
        raw = write_raw_dataset(
            tmp_path, "regions", cases=3, shape=(12, 12, 14), labels=labels, regions_class_order=(1, 2), ignore=3
        )
        content = json.loads((raw / "dataset.json").read_text())
        (raw / "dataset.json").write_text(json.dumps({**content, "licence": "free", "numTest": 9}))
        settings = PairSettings(2, "thin", values=label_values(labels), ignore=ignored_value(labels))
        make(raw, tmp_path / "pairs", settings=settings, split=Split({name: name for name in NAMES[:3]}))
        assert json.loads((tmp_path / "pairs/dataset.json").read_text()) == {
            **content,
            "licence": "free",
            "numTraining": 3,
        }
        # One of two slices is annotated, so half of the slab: lesion there is enough, background there says nothing.
        assert set(np.unique(read(tmp_path / "pairs/labelsTr/case_0.nii.gz"))) == {1, 3}

    def test_of_folds_keep_patients_together(self, raw: Path, tmp_path: Path) -> None:
        make(raw, tmp_path / "pairs")
        folds = json.loads((tmp_path / "pairs/splits_final.json").read_text())
        assert len(folds) == 3
        assert ["case_0", "case_1"] in [fold["val"] for fold in folds]
        assert sorted(name for fold in folds for name in fold["val"]) == NAMES[:4]

    def test_of_folds_need_two_patients(self, raw: Path, tmp_path: Path) -> None:
        make(raw, tmp_path / "pairs", split=Split(dict.fromkeys(NAMES, "one")))
        assert not (tmp_path / "pairs/splits_final.json").exists()

    @pytest.mark.slow
    def test_of_several_processes_are_the_same(self, raw: Path, tmp_path: Path) -> None:
        make(raw, tmp_path / "one", pictures=True)
        make(raw, tmp_path / "two", pictures=True, num_processes=2)
        assert checksums(tmp_path / "one") == checksums(tmp_path / "two")


class TestSidecar:
    def test_tells_how_the_pairs_were_made(self, raw: Path, tmp_path: Path) -> None:
        pairs = tmp_path / "pairs"
        content = make(raw, pairs)
        assert json.loads((pairs / "thin_thick.json").read_text()) == content
        case = content.pop("cases")["case_4"]
        assert content == {
            "version": __version__,
            "factor": 4,
            "slice_axis": 0,
            "labels": "simulated",
            "threshold": 0.5,
            "slice_profile": "mean of the slab's thin slices",
            "thickness_mm": None,
            "classes": {"background": 0, "bright": 1, "fatty": 2},
            "seed": 1,
            "folds": 3,
            "training": NAMES[:4],
            "test": ["case_4"],
            "same_patient": [["case_0", "case_1"]],
            "with_thick_images": False,
        }
        assert case["part"] == "Ts"
        assert case["sources"]["image"] == {
            "name": "case_4_0000.nii.gz",
            "sha256": checksums(raw)["imagesTr/case_4_0000.nii.gz"],
        }
        written = checksums(pairs)
        assert case["outputs"] == {file: written[file] for file in written if "case_4" in file}
        assert case["slabs"] == 3
        assert case["thin"]["spacing_mm"] == [2, 1.5, 1.5]
        assert case["thick"] == {"slices": 3, "spacing_mm": [8, 1.5, 1.5], "thickness_mm": 8}

    def test_names_no_folder_and_no_patient(self, raw: Path, tmp_path: Path) -> None:
        make(raw, tmp_path / "pairs", split=replace(SPLIT, patients={name: f"Jane Doe {name}" for name in NAMES}))
        text = (tmp_path / "pairs/thin_thick.json").read_text()
        assert str(tmp_path) not in text
        assert "Doe" not in text

    @pytest.mark.parametrize("threshold", [None, 0.25])
    def test_of_annotated_labels(self, tmp_path: Path, make_grid: Any, threshold: float | None) -> None:
        grid = make_grid((12, 5, 6))
        thick = grid.with_slices(0, 4, 3)
        hu = np.random.default_rng(0).integers(-1000, 1000, grid.shape).astype(np.int16)
        for folder, volume, on in (
            ("imagesTr/a_0000.nii.gz", hu, grid),
            ("labelsTr/a.nii.gz", np.ones(thick.shape, np.uint8), thick),
        ):
            (tmp_path / "raw" / folder).parent.mkdir(parents=True)
            sitk.WriteImage(on.image_of(volume), str(tmp_path / "raw" / folder))
        dataset_json = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "x": 1}, "numTraining": 1}
        (tmp_path / "raw/dataset.json").write_text(json.dumps({**dataset_json, "file_ending": ".nii.gz"}))
        settings = PairSettings(4, "thick", threshold=threshold)
        content = make(tmp_path / "raw", tmp_path / "pairs", settings=settings, split=Split({"a": "a"}))
        assert (content["labels"], content["threshold"]) == ("annotated", threshold)
        assert sorted(checksums(tmp_path / "pairs")) == [
            *("dataset.json", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "thin_thick.json"),
        ]


class TestGoingOn:
    def test_keeps_what_is_complete(self, raw: Path, tmp_path: Path, made: list[str]) -> None:
        pairs = tmp_path / "pairs"
        make(raw, pairs)
        before = checksums(pairs)
        assert made == NAMES * 2
        made.clear()
        make(raw, pairs)
        assert made == []
        (pairs / "labelsTr_thin/case_2.nii.gz").unlink()
        (pairs / "dataset.json").unlink()
        make(raw, pairs)
        assert made == ["case_2"] * 2
        assert checksums(pairs) == before

    def test_draws_pictures_that_are_missing(self, raw: Path, tmp_path: Path, made: list[str]) -> None:
        make(raw, tmp_path / "pairs")
        made.clear()
        make(raw, tmp_path / "pairs", pictures=True)
        assert made == NAMES * 2
        made.clear()
        make(raw, tmp_path / "pairs")
        assert made == []

    def test_makes_cases_again_whose_files_changed(self, raw: Path, tmp_path: Path, made: list[str]) -> None:
        make(raw, tmp_path / "pairs")
        image = sitk.ReadImage(str(raw / "labelsTr/case_3.nii.gz"))
        sitk.WriteImage(image * 0, str(raw / "labelsTr/case_3.nii.gz"))
        made.clear()
        content = make(raw, tmp_path / "pairs")
        assert made == ["case_3"] * 2
        assert content["cases"]["case_3"]["values"] == []
        assert not read(tmp_path / "pairs/labelsTr/case_3.nii.gz").any()

    def test_after_a_failure_in_the_middle(
        self, raw: Path, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The label of case 2 cannot be written when its image is."""
        pairs = tmp_path / "pairs"
        write = sitk.WriteImage

        def fail(image: sitk.Image, file: str, **kwargs: Any) -> None:
            if "labelsTr" in file and "case_2" in file:
                raise RuntimeError("several\nlines")
            write(image, file, **kwargs)

        monkeypatch.setattr(sitk, "WriteImage", fail)
        with pytest.raises(OSError, match=r"cannot be written.*case_2.nii.gz$"):
            make(raw, pairs)
        assert not (pairs / "dataset.json").exists()
        assert not (pairs / ".unfinished").exists()
        assert sorted(json.loads((pairs / "thin_thick.json").read_text())["cases"]) == NAMES[:2]
        assert not list(pairs.rglob("case_2*"))
        monkeypatch.setattr(sitk, "WriteImage", write)
        made.clear()
        make(raw, pairs)
        assert made == NAMES[2:] * 2
        make(raw, tmp_path / "at_once")
        assert checksums(pairs) == checksums(tmp_path / "at_once")

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"settings": replace(SETTINGS, factor=3)}, "factor was 4 and is now 3; "),
            ({"settings": replace(SETTINGS, threshold=0.3)}, "threshold was 0.5 and is now 0.3; "),
            ({"split": replace(SPLIT, test=["case_3"])}, 'training was .* and is now .*"case_4"'),
            ({"split": replace(SPLIT, folds=2)}, "folds was 3 and is now 2; "),
            ({"split": replace(SPLIT, seed=2)}, "seed was 1 and is now 2; "),
            (
                {"split": replace(SPLIT, patients={name: name for name in NAMES})},
                r'same_patient was \[\["case_0", "case_1"\]\] and is now \[\]; ',
            ),
        ],
    )
    def test_with_something_else_is_refused(
        self, raw: Path, tmp_path: Path, change: dict[str, Any], named: str
    ) -> None:
        make(raw, tmp_path / "pairs")
        before = checksums(tmp_path / "pairs")
        with pytest.raises(ValueError, match=f"^{named}"):
            make(raw, tmp_path / "pairs", **change)
        assert checksums(tmp_path / "pairs") == before

    def test_with_another_version_is_refused(self, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make(raw, tmp_path / "pairs")
        monkeypatch.setattr(sidecar, "__version__", "9.9.9")
        with pytest.raises(ValueError, match=f'version was "{__version__}" and is now "9.9.9"; .*thin_thick.json$'):
            make(raw, tmp_path / "pairs")

    @pytest.mark.parametrize("content", ["{", "[1]", "7", "{}", '{"cases": {"a": {}}}'])
    def test_with_a_sidecar_that_is_none_is_refused(self, raw: Path, tmp_path: Path, content: str) -> None:
        (tmp_path / "pairs").mkdir()
        (tmp_path / "pairs/thin_thick.json").write_text(content)
        with pytest.raises(
            ValueError, match=r"^thin_thick.json must be what cfseg make_pairs wrote, .*thin_thick.json$"
        ):
            make(raw, tmp_path / "pairs")

    @pytest.mark.parametrize("name", ["dataset.json", "imagesTr"])
    def test_in_the_folder_of_something_else_is_refused(
        self, raw: Path, tmp_path: Path, made: list[str], name: str
    ) -> None:
        (tmp_path / "pairs" / name).mkdir(parents=True)
        with pytest.raises(ValueError, match=f"needs a folder of its own, and {name} is in .*pairs$"):
            make(raw, tmp_path / "pairs")
        assert made == []

    def test_in_the_dataset_itself_is_refused(self, raw: Path) -> None:
        before = checksums(raw)
        with pytest.raises(ValueError, match=r"needs a folder of its own, and dataset.json is in "):
            make(raw, raw)
        assert checksums(raw) == before


class TestDoor:
    def test_nothing_is_written_where_one_case_is_bad(self, raw: Path, tmp_path: Path, made: list[str]) -> None:
        image = sitk.ReadImage(str(raw / "imagesTr/case_4_0000.nii.gz"))
        sitk.WriteImage(sitk.Abs(image), str(raw / "imagesTr/case_4_0000.nii.gz"))
        with pytest.raises(ValueError, match=r"must be in Hounsfield units .*case_4_0000.nii.gz$"):
            make(raw, tmp_path / "pairs")
        assert made == NAMES
        assert not (tmp_path / "pairs").exists()

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"num_processes": 0}, "-np must be .*, got 0$"),
            ({"split": replace(SPLIT, test=["other"])}, "unknown test case 'other'"),
            ({"split": replace(SPLIT, test=NAMES)}, "all 5 cases are in the test set"),
            ({"split": replace(SPLIT, test=["case_0"])}, "and case_0 of the test set has the same patient as case_1$"),
        ],
    )
    def test_bad_test_sets_are_refused(
        self, raw: Path, tmp_path: Path, made: list[str], change: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(ValueError, match=named):
            make(raw, tmp_path / "pairs", **change)
        assert made == []
        assert not (tmp_path / "pairs").exists()

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"seed": -1}, "a seed must be .*, got -1$"),
            ({"folds": 1}, "number of folds must be from 2 .*, got 1$"),
            ({"test": None, "test_share": 2}, "must be at least 0 and below 1, got 2$"),
        ],
    )
    def test_bad_numbers_are_refused(self, change: dict[str, Any], named: str) -> None:
        with pytest.raises(ValueError, match=named):
            replace(SPLIT, **change)

    def test_a_dataset_may_bring_its_test_set(self, raw: Path) -> None:
        sources = find_sources(raw)
        parts = dict.fromkeys(NAMES, "Tr") | {"case_2": "Ts"}
        brought = Sources(
            tuple(replace(case, part=parts[case.name]) for case in sources.cases),
            sources.dataset_json,
            sources.dataset_file,
        )
        own = Split({name: name for name in NAMES})
        assert {case.name: case.part for case in dataset.assign_parts(brought, own)} == parts
        for chosen in (replace(own, test=["case_1"]), replace(own, test_share=0.5)):
            with pytest.raises(ValueError, match=r"has a test set already, with case_2"):
                dataset.assign_parts(brought, chosen)

    def test_test_patients_are_drawn(self, raw: Path) -> None:
        cases = dataset.assign_parts(find_sources(raw), Split(PATIENTS, test_share=0.5, seed=3))
        test = {case.name for case in cases if case.part == "Ts"}
        assert len({PATIENTS[name] for name in test}) == 2
        assert not {PATIENTS[name] for name in test} & {PATIENTS[c.name] for c in cases if c.part == "Tr"}


def test_progress_is_shown_where_it_is_asked_for(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(raw, tmp_path / "pairs", progress=True)
    shown = capsys.readouterr().err
    assert "Checking cases: 100%" in shown
    assert "Pairing: 100%" in shown
    make(raw, tmp_path / "pairs")
    assert capsys.readouterr().err == ""
