"""A head without lesions: what lies where, how large it is and what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from nnunetv2_cfseg.data.phantom.brain import Brain, BrainShape, build_brain
from nnunetv2_cfseg.data.phantom.geometry import Pose, Space
from nnunetv2_cfseg.data.phantom.head import GRID, place_head
from nnunetv2_cfseg.data.phantom.scanner import Scanner, scan
from nnunetv2_cfseg.data.phantom.skull import Skull, build_skull
from nnunetv2_cfseg.data.phantom.tissues import TISSUES

pytestmark = pytest.mark.slow

SEEDS = (0, 1)
ML = GRID.step_mm**3 / 1000


@pytest.fixture(scope="module", params=SEEDS)
def healthy(request: pytest.FixtureRequest, make_sample: Callable[..., Any]) -> Any:
    return make_sample(request.param)


@pytest.fixture(scope="module")
def mean_skull() -> Skull:
    """Of the mean head, straight and in the middle of the scanner."""
    z, y, x = np.meshgrid(*(GRID.axis_mm(axis) for axis in "zyx"), indexing="ij")
    everything = (slice(0, GRID.shape[0]), slice(0, GRID.shape[1]), slice(0, GRID.shape[2]))
    pose = Pose((0.0, 0.0, 0.0), np.eye(3), (1.0, 1.0, 1.0))
    return build_skull(Space(GRID, pose, x, y, z, everything, 0.0))


def build(skull: Skull, *, thickness: np.ndarray | None = None, **changes: float) -> Brain:
    shape = replace(BrainShape(gap_mm=1.0, sulcus_mm=0.6, ventricle=1.0), **changes)
    nothing = np.zeros(GRID.shape, np.float32) if thickness is None else thickness
    return build_brain(skull, skull.space, shape, extra_axial_mm=nothing, rng=np.random.default_rng(0))


class TestTissues:
    def test_are_drawn_from_their_ranges(self, healthy: Any) -> None:
        drawn = healthy.head.drawn["tissues_hu"]
        assert set(drawn) == set(TISSUES)
        for name, (low, high, *_) in TISSUES.items():
            assert low <= drawn[name] <= high

    def test_show_what_was_drawn(self, healthy: Any) -> None:
        names, number, hu = healthy.tissue()
        seen = []
        for index, name in enumerate(names[1:], 1):
            values = hu[number == index]
            if len(values) < 500:
                continue
            seen.append(name)
            low, high, fine, coarse = TISSUES[name]
            # A region of a few cm is one draw of the variation over cm.
            tolerance = 0.5 + 0.1 * fine + 0.3 * coarse
            assert values.mean() == pytest.approx(healthy.head.drawn["tissues_hu"][name], abs=tolerance), name
            assert low - tolerance <= values.mean() <= high + tolerance
            assert values.std() == pytest.approx(np.hypot(fine, coarse), rel=0.35, abs=0.1), name
        assert {"white", "grey", "csf", "table", "diploe", "fat", "muscle", "brainstem", "cerebellum"} <= set(seen)
        np.testing.assert_array_equal(hu[number == 0], -1000)

    def test_show_it_through_a_scanner(self, healthy: Any) -> None:
        """In the middle of large regions; beam hardening is what is left, a few HU."""
        names, number, _ = healthy.tissue()
        scanner = Scanner.draw(np.random.default_rng(3))
        scanner = replace(scanner, offset_hu=3.5)
        image = scan(healthy.head.scene, healthy.rendered.hu, healthy.voxels, scanner, np.random.default_rng(4))
        for name in ("white", "vitreous"):
            deep = ndimage.binary_erosion(number == names.index(name), iterations=2)
            assert deep.sum() > 100
            drawn = healthy.head.drawn["tissues_hu"][name]
            assert image[deep].mean() == pytest.approx(drawn + scanner.offset_hu, abs=3), name
        deep = ndimage.binary_erosion(number == names.index("white"), iterations=2)
        # 2 mm slices of 2.4 mm pixels; and what hardening and the tissue vary.
        assert 0.1 * scanner.noise_hu < image[deep].std() < 0.6 * scanner.noise_hu


class TestSkull:
    def test_holds_a_brain(self, healthy: Any, mean_skull: Skull) -> None:
        assert 1000 < (healthy.head.skull.cavity > 0).sum() * ML < 1900
        assert 1300 < (mean_skull.cavity > 0).sum() * ML < 1700

    def test_is_closed_above_the_base(self, healthy: Any) -> None:
        """Bone on every ray that does not go down, and of the thickness of skulls."""
        names, number, _ = healthy.tissue()
        bone = np.isin(number, [names.index(name) for name in ("table", "diploe", "suture", "face bone")])
        pose = healthy.head.skull.space.pose
        rng = np.random.default_rng(0)
        steps = np.arange(40, 112, 0.5)
        thickness = []
        for _ in range(200):
            ray = rng.normal(size=3)
            ray[2] = abs(ray[2]) + 0.1
            ray /= np.linalg.norm(ray)
            mm = np.array([pose.scanner(tuple(ray * t)) for t in (0, 1)])
            where = mm[0][::-1, None] + (mm[1] - mm[0])[::-1, None] * steps
            voxel = where / np.reshape(healthy.voxels.spacing_mm, (3, 1))
            voxel = np.rint(voxel + (np.reshape(healthy.voxels.shape, (3, 1)) - 1) / 2).astype(int)
            inside = (voxel < np.reshape(healthy.voxels.shape, (3, 1))).all(axis=0) & (voxel >= 0).all(axis=0)
            thickness.append(bone[tuple(voxel[:, inside])].sum() * 0.5)
        assert min(thickness) > 2
        assert 5 < np.median(thickness) < 13

    def test_roof_is_the_vault(self, mean_skull: Skull) -> None:
        z = mean_skull.space.z
        at_table = np.abs(mean_skull.cavity) < 3
        assert (mean_skull.vault[at_table & (z > 20)] > 0.9).all()
        assert mean_skull.vault[at_table & (z < -60)].mean() < 0.5
        assert ((mean_skull.vault >= 0) & (mean_skull.vault <= 1)).all()

    def test_depth_is_in_mm(self, mean_skull: Skull) -> None:
        """Between the table and 20 mm below it, straight under the top and beside it."""
        x, y, z = (mean_skull.space.grid.axis_mm(axis) for axis in "xyz")
        cavity = mean_skull.cavity
        column = cavity[:, np.abs(y - 2).argmin(), np.abs(x).argmin()]
        for depth in (0, 10, 20):
            height = np.interp(-depth, -column[z > 40], z[z > 40])
            assert height == pytest.approx(77 - depth, abs=2.5)
        row = cavity[np.abs(z - 10).argmin(), np.abs(y - 5).argmin()]
        assert np.interp(0, -row[x > 40], x[x > 40]) == pytest.approx(67.5, abs=1)
        assert np.interp(-10, -row[x > 40], x[x > 40]) == pytest.approx(57.5, abs=1.5)

    def test_sutures_lie_where_they_do(self, mean_skull: Skull) -> None:
        x, y, z = mean_skull.space.x, mean_skull.space.y, mean_skull.space.z
        sutures = mean_skull.sutures
        assert (sutures["sagittal"] * np.sign(x) > 0)[np.abs(x) > 3].all()
        top = np.abs(z - 76) < 2
        assert (sutures["coronal"] < 0)[top & (y < -24)].all()
        assert (sutures["coronal"] > 0)[top & (y > -16)].all()
        back = (np.abs(x) < 2) & (np.abs(z - 30) < 2)
        assert (sutures["lambdoid"] < 0)[back & (y < 63)].all()
        assert (sutures["lambdoid"] > 0)[back & (y > 72)].all()

    def test_face_is_at_the_front_and_eyes_on_both_sides(self, healthy: Any) -> None:
        names, number, _ = healthy.tissue()
        space = healthy.head.skull.space
        x, y, z = (healthy.at(axis)[number == names.index("lens")] for axis in (space.x, space.y, space.z))
        assert (y < -80).all()
        assert ((x > 0).sum() > 3) & ((x < 0).sum() > 3)
        assert np.abs(z + 33).max() < 12
        nose = healthy.at(space.y)[number == names.index("skin")].min()
        assert nose < -100

    def test_is_of_bone_and_the_head_is_in_air(self, healthy: Any) -> None:
        names, number, _ = healthy.tissue()
        cavity = healthy.at(healthy.head.skull.cavity)
        roof = healthy.at(healthy.head.skull.vault) > 0.9
        wall = number[(cavity < -2.5) & (cavity > -3) & roof]
        bony = [names.index(name) for name in ("table", "diploe", "suture")]
        assert np.isin(wall, bony).mean() > 0.98
        far = number[(cavity < -35) & roof & (healthy.at(healthy.head.skull.space.z) > 0)]
        assert np.isin(far, [0, names.index("holder")]).all()


class TestBrain:
    def test_lies_in_the_cavity(self, healthy: Any) -> None:
        brain, cavity = healthy.head.brain, healthy.head.skull.cavity
        for field in (brain.cerebrum, brain.cerebellum, brain.ventricles):
            assert (cavity[field > 0] > 0).all()

    @pytest.mark.xfail(reason="the clivus lies 15 mm too far back: the pons reaches through it", strict=True)
    def test_stem_lies_in_the_cavity(self, healthy: Any) -> None:
        brain, skull = healthy.head.brain, healthy.head.skull
        above_foramen = brain.brainstem[skull.space.z > -60], skull.cavity[skull.space.z > -60]
        assert (above_foramen[1][above_foramen[0] > 0] > -1).all()

    def test_clefts_are_between_the_brain_and_its_skin(self, healthy: Any) -> None:
        brain, cavity = healthy.head.brain, healthy.head.skull.cavity
        for cleft in brain.clefts:
            part = cleft.space.part
            open_ = np.minimum(cleft.half_width, brain.cerebrum[part] + 3) > np.abs(cleft.distance)
            assert open_.sum() > 100
            assert cavity[part][open_].min() > 0
            assert brain.brainstem[part][open_].max() < 0
            assert brain.cerebellum[part][open_].max() < 2

    def test_parts_do_not_overlap(self, healthy: Any) -> None:
        brain = healthy.head.brain
        assert not ((brain.cerebrum > 0) & (brain.cerebellum > 0)).any()
        assert (brain.tentorium[brain.cerebellum > 0] < 0).all()

    def test_parts_have_their_sizes(self, healthy: Any) -> None:
        brain = healthy.head.brain
        for field, low, high in (
            (brain.cerebrum, 900, 1500),
            (brain.cerebellum, 90, 190),
            (brain.brainstem, 20, 50),
            (brain.ventricles, 8, 90),
        ):
            assert low < (field > 0).sum() * ML < high

    def test_ventricles_are_deep_inside_and_symmetric(self, mean_skull: Skull) -> None:
        brain = build(mean_skull)
        inside = brain.ventricles > 0
        x, y, z = (axis[inside] for axis in (mean_skull.space.x, mean_skull.space.y, mean_skull.space.z))
        assert np.abs(x).max() < 40
        assert -50 < y.min() < y.max() < 65
        assert (x > 0).sum() == (x < 0).sum()
        assert mean_skull.cavity[inside].min() > 2
        assert -55 < z.min() < z.max() < 30

    def test_a_septum_keeps_wide_ventricles_apart(self, mean_skull: Skull) -> None:
        x, z = mean_skull.space.x, mean_skull.space.z
        inside = build(mean_skull, ventricle=1.8).ventricles > 0
        assert inside[(np.abs(x) < 3) & (z > 14)].any()
        assert not inside[(x == 0) & (z > 14)].any()

    def test_cortex_is_a_rim_of_grey(self, healthy: Any) -> None:
        names, number, _ = healthy.tissue()
        pia = healthy.at(healthy.head.brain.pia)
        cerebrum = healthy.at(healthy.head.brain.cerebrum)
        rim = number[(pia > 0.7) & (pia < 2) & (cerebrum > 1)]
        core = number[(pia > 4) & (cerebrum > 1)]
        assert np.mean(rim == names.index("grey")) > 0.75
        assert np.mean(core == names.index("white")) > 0.7
        assert np.mean(core == names.index("grey")) < 0.02

    def test_makes_room_for_blood_and_closes_the_space_under_it(self, mean_skull: Skull) -> None:
        thickness = np.where(mean_skull.space.x > 0, 10.0, 0.0).astype(np.float32)
        free, pressed = build(mean_skull, gap_mm=2.0), build(mean_skull, gap_mm=2.0, thickness=thickness)
        roof = (mean_skull.vault > 0.95) & (mean_skull.cavity > 14) & (mean_skull.cavity < 20)
        roof &= mean_skull.space.z > 30
        left = roof & (mean_skull.space.x > 30)
        right = roof & (mean_skull.space.x < -30)
        np.testing.assert_allclose((mean_skull.cavity - pressed.cerebrum)[left], 10, atol=0.1)
        np.testing.assert_allclose((mean_skull.cavity - free.cerebrum)[left], 2, atol=0.1)
        np.testing.assert_array_equal(free.cerebrum[right], pressed.cerebrum[right])


class TestAge:
    def shapes(self, years: float) -> list[BrainShape]:
        return [BrainShape.at_age(years, np.random.default_rng(seed)) for seed in range(200)]

    def test_widens_everything(self) -> None:
        young, old = self.shapes(20), self.shapes(80)
        for name, ratio in (("ventricle", 1.42), ("gap_mm", 2 / 0.8), ("sulcus_mm", 1.2 / 0.45)):
            means = [np.mean([getattr(shape, name) for shape in shapes]) for shapes in (young, old)]
            assert means[1] / means[0] == pytest.approx(ratio, rel=0.06)
        assert 0.74 < min(shape.ventricle for shape in young) < max(shape.ventricle for shape in young) < 1.31

    def test_makes_the_ventricles_twice_as_large(self, mean_skull: Skull) -> None:
        """14 ml at 20 and 42 ml at 80 years are said of the lateral ones."""
        young, old = (float((build(mean_skull, ventricle=radius).ventricles > 0).sum() * ML) for radius in (1.0, 1.42))
        assert 14 < young < 30
        assert 1.6 < old / young < 2.6

    def test_opens_the_sulci(self, mean_skull: Skull) -> None:
        def cleft(sulcus_mm: float) -> float:
            sulci = build(mean_skull, sulcus_mm=sulcus_mm).clefts[0]
            return float((sulci.half_width > np.abs(sulci.distance)).sum() * ML)

        assert 1.5 < cleft(1.2) / cleft(0.5) < 4


class TestPlace:
    def test_is_within_reach(self) -> None:
        for seed in range(5):
            space, drawn = place_head(np.random.default_rng(seed))
            assert np.abs(drawn["rotation_degrees"]).max() <= 9
            assert 0.88 <= min(drawn["size"]) <= max(drawn["size"]) <= 1.07
            by_pose = np.linalg.norm(
                np.stack(space_of(space.pose)) - np.stack([space.x, space.y, space.z]), axis=0
            )  # fmt: skip
            assert by_pose.max() < space.margin_mm * 1.5
            assert 0.5 < by_pose.mean() < 3  # a warp

    def test_is_the_same_for_the_same_seed_only(self) -> None:
        one, two, other = (place_head(np.random.default_rng(seed))[0] for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.x, two.x)
        assert np.abs(one.x - other.x).max() > 1


def space_of(pose: Pose) -> list[np.ndarray]:
    z, y, x = np.meshgrid(*(GRID.axis_mm(axis).astype(float) for axis in "zyx"), indexing="ij")
    offsets = np.stack([x, y, z], axis=-1) - pose.centre_mm
    return list(np.moveaxis(offsets @ pose.to_head.T, -1, 0))
