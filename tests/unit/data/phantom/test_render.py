"""From a scene to voxels: against a renderer that goes from sample to sample, and against volumes that are known."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg.data.phantom.geometry import Grid, Pose, Space, ellipsoid
from nnunetv2_cfseg.data.phantom.render import Rendered, Voxels, render
from nnunetv2_cfseg.data.phantom.scene import Material, Scene
from nnunetv2_cfseg.imaging.slabs import average_slabs

GRID = Grid((-12.3, -11.1, -10.7), (12, 13, 14), 1.9)


def make_space(grid: Grid) -> Space:
    z, y, x = np.meshgrid(*(grid.axis_mm(axis) for axis in "zyx"), indexing="ij")
    everything = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    return Space(grid, Pose((0, 0, 0), np.eye(3), (1, 1, 1)), x, y, z, everything, 0.0)


def make_scene(seed: int, *, grid: Grid = GRID, background: Material | None = None) -> Scene:
    """Three ellipsoids, two of them lesions, and a sheet, all with texture."""
    rng = np.random.default_rng(seed)
    fine, coarse = (rng.normal(size=grid.shape).astype(np.float32) for _ in range(2))
    scene = Scene(grid, fine, coarse, {"air": background or Material(-1000)})
    space = make_space(grid)
    scene.add("brain", Material(35, 2, 3))
    scene.add("blood", Material(70, 1, 0, label=4))
    scene.add("clot", Material(60, 0, 0, label=2))
    scene.add("dura", Material(50, 0, 0))
    scene.add("smear", Material(65, 0, 2, label=1))
    for name, radii in (("brain", (10, 9, 8)), ("blood", (6, 5, 4)), ("clot", (4, 4, 5))):
        centre = rng.uniform(-3, 3, 3)
        scene.paint(name, space, ellipsoid(space, tuple(centre), radii))
    tilted = space.x + 0.3 * space.y - 0.2 * space.z + rng.uniform(-1, 1)
    scene.paint("dura", space, np.minimum(ellipsoid(space, (0, 0, 0), (9, 8, 8)), 0.6), sheet=tilted)
    near = space.around((4, -3, 2), radius_mm=5)
    scene.paint("smear", near, np.minimum(ellipsoid(near, (4, -3, 2), (5, 5, 4)), 0.9), sheet=near.z - 2)
    # Positive up to the edge of its part: it ends there.
    edge = space.around((-6, 5, -4), radius_mm=2.5)
    scene.paint("clot", edge, np.full(edge.x.shape, 1.0))
    return scene


def look_up(field: np.ndarray, position: list[float], starts: list[int]) -> float | None:
    """Linear interpolation at a position in points of the grid; None outside the field, which starts at ``starts``."""
    low = [int(np.floor(p)) for p in position]
    if any(not 0 <= first - s < n - 1 for first, s, n in zip(low, starts, field.shape, strict=True)):
        return None
    value = 0.0
    for corner in np.ndindex(2, 2, 2):
        weight = 1.0
        for p, first, c in zip(position, low, corner, strict=True):
            weight *= (p - first) if c else 1 - (p - first)
        value += weight * float(field[tuple(first - s + c for first, s, c in zip(low, starts, corner, strict=True))])
    return value


def render_slowly(scene: Scene, voxels: Voxels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, shares of labels 0 to 5, and the share on which nothing was painted; one sample after the other."""
    materials = list(scene.materials.values())
    hu, share, empty = np.zeros(voxels.shape), np.zeros((6, *voxels.shape)), np.zeros(voxels.shape)
    for voxel in np.ndindex(*voxels.shape):
        for sample in np.ndindex(*voxels.samples):
            position = []
            for axis in range(3):
                centre = (voxel[axis] - (voxels.shape[axis] - 1) / 2) * voxels.spacing_mm[axis]
                part = (sample[axis] + 0.5) / voxels.samples[axis] - 0.5
                mm = centre + part * voxels.spacing_mm[axis]
                position.append((mm - scene.grid.origin_mm[2 - axis]) / scene.grid.step_mm)
            number = 0
            for layer in scene.layers:
                starts = [p.start for p in layer.part]
                depth = look_up(layer.depth, position, starts)
                if depth is None:
                    continue
                if layer.sheet is not None:
                    sheet = look_up(layer.sheet, position, starts)
                    assert sheet is not None
                    depth -= abs(sheet)
                if depth > 0:
                    number = layer.material
            material = materials[number]
            value = material.hu
            for weight, texture in ((material.fine_hu, scene.fine), (material.coarse_hu, scene.coarse)):
                if weight:
                    value += weight * (look_up(texture, position, [0, 0, 0]) or 0.0)
            hu[voxel] += value
            share[(material.label, *voxel)] += 1
            empty[voxel] += number == 0
    count = np.prod(voxels.samples)
    return hu / count, share / count, empty / count


