"""Where blood lies, how much of it there is, how dense it is, and that classes leave each other alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nnunetv2_cfseg.data.phantom import blood, extra_axial, intra_axial
from nnunetv2_cfseg.data.phantom.brain import BrainShape, build_brain
from nnunetv2_cfseg.data.phantom.haemorrhages import CLEFT_WIDENED_MM, Haemorrhages
from nnunetv2_cfseg.data.phantom.head import GRID, build_head, place_head
from nnunetv2_cfseg.data.phantom.settings import CLASSES
from nnunetv2_cfseg.data.phantom.skull import Skull, build_skull

pytestmark = pytest.mark.slow

ML = GRID.step_mm**3 / 1000
#: A voxel that is half lesion has its centre within half a voxel of it.
VOXEL_MM = 1.5
#: All classes: parafalcine subdural blood; subdural blood on both sides and a cisternal pattern; a bleed in the
#: cerebellum and a clot in the ventricles.
SEEDS = (1, 6, 9)


@pytest.fixture(scope="module", params=SEEDS)
def bleeding(request: pytest.FixtureRequest, make_sample: Callable[..., Any]) -> Any:
    return make_sample(request.param, *CLASSES)


@pytest.fixture(scope="module")
def skull() -> Skull:
    return build_skull(place_head(np.random.default_rng(0))[0])


def found(sample: Any, name: str) -> np.ndarray:
    """Where a class is marked."""
    return sample.labels == CLASSES[name]


class TestPlace:
    def test_all_of_it_is_in_the_cavity(self, bleeding: Any) -> None:
        cavity = bleeding.at(bleeding.head.skull.cavity)
        for name in ("EDH", "SDH", "IVH", "SAH"):
            assert cavity[found(bleeding, name)].min() > -VOXEL_MM
        assert cavity[found(bleeding, "ICH")].min() > 0

    def test_none_of_it_is_in_bone(self, bleeding: Any) -> None:
        for name in CLASSES:
            lesion = bleeding.lesions(name)
            hu = bleeding.rendered.hu[found(bleeding, name)]
            densest = max(blood["hu"] for blood in lesion)
            # Its edge may hold bone up to a half.
            assert np.percentile(hu, 90) < densest + (600 if name in ("EDH", "SDH", "SAH") else 25)
            assert np.median(hu) < densest + 12

    def test_epidural_blood_lies_under_the_skull(self, bleeding: Any) -> None:
        (lesion,) = bleeding.lesions("EDH")
        where = found(bleeding, "EDH")
        cavity = bleeding.at(bleeding.head.skull.cavity)[where]
        assert cavity.max() < lesion["thickness_mm"] + VOXEL_MM
        assert cavity.max() > 0.4 * lesion["thickness_mm"]
        assert (cavity < 3).mean() > 0.15  # all of it touches the table
        assert (bleeding.at(bleeding.head.skull.space.x)[where] * lesion["side"] > 0).all()

    def test_subdural_blood_lies_on_its_side(self, bleeding: Any) -> None:
        lesions = bleeding.lesions("SDH")
        where = found(bleeding, "SDH")
        x = bleeding.at(bleeding.head.skull.space.x)[where]
        cavity = bleeding.at(bleeding.head.skull.cavity)[where]
        if len(lesions) == 1:
            assert (x * lesions[0]["side"]).min() > -VOXEL_MM
        else:
            assert [lesions[0]["side"]] == [-lesions[1]["side"]]
            assert min((x > 0).sum(), (x < 0).sum()) > 100
        if lesions[0]["site"] == "parafalcine":
            assert np.abs(x).max() < lesions[0]["thickness_mm"] + VOXEL_MM
            assert np.abs(x).mean() < 0.8 * lesions[0]["thickness_mm"]
            assert cavity.max() > 10
        else:
            assert cavity.max() < 1.8 * max(lesion["thickness_mm"] for lesion in lesions) + VOXEL_MM

    def test_blood_in_the_ventricles_is_in_them(self, bleeding: Any) -> None:
        where, ventricles = found(bleeding, "IVH"), bleeding.at(bleeding.head.brain.ventricles)
        assert ventricles[where].min() > -VOXEL_MM
        assert np.mean(ventricles[where] > 0) > 0.85

    def test_settled_blood_has_a_level(self, make_sample: Callable[..., Any]) -> None:
        sample = make_sample(1, *CLASSES)
        assert sample.lesions("IVH")[0]["settled"]
        where = found(sample, "IVH")
        deep = sample.at(sample.head.brain.ventricles) > 1.5
        y = np.broadcast_to(sample.voxels.centres_mm(1)[None, :, None], where.shape)
        level = y[where].min()
        assert where[deep & (y > level + 2.4)].mean() > 0.85  # the plexus may be calcified
        assert not where[deep & (y < level)].any()

    def test_intracerebral_blood_is_in_brain_tissue(self, bleeding: Any) -> None:
        where, brain = found(bleeding, "ICH"), bleeding.head.brain
        assert bleeding.at(brain.ventricles)[where].max() < VOXEL_MM
        rooms = {"cerebellum": brain.cerebellum, "pons": brain.brainstem}
        allowed = [rooms.get(lesion["site"], brain.cerebrum) for lesion in bleeding.lesions("ICH")]
        room = bleeding.at(np.maximum.reduce(allowed))[where]
        assert np.percentile(room, 1) > 0
        assert room.min() > -VOXEL_MM

    def test_intracerebral_blood_is_where_it_was_drawn(self, bleeding: Any) -> None:
        space = bleeding.head.skull.space
        x, y, z = (bleeding.at(axis)[found(bleeding, "ICH")] for axis in (space.x, space.y, space.z))
        ratios = []
        for lesion in bleeding.lesions("ICH"):
            centre, radii = lesion["centre_mm"], lesion["radii_mm"]
            offsets = [(axis - c) / r for axis, c, r in zip((x, y, z), centre, radii, strict=True)]
            ratios.append(np.sqrt(sum(offset**2 for offset in offsets)))
            assert (ratios[-1] < 0.8).any()
        assert np.min(ratios, axis=0).max() < 1.75  # roughness is 0.13 radii

    def test_subarachnoid_blood_is_between_the_brain_and_its_skin(self, bleeding: Any) -> None:
        where, brain = found(bleeding, "SAH"), bleeding.head.brain
        widened = bleeding.lesions("SAH")[0]["widened_mm"]
        assert CLEFT_WIDENED_MM[0] <= widened <= CLEFT_WIDENED_MM[1]
        pia = bleeding.at(brain.pia)[where]
        assert np.percentile(pia, 98) < widened + VOXEL_MM
        assert pia.max() < widened + 2 * VOXEL_MM
        for field in (brain.cerebellum, brain.brainstem, brain.ventricles):
            assert bleeding.at(field)[where].max() < VOXEL_MM

    def test_subarachnoid_blood_is_in_its_region(self, bleeding: Any) -> None:
        where, space = found(bleeding, "SAH"), bleeding.head.brain.space
        points = np.stack([bleeding.at(axis)[where] for axis in (space.x, space.y, space.z)])
        balls = np.array(bleeding.lesions("SAH")[0]["balls_mm"])
        distance = np.linalg.norm(points[:, None] - balls[:, :3].T[..., None], axis=0) - balls[:, 3:]
        assert distance.min(axis=0).max() < 0.6 * balls[:, 3].mean() + VOXEL_MM

    def test_classes_share_no_voxel(self, bleeding: Any) -> None:
        total = sum(bleeding.rendered.share.values())
        assert total.max() < 1 + 1e-5
        assert set(np.unique(bleeding.labels)) == {0, *CLASSES.values()}


class TestSutures:
    @pytest.mark.parametrize("seed", range(12))
    def test_epidural_blood_crosses_none_but_at_it(
        self, skull: Skull, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        points = []
        point_on_table = extra_axial.point_on_table

        def spy(*args: Any) -> Any:
            points.append(point_on_table(*args))
            return points[-1]

        monkeypatch.setattr(extra_axial, "point_on_table", spy)
        (bleed,) = extra_axial.draw_epidural(skull, np.random.default_rng(seed))
        ((centre, _),) = points
        space = skull.space
        nearest = np.argmin((space.x - centre[0]) ** 2 + (space.y - centre[1]) ** 2 + (space.z - centre[2]) ** 2)
        assert abs(skull.cavity.flat[nearest]) < 3
        inside = bleed.depth > 0
        assert inside.any()
        crossed = 0
        for distance in skull.sutures.values():
            side = distance.flat[nearest]
            signed = np.sign(side) * distance[bleed.space.part][inside]
            if abs(side) > 6:  # within 4 mm, and 2 of the grid, it is at the suture
                assert signed.min() > 0
            crossed += signed.min() < 0
        assert crossed <= 2

    def test_subdural_blood_crosses_them(self, skull: Skull) -> None:
        crossed = 0
        for seed in range(6):
            for bleed in extra_axial.draw_subdurals(skull, np.random.default_rng(seed)):
                coronal = skull.sutures["coronal"][bleed.space.part][bleed.depth > 0]
                crossed += coronal.min() < -10 and coronal.max() > 10
        assert crossed >= 4


class TestVolumes:
    def test_of_epidural_blood_is_about_what_was_planned(self, skull: Skull) -> None:
        painted, planned = [], []
        for seed in range(60):
            (bleed,) = extra_axial.draw_epidural(skull, np.random.default_rng(seed))
            painted.append((bleed.depth > 0).sum() * ML)
            planned.append(bleed.drawn["planned_volume_ml"])
        assert 2 <= min(planned) <= max(planned) <= 120
        assert 0.8 < np.median(np.array(painted) / planned) < 1.2
        assert min(painted) > 0.5
        assert np.mean(np.array(painted) <= 130) >= 0.95
        assert np.corrcoef(np.log(painted), np.log(planned))[0, 1] > 0.75

    def test_of_subdural_blood_fits_a_skull(self, skull: Skull) -> None:
        for seed in range(12):
            for bleed in extra_axial.draw_subdurals(skull, np.random.default_rng(seed)):
                assert 1.5 < (bleed.depth > 0).sum() * ML < 190

    def test_of_intracerebral_blood_is_its_ellipsoids(self, skull: Skull) -> None:
        ratios = []
        for seed in range(30):
            for bleed in intra_axial.draw_intracerebral(skull.space, np.random.default_rng(seed)):
                planned = 4 / 3 * np.pi * np.prod(bleed.radii) / 1000
                largest = intra_axial.INTRACEREBRAL_SITES[bleed.site][3]
                assert 0.499 <= planned <= largest + 1e-6
                assert bleed.radius == pytest.approx(np.cbrt(np.prod(bleed.radii)))
                if planned > 2:
                    ratios.append((bleed.depth > 0).sum() * ML / (planned * np.prod(skull.space.pose.size)))
        assert len(ratios) > 20
        # A rough surface of deviation s holds 3 s^2 more, here 0.05.
        assert np.mean(ratios) == pytest.approx(1.05, abs=0.07)
        assert 0.6 < min(ratios) <= max(ratios) < 1.5

    def test_that_were_planned_are_marked(self, make_sample: Callable[..., Any]) -> None:
        """Where there is room: in the basal ganglia, and in the ventricles."""
        ml = np.prod(make_sample(1, *CLASSES).voxels.spacing_mm) / 1000
        sample = make_sample(12, "ICH", "IVH")
        (lesion,) = sample.lesions("ICH")
        assert lesion["site"] == "basal ganglia"
        planned = 4 / 3 * np.pi * np.prod(lesion["radii_mm"]) / 1000 * np.prod(sample.head.skull.space.pose.size)
        assert found(sample, "ICH").sum() * ml == pytest.approx(planned, rel=0.3)
        for seed, classes in ((12, ("ICH", "IVH")), (1, tuple(CLASSES))):
            sample = make_sample(seed, *classes)
            room = (sample.head.brain.ventricles > 0).sum() * ML
            planned = min(sample.lesions("IVH")[0]["planned_volume_ml"], 0.9 * room)
            assert found(sample, "IVH").sum() * ml == pytest.approx(planned, rel=0.3)

    def test_of_blood_in_small_ventricles_is_bounded_by_them(self, skull: Skull) -> None:
        shape = BrainShape(gap_mm=1.0, sulcus_mm=0.5, ventricle=0.75)
        nothing = np.zeros(GRID.shape, np.float32)
        brain = build_brain(skull, skull.space, shape, extra_axial_mm=nothing, rng=np.random.default_rng(0))
        room = (brain.ventricles > 0).sum() * ML
        for seed in range(30):
            depth, drawn = intra_axial.draw_intraventricular(skull.space, brain, np.random.default_rng(seed))
            volume = (depth > 0).sum() * ML
            assert volume <= 0.9 * room + ML
            # Points at its level are not above it.
            assert volume == pytest.approx(min(drawn["planned_volume_ml"], 0.9 * room), rel=0.2)


class TestClasses:
    @pytest.mark.parametrize("name", CLASSES)
    def test_alone_is_alone(self, make_sample: Callable[..., Any], name: str) -> None:
        sample = make_sample(20, name)
        assert set(np.unique(sample.labels)) == {0, CLASSES[name]}
        assert {lesion["class"] for lesion in sample.head.drawn["lesions"]} == {name}

    def test_none_asked_for_is_none(self, make_sample: Callable[..., Any]) -> None:
        sample = make_sample(20)
        assert not sample.labels.any()
        assert sample.head.drawn["lesions"] == []

    def test_leave_each_other_alone(self, make_sample: Callable[..., Any]) -> None:
        """What was drawn for a class, and for the head, is the same with and without the others."""
        everything = make_sample(20, *CLASSES).head.drawn
        for name in CLASSES:
            drawn = make_sample(20, name).head.drawn
            assert drawn["lesions"] == [lesion for lesion in everything["lesions"] if lesion["class"] == name]
            assert {**drawn, "lesions": None} == {**everything, "lesions": None}

    def test_have_the_same_shape_with_and_without_others(self, skull: Skull) -> None:
        alone = Haemorrhages(skull, ["ICH", "SDH"], np.random.default_rng(5))
        together = Haemorrhages(skull, list(CLASSES), np.random.default_rng(5))
        assert [bleed.drawn for bleed in alone.haematomas] == [bleed.drawn for bleed in together.haematomas]
        np.testing.assert_array_equal(alone.haematomas[0].roughness, together.haematomas[0].roughness)
        np.testing.assert_array_equal(alone.subdurals[0].depth, together.subdurals[0].depth)
        assert alone.epidurals == []

    def test_order_does_not_matter(self) -> None:
        one, two = (build_head(classes, np.random.default_rng(3)) for classes in (["ICH", "SAH"], ["SAH", "ICH"]))
        assert one.drawn == two.drawn
        assert len(one.scene.layers) == len(two.scene.layers)
        for a, b in zip(one.scene.layers, two.scene.layers, strict=True):
            assert (a.material, a.part) == (b.material, b.part)
            np.testing.assert_array_equal(a.depth, b.depth)


class TestDisplacement:
    def test_none_without_a_mass(self, skull: Skull) -> None:
        bleeds = Haemorrhages(skull, ["SAH", "IVH"], np.random.default_rng(0))
        assert bleeds.displaced(skull.space) is skull.space
        assert not bleeds.thickness_mm().any()

    def test_pushes_the_midline_to_the_other_side(self, skull: Skull) -> None:
        """What lies at the midline now was on the haematoma's side before."""
        for seed in range(5):
            bleeds = Haemorrhages(skull, ["SDH"], np.random.default_rng(seed))
            if len(bleeds.subdurals) > 1 or bleeds.subdurals[0].push_direction == "side":
                continue
            side = bleeds.subdurals[0].side
            moved = bleeds.displaced(skull.space).x - skull.space.x
            beside = (np.abs(skull.space.x - side * 30) < 4) & (np.abs(skull.space.y) < 15) & (skull.space.z > 10)
            assert (moved[beside & (skull.cavity > 20)] * side).mean() > 0.3

    def test_moves_the_tissue_away_from_a_haematoma(self, skull: Skull) -> None:
        bleed = SimpleNamespace(centre=(25.0, 0.0, 10.0), radius=15.0)
        moved = intra_axial.displacement(skull, [bleed])  # type: ignore[list-item]
        offsets = [skull.space.x - 25, skull.space.y, skull.space.z - 10]
        outward = sum(m * o for m, o in zip(moved, offsets, strict=True))
        length = np.sqrt(sum(m**2 for m in moved))
        assert (outward >= -1e-4).all()
        assert length.max() < 0.5 * 15 + 1e-3
        distance = np.sqrt(sum(o**2 for o in offsets))
        deep = skull.cavity > 20
        inside = deep & (distance < 15)
        np.testing.assert_allclose(length[inside], 0.5 * distance[inside], atol=1e-2)
        assert length[deep & (distance > 40)].mean() < 0.8
        assert not length[skull.cavity < 0].any()

    def test_keeps_the_coordinates_within_the_margin(self, skull: Skull) -> None:
        bleeds = Haemorrhages(skull, list(CLASSES), np.random.default_rng(1))
        space = bleeds.displaced(skull.space)
        farthest = max(np.abs(getattr(space, a) - getattr(skull.space, a)).max() for a in "xyz")
        assert space.margin_mm >= skull.space.margin_mm + farthest - 1e-3


