"""Noise, blur and beam hardening."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg.data.phantom.geometry import Grid, Pose, Space
from nnunetv2_cfseg.data.phantom.render import Voxels, render
from nnunetv2_cfseg.data.phantom.scanner import ANGLES, Artefacts, Scanner, blur, find_artefacts, make_noise, scan
from nnunetv2_cfseg.data.phantom.scene import Material, Scene
from nnunetv2_cfseg.imaging.slabs import average_slabs

SCANNER = Scanner(
    noise_hu=8.0, noise_peak_per_mm=0.25, blur_mm=0.5, hardening=2e-5, slice_correlation=0.2, offset_hu=0.0
)
#: Pixels small enough for nearly all of the noise's frequencies.
FINE = Voxels((24, 96, 96), (1.0, 0.5, 0.5), (1, 1, 1))


def noise_of(voxels: Voxels, seed: int = 0, **changes: float) -> np.ndarray:
    return make_noise(voxels, replace(SCANNER, **changes), np.random.default_rng(seed))


def make_scene(radii: tuple[float, float] = (75.0, 60.0)) -> Scene:
    """A long elliptic cylinder of water, with a wall of bone below z = -20 mm."""
    grid = Grid((-100.0, -100.0, -110.0), (56, 51, 51), 4.0)
    nothing = np.zeros(grid.shape, np.float32)
    scene = Scene(grid, nothing, nothing)
    scene.add("water", Material(0))
    scene.add("bone", Material(1200))
    z, y, x = np.meshgrid(*(grid.axis_mm(axis) for axis in "zyx"), indexing="ij")
    everything = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    space = Space(grid, Pose((0, 0, 0), np.eye(3), (1, 1, 1)), x, y, z, everything, 0.0)
    depth = (1 - np.hypot(y / radii[0], x / radii[1])) * min(radii)
    scene.paint("water", space, depth)
    scene.paint("bone", space, np.minimum(np.minimum(depth, 8 - depth), -20 - z))
    return scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene()


@pytest.fixture(scope="module")
def artefacts(scene: Scene) -> Artefacts:
    return find_artefacts(scene, SCANNER)


class TestNoise:
    def test_has_the_deviation_asked_for_in_slices_of_a_mm(self) -> None:
        noise = noise_of(FINE)
        assert noise.dtype == np.float32
        assert noise.std() == pytest.approx(8, rel=0.02)
        assert noise_of(FINE, noise_hu=3.0).std() == pytest.approx(3, rel=0.02)
        assert not noise_of(FINE, noise_hu=0.0).any()

    @pytest.mark.parametrize("thickness_mm", [0.5, 4.0])
    def test_falls_with_the_root_of_the_thickness(self, thickness_mm: float) -> None:
        thick = replace(FINE, spacing_mm=(thickness_mm, 0.5, 0.5))
        np.testing.assert_allclose(noise_of(thick), noise_of(FINE) / np.sqrt(thickness_mm), rtol=1e-4, atol=1e-4)

    def test_averages_away_as_in_a_thick_scan(self) -> None:
        """Without correlation between slices, the mean of four is a slice of four mm."""
        thin = noise_of(replace(FINE, shape=(96, 64, 64)), slice_correlation=0.0)
        assert average_slabs(thin, 4).std() == pytest.approx(4, rel=0.03)

    def test_of_coarse_pixels_lacks_the_high_frequencies(self) -> None:
        """The share of the power up to a pixel's Nyquist frequency: of a square, integrated here by hand."""
        for mm in (1.0, 1.5, 2.4):
            voxels = Voxels((60, 64, 64), (1.0, mm, mm), (1, 1, 1))
            edge = np.linspace(-0.5 / mm, 0.5 / mm, 801)
            middle = (edge[1:] + edge[:-1]) / 2
            f = np.hypot(*np.meshgrid(middle, middle))
            p = SCANNER.noise_peak_per_mm
            share = (f * np.exp(-0.5 * (f / p) ** 2)).sum() * (edge[1] - edge[0]) ** 2 / (p**3 * np.sqrt(2 * np.pi**3))
            assert noise_of(voxels).std() == pytest.approx(8 * np.sqrt(share), rel=0.03)
        assert share < 0.5

    @pytest.mark.parametrize("peak", [0.2, 0.3])
    def test_is_strongest_at_its_peak_frequency(self, peak: float) -> None:
        voxels = replace(FINE, shape=(120, 96, 96))
        noise = noise_of(voxels, noise_peak_per_mm=peak, slice_correlation=0.0)
        power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
        along = np.fft.fftfreq(96, 0.5)
        f = np.hypot(along[:, None], along)
        edges = np.arange(0.0, 0.9, 0.04)
        radial = np.array([power[(f >= a) & (f < b)].mean() for a, b in pairwise(edges)])
        strongest = edges[radial.argmax()] + 0.02
        assert strongest == pytest.approx(peak, abs=0.06)
        assert power[0, 0] < 1e-3 * radial.max()
        assert radial[0] < 0.35 * radial.max()
        expected = (edges[:-1] + 0.02) * np.exp(-0.5 * ((edges[:-1] + 0.02) / peak) ** 2)
        np.testing.assert_allclose(radial[1:] / radial.sum(), expected[1:] / expected.sum(), rtol=0.15, atol=2e-3)

    @pytest.mark.parametrize("correlation", [0.0, 0.1, 0.3])
    def test_of_neighbouring_slices_is_correlated_as_drawn(self, correlation: float) -> None:
        noise = noise_of(replace(FINE, shape=(60, 64, 64)), slice_correlation=correlation)

        def of_slices(apart: int) -> float:
            return float(np.corrcoef(noise[apart:].ravel(), noise[:-apart].ravel())[0, 1])

        assert of_slices(1) == pytest.approx(correlation, abs=0.015)
        assert of_slices(2) == pytest.approx(0, abs=0.015)
        assert noise[0].std() == pytest.approx(8, rel=0.1)
        assert noise[1:].std() == pytest.approx(8, rel=0.02)

    def test_runs_along_the_strong_rays(self) -> None:
        """Frequencies along x, of which the projections at angle 0 tell, are all that is left."""
        by_angle = np.zeros(ANGLES)
        by_angle[0] = ANGLES
        noise = make_noise(FINE, SCANNER, np.random.default_rng(0), power_by_angle=by_angle)
        assert noise.std(axis=2).mean() > 3 * noise.std(axis=1).mean()
        by_angle = np.ones(ANGLES)
        np.testing.assert_array_equal(
            make_noise(FINE, SCANNER, np.random.default_rng(0), power_by_angle=by_angle), noise_of(FINE)
        )

    def test_is_the_same_for_the_same_seed_only(self) -> None:
        np.testing.assert_array_equal(noise_of(FINE), noise_of(FINE))
        assert abs(np.corrcoef(noise_of(FINE).ravel(), noise_of(FINE, seed=1).ravel())[0, 1]) < 0.05

    def test_of_a_volume_with_odd_numbers_and_one_slice(self) -> None:
        assert noise_of(Voxels((1, 33, 35), (1.0, 0.5, 0.5), (1, 1, 1))).std() == pytest.approx(8, rel=0.2)


