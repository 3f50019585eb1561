"""Pairs from files: what is on the thin grid is what was in the patient, whatever way the files lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.data.pairing.pair import Pair, make_pair
from nnunetv2_cfseg.data.pairing.settings import PairSettings
from nnunetv2_cfseg.data.pairing.sources import Source
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.slabs import annotate_slabs, average_slabs

GridOf = Callable[..., VolumeGeometry]
SourceOf = Callable[..., Source]
SettingsOf = Callable[..., PairSettings]
TILTED = (-1.0, 0.0, 0.0, 0.0, -0.96, 0.28, 0.0, 0.28, 0.96)
#: Divides a thin slice for a check by brute force.
FINE = 12
axes = st.sets(st.sampled_from([0, 1, 2]))
seeds = st.integers(0, 1000)


def scan_of(grid: VolumeGeometry, seed: int = 0) -> np.ndarray:
    """HU that change along z over some slices, as anatomy does."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(0, 1, grid.shape), axis=0) + rng.normal(0, 2, (1, *grid.shape[1:]))
    hu = np.clip(40 + 60 * np.tanh(steps / 4) * 3, -1000, 1500).round().astype(np.int16)  # soft tissue, as HU must be
    hu[:, 0, 0] = -1000
    return hu


def labels_of(grid: VolumeGeometry, seed: int = 0) -> np.ndarray:
    """Blobs of three classes in half of the slices' voxels."""
    rng = np.random.default_rng(seed + 7)
    steps = np.cumsum(rng.normal(0, 1, grid.shape), axis=0)
    return np.digitize(steps, (0, 1, 2)).astype(np.uint8)


def assert_same_grid(one: VolumeGeometry, other: VolumeGeometry) -> None:
    assert one.shape == other.shape
    for name in ("spacing_mm", "origin_mm", "direction"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)