class TestSeverity:
    def test_of_any_kind_draws_all_sizes(self) -> None:
        rng = np.random.default_rng(0)
        sizes = np.log([blood.ANY.lognormal(rng, 20, 0.9) for _ in range(2000)])
        assert sizes.mean() == pytest.approx(np.log(20), abs=0.08)
        assert sizes.std() == pytest.approx(0.9, abs=0.06)
        even = [blood.ANY.uniform(rng, 4, 15) for _ in range(2000)]
        assert 4 <= min(even) < 4.1 < 14.9 < max(even) <= 15

    def test_draws_no_size_below_its_quantile(self) -> None:
        rng = np.random.default_rng(0)
        larger = blood.Severity(smallest=0.5)
        sizes = [larger.lognormal(rng, 20, 0.9) for _ in range(500)]
        assert 20 <= min(sizes) < 20.5
        assert np.median(sizes) == pytest.approx(20 * np.exp(0.9 * stats.norm.ppf(0.75)), rel=0.1)
        even = [blood.Severity(smallest=0.9).uniform(rng, 10, 20) for _ in range(100)]
        assert 19 <= min(even) < max(even) <= 20

    def test_of_fresh_blood_is_hyperdense(self) -> None:
        rng = np.random.default_rng(0)
        for draw in (blood.draw_acute, blood.draw_subdural):
            drawn = [draw(rng, blood.Severity(is_fresh=True)) for _ in range(200)]
            assert max(clot.days for clot in drawn) <= 1
            assert min(clot.hu for clot in drawn) > 56

    def test_holds_for_every_class(self, skull: Skull) -> None:
        severity = blood.Severity(smallest=0.6, is_fresh=True)
        lesions = build_head(list(CLASSES), np.random.default_rng(8), severity).drawn["lesions"]
        assert {lesion["class"] for lesion in lesions} == set(CLASSES)
        assert max(lesion["days"] for lesion in lesions) <= 1
        for seed in range(6):
            bleeds = Haemorrhages(skull, ["EDH", "ICH", "SDH"], np.random.default_rng(seed), severity)
            assert bleeds.epidurals[0].drawn["planned_volume_ml"] > 20
            for haematoma in bleeds.haematomas:
                largest = intra_axial.INTRACEREBRAL_SITES[haematoma.site][3]
                assert 4 / 3 * np.pi * haematoma.radius**3 / 1000 > min(15, 0.99 * largest)
            for subdural in bleeds.subdurals:
                least = 5.4 if subdural.drawn["site"] == "parafalcine" else 10.6
                assert subdural.drawn["thickness_mm"] >= least