class TestBlur:
    @settings(max_examples=15)
    @given(
        st.integers(0, 9), st.integers(1, 4), st.floats(0.3, 1.2), st.tuples(*[st.floats(0.4, 2.0)] * 2)
    )  # fmt: skip
    def test_commutes_with_averaging_slices(
        self, seed: int, factor: int, blur_mm: float, pixel_mm: tuple[float, float]
    ) -> None:
        image = np.random.default_rng(seed).normal(0, 100, (2 * factor, 16, 18)).astype(np.float32)
        thin = Voxels((2 * factor, 16, 18), (1.0, *pixel_mm), (1, 1, 1))
        thick = Voxels((2, 16, 18), (float(factor), *pixel_mm), (1, 1, 1))
        np.testing.assert_allclose(
            average_slabs(blur(image, thin, blur_mm), factor),
            blur(average_slabs(image, factor), thick, blur_mm),
            atol=1e-3,
        )

    def test_spreads_a_point_in_its_slice_by_mm(self) -> None:
        image = np.zeros((3, 31, 41), np.float32)
        image[1, 15, 20] = 100
        blurred = blur(image, Voxels((3, 31, 41), (1.0, 0.5, 0.25), (1, 1, 1)), 0.8)
        assert not blurred[[0, 2]].any()
        assert blurred.sum() == pytest.approx(100, rel=1e-4)  # keeps the mean
        y, x = (np.arange(31) - 15) * 0.5, (np.arange(41) - 20) * 0.25
        # A kernel cut off at three deviations is a little narrower.
        assert np.sqrt((blurred[1].sum(axis=1) * y**2).sum() / 100) == pytest.approx(0.8, rel=0.03)
        assert np.sqrt((blurred[1].sum(axis=0) * x**2).sum() / 100) == pytest.approx(0.8, rel=0.03)


