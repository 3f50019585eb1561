"""Lesions in a head CT: a real one, shrunk, and made-up ones that are no use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from nnunetv2_cfseg.data.phantom.background import Background, bleed_into, read_background
from nnunetv2_cfseg.data.phantom.case import PhantomCase, make_case
from nnunetv2_cfseg.data.phantom.settings import CLASSES, PhantomSettings

pytestmark = pytest.mark.slow


def write(file: Path, values: np.ndarray, spacing_mm: tuple[float, ...] = (3.0, 3.0, 3.0)) -> Path:
    image = sitk.GetImageFromArray(np.rint(values).astype(np.int16))
    image.SetSpacing(spacing_mm)
    sitk.WriteImage(image, str(file))
    return file


def made_up_head(*, ventricles: bool = True) -> np.ndarray:
    """(Z, Y, X) HU on voxels of 3 mm: skin, skull, brain and ventricles, each an ellipsoid."""
    z, y, x = np.meshgrid(*((np.arange(size) - (size - 1) / 2) * 3.0 for size in (64, 72, 64)), indexing="ij")
    radius = np.sqrt((x / 68) ** 2 + (y / 85) ** 2 + (z / 70) ** 2)
    hu = np.full(radius.shape, -1000.0)
    for outer, value in ((1.2, 40), (1.1, 1000), (1, 35)):
        hu[radius < outer] = value
    if ventricles:
        hu[(x / 20) ** 2 + (y / 40) ** 2 + (z / 15) ** 2 < 1] = 5
    return hu


@pytest.fixture(scope="module")
def real_head(real_ct_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real head CT on larger voxels, 2.2 mm in slices of 3 mm."""
    scan = sitk.ReadImage(str(real_ct_data / "head" / "invesalius_0051_head_ct_raw.nii.gz"))
    spacing = (2.2, 2.2, 3.0)
    size = [int(n * mm / new) for n, mm, new in zip(scan.GetSize(), scan.GetSpacing(), spacing, strict=True)]
    origin, direction = scan.GetOrigin(), scan.GetDirection()
    small = sitk.Resample(scan, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, direction, -1000)
    file = tmp_path_factory.mktemp("head") / "head.nii.gz"
    sitk.WriteImage(small, str(file))
    return file


@pytest.fixture(scope="module")
def background(real_head: Path) -> Background:
    return read_background(real_head)


@pytest.fixture(scope="module")
def bled(background: Background) -> Callable[..., tuple]:
    """A function of a seed and classes: image, labels and what was drawn."""
    made: dict[tuple, tuple] = {}

    def bleed(seed: int, *classes: str) -> tuple:
        if (seed, *classes) not in made:
            rng = np.random.default_rng(seed)
            made[(seed, *classes)] = bleed_into(background, list(classes), samples=2, rng=rng)
        return made[(seed, *classes)]

    return bleed


def at_voxels(background: Background, field: np.ndarray) -> np.ndarray:
    """A field of the grid, at the voxels' centres; both have their middle at 0."""
    grid = background.skull.space.grid
    axes = [
        ((np.arange(n) - (n - 1) / 2) * mm - grid.origin_mm[2 - axis]) / grid.step_mm
        for axis, (n, mm) in enumerate(zip(background.image.shape, background.spacing_mm, strict=True))
    ]
    return ndimage.map_coordinates(field, np.stack(np.meshgrid(*axes, indexing="ij")), order=1, mode="nearest")


SEEDS = (0, 2, 6)


class TestAnatomy:
    def test_cavity_is_the_heads(self, background: Background) -> None:
        cavity = at_voxels(background, background.skull.cavity)
        volume_ml = (cavity > 0).sum() * np.prod(background.spacing_mm) / 1000
        assert 1250 < volume_ml < 1600
        hu = background.image[cavity > 4]
        assert ((hu > -20) & (hu < 100)).mean() > 0.97
        around = background.image[(cavity < -2) & (cavity > -6) & (at_voxels(background, background.skull.space.z) > 5)]
        assert (around > 250).mean() > 0.9

    def test_ventricles_are_dark_and_deep(self, background: Background) -> None:
        ventricles = at_voxels(background, background.brain.ventricles) > 0
        volume_ml = ventricles.sum() * np.prod(background.spacing_mm) / 1000
        assert 5 < volume_ml < 120
        assert np.median(background.image[ventricles]) < 17
        assert at_voxels(background, background.skull.cavity)[ventricles].min() > 2