class TestBlood:
    def test_fades_with_the_days(self) -> None:
        drawn = [blood.draw_acute(np.random.default_rng(seed)) for seed in range(400)]
        for clot in drawn:
            assert 0 <= clot.days <= 5
            assert 58 <= clot.hu + 1.4 * clot.days <= 80
        fit = stats.linregress([clot.days for clot in drawn], [clot.hu for clot in drawn])
        assert fit.slope == pytest.approx(-1.4, abs=4 * fit.stderr)
        assert fit.slope < -0.5
        assert np.mean([clot.days for clot in drawn]) == pytest.approx(1, abs=0.2)
        assert max(blood.draw_acute(np.random.default_rng(s), longest_days=0.5).days for s in range(50)) == 0.5

    def test_never_fades_away(self) -> None:
        assert blood._faded(60, 10) == pytest.approx(46)
        assert blood._faded(60, 100) == blood.LOWEST_HU

    def test_of_subdural_haematomas_is_acute_subacute_or_chronic(self) -> None:
        rng = np.random.default_rng(0)
        drawn = [blood.draw_subdural(rng) for _ in range(1000)]
        for low, high, hu, share in ((0, 7, (48, 80), 0.6), (8, 22, (30, 55), 0.2), (22, 90, (18, 38), 0.2)):
            kind = [clot for clot in drawn if low <= clot.days <= high]
            assert len(kind) == pytest.approx(1000 * share, abs=4 * np.sqrt(1000 * share * (1 - share)))
            assert hu[0] <= min(clot.hu for clot in kind) < max(clot.hu for clot in kind) <= hu[1]

    def test_is_a_material_of_its_class(self, bleeding: Any) -> None:
        clot = blood.BloodAge(2.0, 61.0)
        material = clot.material(3)
        assert (material.hu, material.label) == (61.0, 3)
        materials = bleeding.head.scene.materials
        for name, label in CLASSES.items():
            numbered = [key for key in materials if key.split()[0] == name]
            assert [materials[key].hu for key in numbered] == [lesion["hu"] for lesion in bleeding.lesions(name)]
            assert {materials[key].label for key in numbered} == {label}
        assert {material.label for key, material in materials.items() if key.split()[0] not in CLASSES} == {0}

    def test_shows_its_density(self, bleeding: Any) -> None:
        names, number, hu = bleeding.tissue()
        materials = bleeding.head.scene.materials
        for index, key in enumerate(names):
            if materials[key].label and (number == index).sum() > 200:
                assert hu[number == index].mean() == pytest.approx(materials[key].hu, abs=3)

    def test_oedema_falls_to_a_floor(self, skull: Skull) -> None:
        (bleed, *_) = intra_axial.draw_intracerebral(skull.space, np.random.default_rng(0))
        values = {}
        for days in (0.0, 4.0, 30.0):
            object.__setattr__(bleed, "blood", blood.BloodAge(days, 60))
            values[days] = bleed.oedema_hu
        assert values == {0.0: 30, 4.0: 26, 30.0: 20}