class TestSlowRenderer:
    @pytest.mark.parametrize(
        "voxels",
        [
            Voxels((7, 8, 9), (2.0, 2.3, 2.1), (1, 1, 1)),
            Voxels((5, 6, 4), (3.1, 2.9, 4.3), (2, 3, 2)),
            Voxels((4, 9, 9), (7.0, 3.7, 3.5), (3, 1, 2)),  # beyond the grid on all sides
        ],
    )
    @pytest.mark.parametrize("seed", [0, 1])
    def test_sees_the_same(self, voxels: Voxels, seed: int) -> None:
        scene = make_scene(seed)
        hu, share, empty = render_slowly(scene, voxels)
        rendered = render(scene, voxels)
        assert {label for label in range(1, 6) if share[label].any()} == set(rendered.share) == {1, 2, 4}
        np.testing.assert_allclose(rendered.hu, hu, atol=2e-3)
        assert rendered.hu.dtype == np.float32
        np.testing.assert_allclose(rendered.empty, empty, atol=1e-6)
        for label, volume in rendered.share.items():
            np.testing.assert_allclose(volume, share[label], atol=1e-6)

    def test_sees_the_same_on_another_background(self) -> None:
        """As with a real scan: what is not painted counts 0 HU."""
        scene, voxels = make_scene(2, background=Material(0)), Voxels((6, 6, 6), (3.0, 3.0, 3.0), (2, 2, 2))
        hu, _, empty = render_slowly(scene, voxels)
        rendered = render(scene, voxels)
        np.testing.assert_allclose(rendered.hu, hu, atol=2e-3)
        np.testing.assert_allclose(rendered.empty, empty, atol=1e-6)


class TestLabels:
    @pytest.mark.parametrize(
        ("shares", "label"),
        [
            ({}, 0),
            ({3: 0.49}, 0),
            ({3: 0.5}, 3),  # half is enough
            ({1: 0.25, 5: 0.25}, 1),  # lesion to a half together
            ({1: 0.25, 5: 0.5}, 5),
            ({2: 0.375, 4: 0.125}, 2),
            ({2: 0.25, 4: 0.125}, 0),
        ],
    )
    def test_by_hand(self, shares: dict[int, float], label: int) -> None:
        volumes = {name: np.full((1, 1, 1), share, np.float32) for name, share in shares.items()}
        nothing = np.zeros((1, 1, 1), np.float32)
        labels = Rendered(nothing, volumes, nothing).labels
        assert labels.dtype == np.uint8
        assert labels.item() == label

    @pytest.mark.parametrize("samples", [(2, 2, 2), (6, 6, 6), (10, 10, 10), (6, 1, 1), (14, 3, 1)])
    def test_half_a_voxel_is_half_whatever_the_samples(self, samples: tuple[int, int, int]) -> None:
        empty = np.zeros(GRID.shape, np.float32)
        scene = Scene(GRID, empty, empty)
        scene.add("blood", Material(70, label=3))
        space = make_space(GRID)
        scene.paint("blood", space, space.z)  # the upper half
        rendered = render(scene, Voxels((3, 3, 3), (3.0, 3.0, 3.0), samples))
        assert rendered.labels[:, 1, 1].tolist() == [0, 3, 3]


class TestThickSlices:
    @settings(max_examples=12)
    @given(
        st.integers(2, 4), st.integers(1, 2), st.integers(1, 3), st.tuples(*[st.floats(1.5, 3)] * 3), st.integers(0, 9)
    )
    def test_are_the_mean_of_thin_ones(
        self, factor: int, samples: int, slabs: int, spacing: tuple[float, float, float], seed: int
    ) -> None:
        scene = make_scene(seed)
        thin = render(scene, Voxels((factor * slabs, 7, 6), spacing, (samples, 2, 2)))
        thick_voxels = Voxels((slabs, 7, 6), (factor * spacing[0], *spacing[1:]), (factor * samples, 2, 2))
        thick = render(scene, thick_voxels)
        np.testing.assert_allclose(average_slabs(thin.hu, factor), thick.hu, atol=2e-3)
        assert set(thin.share) == set(thick.share)
        for label, share in thick.share.items():
            np.testing.assert_allclose(average_slabs(thin.share[label], factor), share, atol=1e-5)
        np.testing.assert_allclose(average_slabs(thin.empty, factor), thick.empty, atol=1e-5)