def assert_same_scene(one: Pair, other: Pair, flips: set[int]) -> None:
    """The second pair is the first one, stored the other way along some axes."""
    assert_same_grid(other.grid, one.grid.flipped(flips))
    for name in ("image", "annotation", "truth"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_array_equal(np.flip(first, tuple(flips)), second)


class TestThinLabels:
    def test_stay_on_their_grid(self, make_grid: GridOf, source: SourceOf, settings: SettingsOf) -> None:
        grid = make_grid((12, 5, 6), direction=TILTED)
        hu, labels = scan_of(grid), labels_of(grid)
        pair = make_pair(source((hu, grid), (labels, grid)), settings(4, threshold=0.6))
        assert_same_grid(pair.grid, grid)
        np.testing.assert_array_equal(pair.image, hu)
        np.testing.assert_array_equal(pair.truth, labels)
        np.testing.assert_array_equal(pair.annotation, annotate_slabs(labels, 4, threshold=0.6))
        assert (pair.image.dtype, pair.annotation.dtype) == (np.int16, np.uint8)
        assert pair.made == {
            "slabs": 3,
            "thin": {"slices": 12, "spacing_mm": pytest.approx([1, 0.7, 0.9])},
            "thick": {"slices": 3, "spacing_mm": pytest.approx([4, 0.7, 0.9]), "thickness_mm": pytest.approx(4)},
            "values": sorted(set(pair.annotation[pair.annotation > 0].tolist())),
            "flipped": [],
            "left_out": {
                "image_slices": [0, 0],
                "label_slices": [0, 0],
                "label_slices_between": 0,
                "annotated_voxels": 0,
            },
            "resampled": [],
        }

    def test_lose_what_is_no_whole_slab(self, make_grid: GridOf, source: SourceOf, settings: SettingsOf) -> None:
        grid = make_grid((14, 5, 6), direction=TILTED)
        hu, labels = scan_of(grid), np.zeros(grid.shape, np.uint8)
        labels[1:14, 2, 2] = 1  # of 14 slices two are too many: the first, without a label, and the last or the second
        pair = make_pair(source((hu, grid), (labels, grid)), settings(4))
        np.testing.assert_array_equal(pair.image, hu[1:13])
        np.testing.assert_array_equal(pair.truth, labels[1:13])
        assert_same_grid(pair.grid, grid.with_slices(1, 1, 12))
        np.testing.assert_allclose(pair.grid.origin_mm, grid.position_mm((1, 0, 0)))
        assert pair.made["left_out"] == {
            "image_slices": [1, 1],
            "label_slices": [1, 1],
            "label_slices_between": 0,
            "annotated_voxels": 1,
        }

    def test_on_a_part_of_the_slices(self, make_grid: GridOf, source: SourceOf, settings: SettingsOf) -> None:
        grid = make_grid((20, 5, 6))
        part = grid.with_slices(3, 1, 9)
        hu, labels = scan_of(grid), labels_of(part)
        labels[8] = 0
        pair = make_pair(source((hu, grid), (labels, part)), settings(4))
        np.testing.assert_array_equal(pair.image, hu[3:11])
        np.testing.assert_array_equal(pair.truth, labels[:8])
        assert pair.made["left_out"]["image_slices"] == [3, 9]
        assert pair.made["left_out"]["label_slices"] == [0, 1]

    def test_beyond_the_scan_where_nothing_is_annotated(
        self, make_grid: GridOf, source: SourceOf, settings: SettingsOf
    ) -> None:
        grid = make_grid((8, 5, 6))
        longer = grid.with_slices(-2, 1, 14)
        labels = np.zeros(longer.shape, np.uint8)
        labels[2:10] = labels_of(grid)
        pair = make_pair(source((scan_of(grid), grid), (labels, longer)), settings(4))
        np.testing.assert_array_equal(pair.truth, labels[2:10])
        assert pair.made["left_out"]["label_slices"] == [2, 4]

    def test_to_be_ignored_do_not_count(self, make_grid: GridOf, source: SourceOf, settings: SettingsOf) -> None:
        grid = make_grid((8, 1, 3))
        labels = np.zeros(grid.shape, np.uint8)
        labels[:, 0, 0] = [1, 1, 3, 3, 1, 3, 3, 3]
        labels[:, 0, 1] = [0, 0, 3, 0, 0, 0, 0, 3]
        labels[:, 0, 2] = [2, 2, 2, 3, 3, 3, 3, 3]
        pair = make_pair(source((scan_of(grid), grid), (labels, grid)), settings(4, ignore=3))
        np.testing.assert_array_equal(pair.annotation[:, 0], [[1, 0, 2], [3, 0, 3]])
        assert pair.made["values"] == [1, 2]

    def test_of_many_classes(self, make_grid: GridOf, source: SourceOf, settings: SettingsOf) -> None:
        grid = make_grid((4, 5, 6))
        labels = np.full(grid.shape, 300, np.int16)
        case = source((scan_of(grid), grid), (labels, grid))
        assert make_pair(case, settings(4, values=tuple(range(301)))).annotation.dtype == np.uint16


class TestThickLabels:
    def test_that_fit_leave_the_scan_as_it_is(self, make_grid: GridOf, source: SourceOf, settings: SettingsOf) -> None:
        grid = make_grid((17, 5, 6), direction=TILTED)
        thick = grid.with_slices(2, 4, 3)
        hu, labels = scan_of(grid), labels_of(thick)
        pair = make_pair(source((hu, grid), (labels, thick)), settings(4, "thick"))
        np.testing.assert_array_equal(pair.image, hu[2:14])
        np.testing.assert_array_equal(pair.annotation, labels)
        assert pair.truth is None
        np.testing.assert_allclose(pair.grid.origin_mm, grid.position_mm((2, 0, 0)))
        # A thick slice's centre is the mean of its thin ones'.
        np.testing.assert_allclose(
            thick.position_mm((1, 0, 0)), np.mean([pair.grid.position_mm((z, 0, 0)) for z in (4, 5, 6, 7)], axis=0)
        )
        assert pair.made["left_out"]["image_slices"] == [2, 3]
        assert pair.made["resampled"] == []

    def test_half_a_slice_off_are_not_moved_but_the_scan_is_resampled(
        self, make_grid: GridOf, source: SourceOf, settings: SettingsOf
    ) -> None:
        grid = make_grid((12, 5, 6), (1.5, 0.7, 0.9))
        thick = grid.with_slices(0.5, 6, 2)
        hu, labels = scan_of(grid), labels_of(thick)
        pair = make_pair(source((hu, grid), (labels, thick)), settings(4, "thick"))
        between = (hu[:8].astype(float) + hu[1:9]) / 2
        np.testing.assert_array_equal(pair.image, np.rint(between))
        assert pair.image.dtype == np.int16
        np.testing.assert_array_equal(pair.annotation, labels)
        assert_same_grid(pair.grid, grid.with_slices(0.5, 1.5, 8))
        assert pair.made["resampled"] == [
            {
                "what": "image",
                "along": "z",
                "by": "mean over each new slice",
                "from_mm": 1.5,
                "to_mm": 1.5,
                "moved_mm": 0.75,
            }
        ]
        assert pair.made["left_out"]["image_slices"] == [0.5, 3.5]

    @given(seed=seeds, first=st.integers(0, 2 * FINE), thickness=st.integers(2 * FINE, 5 * FINE), data=st.data())
    def test_average_projection_conserves_the_mean_hu_of_every_slab(
        self,
        make_grid: GridOf,
        source: SourceOf,
        settings: SettingsOf,
        seed: int,
        first: int,
        thickness: int,
        data: st.DataObject,
    ) -> None:
        """Whatever the ratio, the offset and the factor; against the scan cut into twelfths of slices."""
        grid = make_grid((20, 3, 4))
        slabs = data.draw(st.integers(1, (20 * FINE - first) // thickness))
        factor = data.draw(st.integers(2, max(2, thickness // FINE)))
        thick = grid.with_slices(first / FINE, thickness / FINE, slabs)
        hu = scan_of(grid, seed).astype(np.float32)
        pair = make_pair(source((hu, grid), (labels_of(thick), thick)), settings(factor, "thick"))
        fine = np.repeat(hu.astype(float), FINE, axis=0)[first : first + slabs * thickness]
        np.testing.assert_allclose(average_slabs(pair.image, factor), average_slabs(fine, thickness), atol=1e-2)
        assert len(pair.image) == factor * slabs

    def test_of_another_plane_are_the_nearest_pixels(
        self, make_grid: GridOf, source: SourceOf, settings: SettingsOf
    ) -> None:
        grid = make_grid((8, 4, 6), (1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0))
        coarse = make_grid((2, 4, 3), (4.0, 1.0, 2.0), origin_mm=(0.5, 0.0, 1.5))
        labels = labels_of(coarse)
        pair = make_pair(source((scan_of(grid), grid), (labels, coarse)), settings(4, "thick"))
        np.testing.assert_array_equal(pair.annotation, np.repeat(labels, 2, axis=2))
        assert pair.made["resampled"] == [
            {"what": "label", "along": "x", "by": "nearest pixel", "from_mm": 2.0, "to_mm": 1.0, "moved_mm": 0.5}
        ]

    def test_that_overlap_are_taken_by_turns(self, make_grid: GridOf, source: SourceOf, settings: SettingsOf) -> None:
        grid = make_grid((16, 4, 6))
        thick = grid.with_slices(1, 2, 7)  # centres at 2, 4, ...; 4 mm thick: from 0, 2, ...
        labels = labels_of(thick)
        labels[1::2] = 0
        pair = make_pair(source((scan_of(grid), grid), (labels, thick)), settings(4, "thick", thickness_mm=4))
        np.testing.assert_array_equal(pair.annotation, labels[::2])
        assert pair.image.shape[0] == 16
        assert pair.made["left_out"]["label_slices_between"] == 3
        assert pair.made["thick"]["thickness_mm"] == 4

    def test_a_partial_slab_at_the_end_is_left_out(
        self, make_grid: GridOf, source: SourceOf, settings: SettingsOf
    ) -> None:
        grid = make_grid((10, 4, 6))
        thick = grid.with_slices(0, 4, 3)
        labels = np.ones(thick.shape, np.uint8)
        pair = make_pair(source((scan_of(grid), grid), (labels, thick)), settings(4, "thick"))
        assert pair.annotation.shape == (2, 4, 6)
        assert pair.made["left_out"] == {
            "image_slices": [0, 2],
            "label_slices": [0, 1],
            "label_slices_between": 0,
            "annotated_voxels": 24,
        }


class TestThickImages:
    @given(seed=seeds, offset=st.sampled_from([0, 1, 0.5]), flips=axes)
    def test_that_lie_where_they_say_are_taken(
        self, make_grid: GridOf, source: SourceOf, settings: SettingsOf, seed: int, offset: float, flips: set[int]
    ) -> None:
        grid = make_grid((22, 6, 7), direction=TILTED)
        thick = grid.with_slices(offset, 4, 5)
        hu = scan_of(grid, seed)
        fine = np.repeat(hu.astype(float), 2, axis=0)[int(2 * offset) :][:40]
        thick_hu = average_slabs(fine, 8)
        flipped = (np.flip(thick_hu, tuple(flips)), thick.flipped(flips))
        pair = make_pair(source((hu, grid), (labels_of(thick), thick), flipped), settings(4, "thick"))
        assert pair.made["thick_image_correlation"] > 0.97

    @given(seed=seeds, factor=st.integers(2, 5), sign=st.sampled_from([-1, 1]), header_flips=axes)
    def test_half_a_slab_off_are_refused(
        self,
        make_grid: GridOf,
        source: SourceOf,
        settings: SettingsOf,
        seed: int,
        factor: int,
        sign: int,
        header_flips: set[int],
    ) -> None:
        """Image and label agree with one another, and their header is off by half of their thickness."""
        grid = make_grid((40, 6, 7), direction=TILTED)
        slabs = 30 // factor
        true, said = (grid.with_slices(5 + off, factor, slabs) for off in (0, sign * factor / 2))
        hu = scan_of(grid, seed)
        thick_hu = average_slabs(hu[5 : 5 + slabs * factor], factor)
        on_thick = (np.flip(volume, tuple(header_flips)) for volume in (labels_of(true), thick_hu))
        label, thick = ((volume, said.flipped(header_flips)) for volume in on_thick)
        with pytest.raises(ValueError, match=r"must lie where its header says, and its voxels lie \d (or more )?thin "):
            make_pair(source((hu, grid), label, thick), settings(factor, "thick"))

    def test_of_another_grid_than_the_labels_are_refused(
        self, make_grid: GridOf, source: SourceOf, settings: SettingsOf
    ) -> None:
        grid = make_grid((20, 4, 6), (1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0))
        label, thick = grid.with_slices(0, 5, 4), grid.with_slices(0, 5, 3)
        case = source((scan_of(grid), grid), (labels_of(label), label), (scan_of(thick), thick))
        named = (
            r"drawn on \(6 x 4 x 3 voxels of 1 x 1 x 5 mm from 0 x 0 x 2\), got 6 x 4 x 4 voxels of .* from .*: .*nrrd$"
        )
        with pytest.raises(ValueError, match=rf"must have the grid of the thick scan it was {named}"):
            make_pair(case, settings(5, "thick"))


class TestFlipping:
    """Pairing commutes with flipping."""

    @given(kind=st.sampled_from(["thin", "thick", "resampled", "thick image"]), seed=seeds, flips=axes, labels_too=axes)
    def test_the_way_a_file_is_stored_changes_nothing(
        self,
        make_grid: GridOf,
        source: SourceOf,
        settings: SettingsOf,
        kind: str,
        seed: int,
        flips: set[int],
        labels_too: set[int],
    ) -> None:
        """Flipping arrays and headers alike leaves every voxel where it is in the patient."""
        grid = make_grid((14, 5, 6), direction=TILTED)
        edge = 0.5 if kind == "resampled" else 1
        label = grid if kind == "thin" else grid.with_slices(edge, 4, 3)
        hu, labels = scan_of(grid, seed), labels_of(label, seed)
        thick_hu = average_slabs(hu[1:13], 4) if kind == "thick image" else None
        choices = settings(4, "thin" if kind == "thin" else "thick")

        def stored(scan_flips: set[int], label_flips: set[int]) -> Pair:
            def stored_as(
                volume: np.ndarray, volume_grid: VolumeGeometry, how: set[int]
            ) -> tuple[np.ndarray, VolumeGeometry]:
                return np.flip(volume, tuple(how)), volume_grid.flipped(how)

            thick = None if thick_hu is None else stored_as(thick_hu, label, label_flips)
            return make_pair(
                source(stored_as(hu, grid, scan_flips), stored_as(labels, label, label_flips), thick), choices
            )

        straight = stored(set(), set())
        assert_same_scene(straight, stored(flips, labels_too), flips)
        assert stored(set(), labels_too).made["flipped"] == ["zyx"[axis] for axis in sorted(labels_too)]

    @given(kind=st.sampled_from(["thin", "thick", "resampled"]), seed=seeds, flips=axes)
    def test_a_flipped_patient_gives_a_flipped_pair(
        self, make_grid: GridOf, source: SourceOf, settings: SettingsOf, kind: str, seed: int, flips: set[int]
    ) -> None:
        """The arrays alone are flipped."""
        grid = make_grid((12, 5, 6))
        label = (
            grid if kind == "thin" else grid.with_slices(0, 4 if kind == "thick" else 3, 3 if kind == "thick" else 4)
        )
        hu, labels = scan_of(grid, seed).astype(np.float32), labels_of(label, seed)
        choices = settings(2 if kind == "resampled" else 4, "thin" if kind == "thin" else "thick")
        straight = make_pair(source((hu, grid), (labels, label)), choices)
        back = tuple(flips)
        flipped = make_pair(source((np.flip(hu, back), grid), (np.flip(labels, back), label)), choices)
        np.testing.assert_allclose(flipped.image, np.flip(straight.image, back), atol=1e-3)
        np.testing.assert_array_equal(flipped.annotation, np.flip(straight.annotation, back))


class TestRefusals:
    @pytest.fixture
    def grid(self, make_grid: GridOf) -> VolumeGeometry:
        return make_grid((12, 4, 6), (1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0))

    def refuse(self, case: Source, choices: PairSettings, match: str) -> None:
        with pytest.raises(ValueError, match=match):
            make_pair(case, choices)

    def test_of_a_scan_that_is_not_in_hu(self, grid: VolumeGeometry, source: SourceOf, settings: SettingsOf) -> None:
        case = source((np.abs(scan_of(grid)), grid), (labels_of(grid), grid))
        self.refuse(case, settings(4), "must be in Hounsfield units")

    def test_of_a_thick_scan_that_is_not_in_hu(
        self, grid: VolumeGeometry, source: SourceOf, settings: SettingsOf
    ) -> None:
        thick = grid.with_slices(0, 4, 3)
        case = source((scan_of(grid), grid), (labels_of(thick), thick), (np.abs(scan_of(thick)), thick))
        self.refuse(case, settings(4, "thick"), "must be in Hounsfield units")

    def test_of_unknown_label_values(self, grid: VolumeGeometry, source: SourceOf, settings: SettingsOf) -> None:
        case = source((scan_of(grid), grid), (labels_of(grid) + np.uint8(2), grid))
        self.refuse(
            case, settings(4), r"labels must be those of dataset.json \[0, 1, 2, 3\], got also \[4, 5\]: .*nrrd$"
        )

    @pytest.mark.parametrize(
        ("first", "named"),
        [
            ((0, 0, 8), "and 4 of 5 annotated voxels lie beyond it along z, by up to 8 mm"),
            ((0, 3, 0), "and 4 of 5 annotated voxels lie beyond it along y, by up to 3 mm"),
            ((-2, 0, 0), "and 1 of 5 annotated voxels lie beyond it along x, by up to 1 mm"),
        ],
    )
    def test_of_annotations_outside_of_the_scan(
        self, grid: VolumeGeometry, source: SourceOf, settings: SettingsOf, first: tuple[float, ...], named: str
    ) -> None:
        x, y, z = first
        wide = VolumeGeometry((3, 8, 10), (4.0, 1.0, 1.0), (x - 2.0, y - 2.0, 1.5 + z), grid.direction)
        labels = np.zeros(wide.shape, np.uint8)
        labels[[0, 1, 1, 2, 2], [2, 3, 4, 5, 5], [3, 6, 4, 5, 6]] = 1
        self.refuse(
            source((scan_of(grid), grid), (labels, wide)), settings(4, "thick"), f"lie in the scan, {named}: .*nrrd$"
        )

    def test_of_a_scan_that_reaches_beyond_the_annotation(
        self, grid: VolumeGeometry, source: SourceOf, settings: SettingsOf
    ) -> None:
        narrow = VolumeGeometry((3, 4, 4), (4.0, 1.0, 1.0), (1.5, 0.0, 1.5), grid.direction)
        case = source((scan_of(grid), grid), (labels_of(narrow), narrow))
        self.refuse(
            case, settings(4, "thick"), r"must cover the scan's rows .*, and 1.5 mm along x are not covered: .*nrrd$"
        )

    def test_of_a_tilted_gantry(self, grid: VolumeGeometry, source: SourceOf, settings: SettingsOf) -> None:
        thick = replace(grid.with_slices(0, 4, 3), direction=TILTED)
        case = source((scan_of(grid), grid), (labels_of(thick), thick))
        self.refuse(case, settings(4, "thick"), "must be parallel, and are turned by 16 degrees")

    def test_of_thin_labels_on_other_slices(self, grid: VolumeGeometry, source: SourceOf, settings: SettingsOf) -> None:
        moved = grid.with_slices(0.5, 1, 11)
        case = source((scan_of(grid), grid), (labels_of(moved), moved))
        self.refuse(
            case, settings(4), "thin labels must lie on the scan's slices, and lie up to 0.5 slices beside them"
        )

    def test_of_labels_that_leave_every_slab_open(
        self, grid: VolumeGeometry, source: SourceOf, settings: SettingsOf
    ) -> None:
        labels = np.full(grid.shape, 3, np.uint8)
        labels[::4] = 0
        case = source((scan_of(grid), grid), (labels, grid))
        self.refuse(
            case, settings(4, ignore=3), r"known well enough .*, and 75% of the thin ones are to be .*: .*nrrd$"
        )

    def test_of_slices_with_gaps(self, grid: VolumeGeometry, source: SourceOf, settings: SettingsOf) -> None:
        thick = grid.with_slices(0, 4, 3)
        case = source((scan_of(grid), grid), (labels_of(thick), thick))
        self.refuse(case, settings(4, "thick", thickness_mm=3), "must not leave gaps")


def test_scans_of_eight_bytes_a_voxel_are_halved(make_grid: GridOf, source: SourceOf, settings: SettingsOf) -> None:
    grid = make_grid((8, 4, 6))
    case = source((scan_of(grid).astype(np.float64), grid), (labels_of(grid), grid))
    assert make_pair(case, settings(4)).image.dtype == np.float32


def test_settings_are_checked(settings: SettingsOf) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"factor": 1}, "the factor must be a whole number >= 2 .*, got 1"),
        ({"factor": 4, "labels": "both"}, "labels must be thin or thick, got 'both'"),
        ({"factor": 4, "threshold": 0.0}, "must be above 0 and at most 1, got 0"),
        ({"factor": 4, "labels": "thick", "thickness_mm": -1.0}, "a thickness must be > 0 .* mm, got -1"),
        ({"factor": 4, "thickness_mm": 5.0}, "only for annotated thick slices, got 5 mm for thin labels"),
    ]
    for choice, named in wrong:
        with pytest.raises(ValueError, match=named):
            settings(**choice)