class TestLesions:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_of_all_classes_lie_in_the_cavity_and_not_in_bone(
        self, background: Background, bled: Callable[..., tuple], seed: int
    ) -> None:
        _, labels, drawn = bled(seed, *CLASSES)
        assert {lesion["class"] for lesion in drawn} == set(CLASSES)
        cavity = at_voxels(background, background.skull.cavity)
        for name, label in CLASSES.items():
            where = labels == label
            assert where.sum() * np.prod(background.spacing_mm) > 400, name
            assert cavity[where].min() > -2
            assert np.mean(background.image[where] > 250) < 0.01
            assert np.mean(background.image[where] < -200) < 0.03

    @pytest.mark.parametrize("seed", SEEDS)
    def test_subarachnoid_blood_takes_the_place_of_fluid(
        self, background: Background, bled: Callable[..., tuple], seed: int
    ) -> None:
        _, labels, _ = bled(seed, "SAH")
        where = labels == CLASSES["SAH"]
        assert np.median(background.image[where]) < 17
        assert 1 < where.sum() * np.prod(background.spacing_mm) / 1000 < 40

    @pytest.mark.parametrize("seed", SEEDS)
    def test_blood_in_the_ventricles_takes_the_place_of_fluid(
        self, background: Background, bled: Callable[..., tuple], seed: int
    ) -> None:
        _, labels, _ = bled(seed, "IVH")
        where = labels == CLASSES["IVH"]
        assert np.median(background.image[where]) < 17
        assert at_voxels(background, background.brain.ventricles)[where].min() > -1.5

    def test_show_the_density_drawn_and_the_scans_noise(
        self, background: Background, bled: Callable[..., tuple]
    ) -> None:
        image, labels, drawn = bled(0, "ICH")
        deep = ndimage.binary_erosion(labels == CLASSES["ICH"], iterations=1)
        # Clots vary by 3 HU over cm.
        assert image[deep].mean() == pytest.approx(drawn[0]["hu"], abs=6)
        assert image[deep].mean() > background.image[deep].mean() + 15
        # What differed from its neighbours does so still.
        detail = [volume - ndimage.gaussian_filter(volume, 1) for volume in (image, background.image)]
        assert np.corrcoef(detail[0][deep], detail[1][deep])[0, 1] > 0.65

    def test_leave_the_rest_of_the_image_as_it_was(self, background: Background, bled: Callable[..., tuple]) -> None:
        image, labels, _ = bled(6, "EDH", "IVH")
        changed = image != background.image
        assert changed[labels > 0].mean() > 0.99
        assert not (changed & ~ndimage.binary_dilation(labels > 0, np.ones((3, 3, 3)))).any()

    @pytest.mark.parametrize("name", CLASSES)
    def test_of_classes_not_asked_for_are_not_there(self, bled: Callable[..., tuple], name: str) -> None:
        _, labels, drawn = bled(0, name)
        assert set(np.unique(labels)) == {0, CLASSES[name]}
        assert {lesion["class"] for lesion in drawn} == {name}


def case_on(file: Path, **frequencies: float) -> PhantomCase:
    settings = PhantomSettings(background=file, supersampling=1, frequencies=frequencies or {"EDH": 1, "IVH": 1})
    return make_case(settings, seed=0, index=0)


def as_image(case: PhantomCase, volume: np.ndarray) -> sitk.Image:
    return case.geometry.image_of(volume)


@pytest.fixture(scope="module")
def straight(real_head: Path) -> PhantomCase:
    return case_on(real_head)