def paint_ellipsoid(radii: tuple[float, float, float]) -> Scene:
    """Alone on a grid as fine as the phantom's."""
    grid = Grid((-29.3, -25.1, -27.7), (28, 26, 30), 2.0)
    empty = np.zeros(grid.shape, np.float32)
    scene = Scene(grid, empty, empty)
    scene.add("blood", Material(60, label=2))
    space = make_space(grid)
    scene.paint("blood", space, ellipsoid(space, (1.3, -0.4, 0.7), radii))
    return scene


class TestPartialVolume:
    radii = (15.0, 11.0, 18.0)
    volume = 4 / 3 * pi * np.prod(radii)

    @pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (5.0, 1.7, 1.7), (6.3, 4.1, 3.3)])
    def test_keeps_the_volume_whatever_the_voxels(self, spacing: tuple[float, float, float]) -> None:
        shape = tuple(ceil(56 / mm) for mm in spacing)
        samples = tuple(ceil(mm / 0.8) for mm in spacing)
        rendered = render(paint_ellipsoid(self.radii), Voxels(shape, spacing, samples))  # type: ignore[arg-type]
        measured = rendered.share[2].sum() * np.prod(spacing)
        assert measured == pytest.approx(self.volume, rel=0.015)
        # HU follow the shares, exactly.
        np.testing.assert_allclose(rendered.hu, -1000 + 1060 * rendered.share[2], atol=2e-3)

    def test_more_samples_come_closer(self) -> None:
        scene = paint_ellipsoid(self.radii)

        def share(samples: int) -> np.ndarray:
            return render(scene, Voxels((9, 9, 10), (6.0, 6.0, 5.0), (samples,) * 3)).share[2]

        truth = share(16)
        errors = [float(np.abs(share(samples) - truth).mean()) for samples in (1, 2, 4, 8)]
        assert all(better < 0.75 * worse for worse, better in pairwise(errors))


class TestOutside:
    def test_is_air(self) -> None:
        scene = make_scene(0)
        space = make_space(GRID)
        scene.paint("brain", space, np.ones(GRID.shape))  # up to the grid's edge
        voxels = Voxels((20, 22, 24), (2.0, 2.0, 2.0), (2, 2, 2))
        rendered = render(scene, voxels)
        inside = np.ones(voxels.shape, bool)
        outside = np.zeros(voxels.shape, bool)
        for axis in range(3):
            low = GRID.origin_mm[2 - axis]
            high = low + GRID.step_mm * (GRID.shape[axis] - 1)
            centres = voxels.centres_mm(axis).reshape([-1 if a == axis else 1 for a in range(3)])
            inside &= (centres - 1 > low) & (centres + 1 < high)
            outside |= (centres + 1 < low) | (centres - 1 > high)
        assert inside.any()
        assert outside.any()
        np.testing.assert_array_equal(rendered.hu[outside], -1000)
        np.testing.assert_array_equal(rendered.empty[outside], 1)
        np.testing.assert_allclose(rendered.empty[inside], 0, atol=1e-6)
        assert (rendered.hu[inside] > 0).all()

    def test_of_everything_is_air_too(self) -> None:
        rendered = render(make_scene(0), Voxels((2, 2, 2), (900.0, 900.0, 900.0), (1, 1, 1)))
        assert (rendered.hu == -1000).all()
        assert rendered.share == {}
        assert not rendered.labels.any()


def test_voxels_are_centred_and_samples_lie_evenly() -> None:
    voxels = Voxels((2, 3, 4), (5.0, 2.0, 1.0), (2, 1, 4))
    np.testing.assert_allclose(voxels.centres_mm(0), [-2.5, 2.5])
    np.testing.assert_allclose(voxels.centres_mm(1), [-2, 0, 2])
    np.testing.assert_allclose(voxels.samples_mm(0), [-3.75, -1.25, 1.25, 3.75])
    np.testing.assert_allclose(voxels.samples_mm(1), [-2, 0, 2])
    np.testing.assert_allclose(np.diff(voxels.samples_mm(2)), 0.25)