class TestArtefacts:
    def test_hardening_grows_with_the_setting(self, scene: Scene, artefacts: Artefacts) -> None:
        twice = find_artefacts(scene, replace(SCANNER, hardening=4e-5))
        np.testing.assert_allclose(twice.hardening_hu, 2 * artefacts.hardening_hu, rtol=1e-4, atol=1e-3)
        none = find_artefacts(scene, replace(SCANNER, hardening=0.0))
        assert not none.hardening_hu.any()

    def test_hardening_is_zero_without_bone(self, artefacts: Artefacts) -> None:
        z = artefacts.voxels.centres_mm(0)
        assert np.abs(artefacts.hardening_hu[z > -15]).max() < 1e-3
        assert np.abs(artefacts.hardening_hu[(z < -30) & (z > -100)]).max() > 3

    def test_hardening_darkens_between_the_bones_that_many_rays_share(self, artefacts: Artefacts) -> None:
        """The wall of an ellipse: rays along it hold most bone, and lose most."""
        y, x = artefacts.voxels.centres_mm(1), artefacts.voxels.centres_mm(2)
        bony = artefacts.hardening_hu[np.abs(artefacts.voxels.centres_mm(0) + 60) < 30].mean(axis=0)
        rim = np.hypot(y[:, None] / 75, x / 60)
        assert bony[(rim > 0.9) & (rim < 1)].mean() < 0
        assert bony[(rim > 0.9) & (rim < 1)].mean() < bony[rim < 0.5].mean()

    def test_noise_is_relative_to_the_middle_of_the_head(self, artefacts: Artefacts) -> None:
        bony = np.abs(artefacts.voxels.centres_mm(0) + 60) < 30
        middle = artefacts.noise[bony][:, 34:38, 34:38]
        assert np.median(middle) == pytest.approx(1, abs=0.05)
        assert artefacts.noise[bony][:, 0, 0].mean() < 0.8  # less outside
        water_only = artefacts.voxels.centres_mm(0) > 0
        assert artefacts.noise[water_only][:, 34:38, 34:38].mean() < 0.9  # less without bone

    def test_noise_is_stronger_in_the_direction_of_weak_rays(self, artefacts: Artefacts) -> None:
        """The head is longer along y: rays along y, those of angle 0, are weaker, and tell of frequencies along x."""
        power = artefacts.power_by_angle
        assert power.shape == (ANGLES,)
        assert power.mean() == pytest.approx(1, abs=1e-6)
        assert power[0] > 1.1 > 0.9 > power[ANGLES // 2]
        turned = find_artefacts(make_scene((60.0, 75.0)), SCANNER).power_by_angle
        assert turned[0] < 0.9 < 1.1 < turned[ANGLES // 2]

    @settings(max_examples=15)
    @given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.floats(0.7, 9))
    def test_on_thick_voxels_are_the_mean_of_thin_ones(
        self, factor: int, samples: int, slabs: int, spacing: float
    ) -> None:
        coarse = Voxels((6, 5, 7), (4.0, 3.5, 3.5), (1, 1, 1))
        field = np.random.default_rng(slabs).normal(0, 10, coarse.shape).astype(np.float32)
        found = Artefacts(coarse, field, field, np.ones(ANGLES))
        thin = Voxels((slabs * factor, 6, 5), (spacing, 3.0, 2.0), (samples, 2, 2))
        thick = Voxels((slabs, 6, 5), (spacing * factor, 3.0, 2.0), (samples * factor, 2, 2))
        np.testing.assert_allclose(average_slabs(found.at(thin, field), factor), found.at(thick, field), atol=1e-3)

    def test_at_interpolates_linearly_and_keeps_the_ends(self) -> None:
        coarse = Voxels((4, 3, 3), (4.0, 4.0, 4.0), (1, 1, 1))
        z, y, x = np.meshgrid(*(coarse.centres_mm(axis) for axis in range(3)), indexing="ij")
        field = (z + 10 * y - 3 * x).astype(np.float32)
        found = Artefacts(coarse, field, field, np.ones(ANGLES))
        voxels = Voxels((5, 3, 3), (2.5, 1.0, 1.0), (1, 1, 1))
        z, y, x = np.meshgrid(*(voxels.centres_mm(axis) for axis in range(3)), indexing="ij")
        np.testing.assert_allclose(found.at(voxels, field), z + 10 * y - 3 * x, atol=1e-4)
        far = found.at(Voxels((2, 1, 1), (90.0, 1.0, 1.0), (1, 1, 1)), field)
        np.testing.assert_allclose(far.ravel(), [-6, 6], atol=1e-5)


class TestScan:
    voxels = Voxels((10, 40, 40), (4.0, 4.0, 4.0), (1, 1, 1))

    def scan(self, scene: Scene, seed: int = 0, **changes: float) -> np.ndarray:
        perfect = render(scene, self.voxels).hu
        return scan(scene, perfect, self.voxels, replace(SCANNER, **changes), np.random.default_rng(seed))

    def test_is_the_same_for_the_same_seed_only(self, scene: Scene) -> None:
        one = self.scan(scene)
        assert one.dtype == np.int16
        np.testing.assert_array_equal(one, self.scan(scene))
        assert (one != self.scan(scene, seed=1)).any()

    def test_without_flaws_is_the_perfect_image(self, scene: Scene) -> None:
        image = self.scan(scene, noise_hu=0.0, hardening=0.0, blur_mm=1e-3)
        np.testing.assert_array_equal(image, np.rint(render(scene, self.voxels).hu))

    def test_offset_shifts_tissue_and_not_air(self, scene: Scene) -> None:
        kept = {"noise_hu": 0.0, "hardening": 0.0, "blur_mm": 1e-3}
        difference = self.scan(scene, **kept, offset_hu=3.0) - self.scan(scene, **kept)
        perfect = render(scene, self.voxels).hu
        assert (difference[perfect == 0] == 3).all()
        assert (difference[perfect == -1000] == 0).all()
        assert (difference[perfect == 1200] == 3).all()

    def test_keeps_to_the_range_of_scanners(self, scene: Scene) -> None:
        image = self.scan(scene, noise_hu=199.0)
        assert image.min() == -1024
        assert image.max() <= 3071


class TestDraw:
    def test_keeps_to_its_ranges_and_takes_a_noise(self) -> None:
        drawn = [Scanner.draw(np.random.default_rng(seed)) for seed in range(200)]
        for name, low, high in (
            ("noise_hu", 6, 10),
            ("noise_peak_per_mm", 0.2, 0.3),
            ("blur_mm", 0.4, 0.55),
            ("hardening", 1.5e-5, 3e-5),
            ("slice_correlation", 0.1, 0.3),
            ("offset_hu", -4, 4),
        ):
            values = [getattr(scanner, name) for scanner in drawn]
            assert low <= min(values) < max(values) <= high
            assert np.ptp(values) > 0.8 * (high - low)

    def test_a_given_noise_changes_nothing_else(self) -> None:
        given_noise = Scanner.draw(np.random.default_rng(3), noise_hu=0.0)
        assert given_noise == replace(Scanner.draw(np.random.default_rng(3)), noise_hu=0.0)