class TestGrid:
    def test_is_the_scans(self, real_head: Path, straight: PhantomCase) -> None:
        scan, image = sitk.ReadImage(str(real_head)), as_image(straight, straight.image)
        assert image.GetSize() == scan.GetSize()
        for part in ("GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(image, part)() == getattr(scan, part)()
        assert straight.image.dtype == np.int16
        assert straight.labels.dtype == np.uint8
        same = straight.image == sitk.GetArrayFromImage(scan)
        assert same[~ndimage.binary_dilation(straight.labels > 0, np.ones((3, 3, 3)))].all()
        assert not same[straight.labels > 0].all()

    @pytest.mark.parametrize("orientation", ["RAI", "SAL"])
    def test_of_a_turned_scan_is_kept_and_lesions_lie_at_the_same_points(
        self, real_head: Path, straight: PhantomCase, orientation: str, tmp_path: Path
    ) -> None:
        turned = sitk.DICOMOrient(sitk.ReadImage(str(real_head)), orientation)
        file = tmp_path / "turned.nrrd"
        sitk.WriteImage(turned, str(file))
        case = case_on(file)
        image, labels = as_image(case, case.image), as_image(case, case.labels)
        assert image.GetSize() == turned.GetSize()
        for part in ("GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(image, part)(), getattr(turned, part)(), atol=1e-6)
        back = sitk.DICOMOrient(labels, "LPS")
        np.testing.assert_allclose(back.GetOrigin(), straight.geometry.origin_mm, atol=1e-3)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(back), straight.labels)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS")), straight.image)

    def test_of_a_tilted_scan_is_kept(self, real_head: Path, straight: PhantomCase, tmp_path: Path) -> None:
        """As a gantry tilts it: its voxels are those of the head all the same."""
        tilted = sitk.ReadImage(str(real_head))
        c, s = np.cos(0.2), np.sin(0.2)
        tilted.SetDirection((1, 0, 0, 0, c, -s, 0, s, c))
        sitk.WriteImage(tilted, str(tmp_path / "tilted.nrrd"))
        case = case_on(tmp_path / "tilted.nrrd")
        np.testing.assert_allclose(case.geometry.direction, tilted.GetDirection(), atol=1e-9)
        np.testing.assert_array_equal(case.labels, straight.labels)

    def test_is_the_same_case_again(self, real_head: Path, straight: PhantomCase) -> None:
        np.testing.assert_array_equal(case_on(real_head).image, straight.image)


class TestRefusals:
    def test_a_made_up_head_is_none(self, tmp_path: Path) -> None:
        """So that what is refused below is refused for its flaw."""
        head = read_background(write(tmp_path / "head.nii.gz", made_up_head()))
        truth = 4 / 3 * np.pi * 68 * 85 * 70 / 1000
        assert (head.skull.cavity > 0).sum() * 8 / 1000 == pytest.approx(truth, rel=0.1)

    @pytest.mark.parametrize(
        ("size", "found"), [((64, 72, 64), r"\d{4} ml"), ((20, 20, 20), r"\d{3} ml"), ((0, 0, 0), "0 ml")]
    )
    def test_of_tissue_that_is_no_head(self, tmp_path: Path, size: tuple[int, int, int], found: str) -> None:
        rng = np.random.default_rng(0)
        values = np.full((66, 72, 64), -1000.0) + rng.normal(0, 10, (66, 72, 64))
        values[1 : size[0] + 1, : size[1], : size[2]] = 40
        values[:, -1:] = 40  # a table: a scan of nothing but air is refused for another reason
        with pytest.raises(ValueError, match=rf"a whole closed skull, of 700 to 2200 ml inside, and {found} were"):
            read_background(write(tmp_path / "box.nii.gz", values))

    @pytest.mark.parametrize("slices", [1, 2, 8])
    def test_of_a_few_slices(self, tmp_path: Path, slices: int) -> None:
        with pytest.raises(ValueError, match=r"a whole closed skull, .* were found: .*slices\.nii\.gz$"):
            read_background(write(tmp_path / "slices.nii.gz", made_up_head()[30 : 30 + slices]))

    def test_of_a_head_without_ventricles(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"must show the ventricles, and none were found: .*head\.nii\.gz$"):
            read_background(write(tmp_path / "head.nii.gz", made_up_head(ventricles=False)))

    def test_of_a_picture(self, tmp_path: Path) -> None:
        window = np.clip((made_up_head() + 50) * 2, 0, 255)
        with pytest.raises(ValueError, match=r"must be in Hounsfield units .* from 0 to 255: .*window\.nii\.gz$"):
            read_background(write(tmp_path / "window.nii.gz", window))

    def test_of_a_file_that_is_no_image(self, tmp_path: Path) -> None:
        file = tmp_path / "text.nii.gz"
        file.write_text("no image")
        with pytest.raises(ValueError, match=r"cannot be read.*text\.nii\.gz$"):
            read_background(file)

    @pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
    def test_of_a_file_that_is_cut(self, tmp_path: Path, share: float) -> None:
        """SimpleITK fills up what is missing with slices of zeros, and says nothing."""
        file = write(tmp_path / "head.nii.gz", made_up_head())
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
        assert sitk.ReadImage(str(file)).GetSize()[2] == len(made_up_head())
        with pytest.raises(ValueError, match=r"cannot be read, it is truncated or .*: .*head\.nii\.gz$"):
            read_background(file)

    def test_of_a_flat_image(self, tmp_path: Path) -> None:
        file = write(tmp_path / "flat.nii.gz", made_up_head()[30], (3.0, 3.0))
        with pytest.raises(ValueError, match=r"must be one volume .*flat\.nii\.gz$"):
            read_background(file)
