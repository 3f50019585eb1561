"""Drawing centres and cutting blocks: properties on random crops, and the statistics of the draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.networks.beyond_scan import MODES, BeyondScan
from nnunetv2_cfseg.trainers.blocks import BlockSampling, cut_blocks, draw_centers, inside_starts

Size3 = tuple[int, int, int]


def size3(low: int, high: int) -> st.SearchStrategy[Size3]:
    return st.tuples(*[st.integers(low, high)] * 3)


@st.composite
def crops(draw: st.DrawFn, *, holds_block: bool = False) -> dict[str, Any]:
    """Sizes of a crop, its centres and its blocks, and a seed; the crop holds a centre, and a block if asked."""
    center, margin = draw(size3(1, 4)), draw(size3(0, 4))
    block = tuple(c + 2 * m for c, m in zip(center, margin, strict=True))
    least = block if holds_block else center
    shape = tuple(size + draw(st.integers(0, 6)) for size in least)
    return {"shape": shape, "center": center, "margin": margin, "block": block, "seed": draw(st.integers(0, 2**31))}


def draw_starts(
    target: torch.Tensor,
    *,
    center: Size3,
    block: Size3,
    count: int = 16,
    foreground_fraction: float = 0.5,
    border_fraction: float = 1.0,
    ignore_label: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    return draw_centers(
        target,
        BlockSampling(count, foreground_fraction, 0.0, border_fraction),
        center_size=center,
        block_size=block,
        ignore_label=ignore_label,
        rng=np.random.default_rng(seed),
    )


def random_labels(shape: Size3, seed: int, *, classes: int = 3, foreground: float = 0.1) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, classes + 1, size=shape) * (rng.random(shape) < foreground)
    return torch.from_numpy(labels[None]).to(torch.int16)


def voxels_of_centers(target: torch.Tensor, starts: np.ndarray, center: Size3) -> torch.Tensor:
    """(M, C, voxels of a centre)."""
    return cut_blocks(target, starts, size=center).flatten(2)


class TestDrawnCenters:
    @given(crops(), st.floats(0, 1), st.floats(0, 1), st.sampled_from([None, 3]))
    def test_lie_inside_the_crop(
        self, crop: dict[str, Any], foreground_fraction: float, border_fraction: float, ignore_label: int | None
    ) -> None:
        target = random_labels(crop["shape"], crop["seed"])
        starts = draw_starts(
            target,
            center=crop["center"],
            block=crop["block"],
            foreground_fraction=foreground_fraction,
            border_fraction=border_fraction,
            ignore_label=ignore_label,
            seed=crop["seed"],
        )
        assert starts.shape == (16, 3)
        assert np.issubdtype(starts.dtype, np.integer)
        assert (starts >= 0).all()
        assert (starts + crop["center"] <= np.array(crop["shape"])).all()

    @given(crops())
    def test_depend_on_the_generator_alone(self, crop: dict[str, Any]) -> None:
        target = random_labels(crop["shape"], crop["seed"])
        sizes = {"center": crop["center"], "block": crop["block"], "border_fraction": 0.5}
        first = draw_starts(target, **sizes, seed=crop["seed"])
        np.random.seed(crop["seed"] + 1)  # the global stream plays no part
        torch.manual_seed(crop["seed"] + 1)
        np.testing.assert_array_equal(draw_starts(target, **sizes, seed=crop["seed"]), first)

    def test_differ_between_seeds(self) -> None:
        target = random_labels((16, 16, 16), 0)
        first, second = (draw_starts(target, center=(2, 2, 2), block=(6, 6, 6), seed=seed) for seed in (0, 1))
        assert (first != second).any()

    def test_have_their_blocks_cut_rather_than_lose_foreground_that_lies_at_the_border(self) -> None:
        target = torch.zeros((1, 24, 24, 24), dtype=torch.int16)
        target[0, 0, 5, 5] = 1
        starts = draw_starts(
            target, center=(4, 4, 4), block=(12, 12, 12), count=64, foreground_fraction=1.0, border_fraction=0.0
        )
        assert (voxels_of_centers(target, starts, (4, 4, 4)) == 1).any(dim=-1).all()

    @given(crops(holds_block=True), st.floats(0, 1))
    def test_keep_their_blocks_clear_of_the_border(self, crop: dict[str, Any], foreground_fraction: float) -> None:
        target = torch.ones((1, *crop["shape"]), dtype=torch.int16)  # foreground is in reach everywhere
        starts = draw_starts(
            target,
            center=crop["center"],
            block=crop["block"],
            foreground_fraction=foreground_fraction,
            border_fraction=0.0,
            seed=crop["seed"],
        )
        block_starts = starts - crop["margin"]
        assert (block_starts >= 0).all()
        assert (block_starts + crop["block"] <= np.array(crop["shape"])).all()

    def test_may_be_cut_at_the_border_in_about_the_share_asked_for(self) -> None:
        target = torch.zeros((1, 40, 40, 40), dtype=torch.int16)
        starts = draw_starts(target, center=(2, 2, 2), block=(18, 18, 18), count=4000, border_fraction=0.5)
        clear = ((starts >= 8) & (starts <= 30)).all(axis=1).mean()
        # Half are moved clear of the border, and of the others (23 / 39)^3 = 0.21 are clear by chance.
        assert clear == pytest.approx(0.5 + 0.5 * (23 / 39) ** 3, abs=0.05)

    @pytest.mark.parametrize("border_fraction", [0.0, 0.25, 1.0])
    def test_exist_where_the_crop_is_smaller_than_a_block(self, border_fraction: float) -> None:
        target = random_labels((5, 4, 9), 0)
        starts = draw_starts(target, center=(4, 4, 4), block=(12, 12, 12), border_fraction=border_fraction)
        assert (starts >= 0).all()
        assert (starts + 4 <= np.array((5, 4, 9))).all()
        blocks = cut_blocks(target, starts, size=(12, 12, 12), margin=(4, 4, 4))
        assert blocks.shape == (16, 1, 12, 12, 12)

    def test_fill_a_crop_of_exactly_one_center(self) -> None:
        starts = draw_starts(random_labels((4, 4, 4), 0), center=(4, 4, 4), block=(12, 12, 12))
        np.testing.assert_array_equal(starts, np.zeros((16, 3)))

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_need_a_crop_that_holds_one(self, axis: int) -> None:
        shape = [8, 8, 8]
        shape[axis] = 3
        with pytest.raises(ValueError, match=r"a crop must hold a centre of \(4, 4, 4\) voxels, got \(.*3.*\)"):
            draw_starts(torch.zeros((1, *shape)), center=(4, 4, 4), block=(12, 12, 12))


class TestForeground:
    @given(crops())
    def test_is_in_every_center_when_all_are_drawn_for_it(self, crop: dict[str, Any]) -> None:
        target = random_labels(crop["shape"], crop["seed"], foreground=0.05)
        target[0, -1, 0, -1] = 1  # at least one voxel, in a corner
        starts = draw_starts(
            target, center=crop["center"], block=crop["block"], foreground_fraction=1.0, seed=crop["seed"]
        )
        assert (voxels_of_centers(target, starts, crop["center"]) > 0).any(dim=-1).all()

    def test_is_in_about_half_of_the_centers_by_default(self) -> None:
        target = torch.zeros((1, 32, 32, 32), dtype=torch.int16)
        target[0, 16, 16, 16] = 1
        starts = draw_starts(target, center=(2, 2, 2), block=(6, 6, 6), count=200)
        found = (voxels_of_centers(target, starts, (2, 2, 2)) > 0).any(dim=-1).float().mean()
        assert found == pytest.approx(0.5, abs=0.03)  # half by intent; a hit by chance has odds of 8 in 31^3

    def test_stands_anywhere_in_its_center(self) -> None:
        target = torch.zeros((1, 16, 16, 16), dtype=torch.int16)
        target[0, 8, 8, 8] = 1
        starts = draw_starts(target, center=(2, 2, 2), block=(6, 6, 6), count=200, foreground_fraction=1.0)
        assert len(np.unique(starts, axis=0)) == 8
        assert set(starts.flatten().tolist()) == {7, 8}

    def test_of_a_rare_class_is_drawn_as_often_as_that_of_a_common_one(self) -> None:
        target = torch.zeros((1, 40, 40, 40), dtype=torch.int16)
        target[0, :10, :25] = 1  # 10 000 voxels
        target[0, 35, 35, 20:30] = 2  # 10
        starts = draw_starts(target, center=(2, 2, 2), block=(6, 6, 6), count=1000, foreground_fraction=1.0)
        found = voxels_of_centers(target, starts, (2, 2, 2))
        assert (found == 1).any(dim=-1).float().mean() == pytest.approx(0.5, abs=0.08)
        assert (found == 2).any(dim=-1).float().mean() == pytest.approx(0.5, abs=0.08)

    def test_may_be_missing(self) -> None:
        target = torch.zeros((1, 16, 16, 16), dtype=torch.int16)
        starts = draw_starts(target, center=(2, 2, 2), block=(6, 6, 6), count=400, foreground_fraction=1.0)
        # Then centres are drawn from all over the crop.
        assert (np.ptp(starts, axis=0) == 14).all()

    def test_is_not_sought_with_a_share_of_zero(self) -> None:
        target = torch.zeros((1, 32, 32, 32), dtype=torch.int16)
        target[0, 0, 0, 0] = 1
        starts = draw_starts(target, center=(2, 2, 2), block=(6, 6, 6), count=200, foreground_fraction=0.0)
        assert (voxels_of_centers(target, starts, (2, 2, 2)) > 0).any(dim=-1).sum() < 3


class TestIgnoreLabel:
    @given(crops(), st.floats(0, 1))
    def test_leaves_an_annotated_voxel_in_every_center(self, crop: dict[str, Any], foreground_fraction: float) -> None:
        target = random_labels(crop["shape"], crop["seed"], classes=2)
        target[torch.rand(target.shape, generator=torch.Generator().manual_seed(crop["seed"])) < 0.9] = 3
        target[0, 0, -1, 0] = 0  # at least one annotated voxel, in a corner
        starts = draw_starts(
            target,
            center=crop["center"],
            block=crop["block"],
            foreground_fraction=foreground_fraction,
            ignore_label=3,
            seed=crop["seed"],
        )
        assert (voxels_of_centers(target, starts, crop["center"]) != 3).any(dim=-1).all()

    @pytest.mark.parametrize("border_fraction", [0.0, 0.25])
    def test_leaves_an_annotated_voxel_in_centers_moved_clear_of_the_border(self, border_fraction: float) -> None:
        target = torch.full((1, 24, 24, 24), 2, dtype=torch.int16)
        target[0, 0] = 0  # one annotated slice, at the border
        target[0, 0, :4, :4] = 1
        starts = draw_starts(
            target, center=(4, 4, 4), block=(12, 12, 12), count=64, border_fraction=border_fraction, ignore_label=2
        )
        assert (voxels_of_centers(target, starts, (4, 4, 4)) != 2).any(dim=-1).all()

    def test_is_not_foreground(self) -> None:
        target = torch.full((1, 24, 24, 24), 2, dtype=torch.int16)
        target[0, 12, 12, 12] = 1
        starts = draw_starts(
            target, center=(2, 2, 2), block=(6, 6, 6), count=64, foreground_fraction=1.0, ignore_label=2
        )
        assert (voxels_of_centers(target, starts, (2, 2, 2)) == 1).any(dim=-1).all()

    def test_draws_annotated_background_where_there_is_no_foreground(self) -> None:
        target = torch.full((1, 24, 24, 24), 1, dtype=torch.int16)
        target[0, 3, 3, 3] = 0
        starts = draw_starts(
            target, center=(2, 2, 2), block=(6, 6, 6), count=64, foreground_fraction=1.0, ignore_label=1
        )
        assert (voxels_of_centers(target, starts, (2, 2, 2)) == 0).any(dim=-1).all()

    def test_may_cover_the_whole_crop(self) -> None:
        target = torch.full((1, 8, 8, 8), 1, dtype=torch.int16)
        starts = draw_starts(target, center=(2, 2, 2), block=(6, 6, 6), count=64, ignore_label=1)
        assert (np.ptp(starts, axis=0) > 0).all()


class TestRegions:
    def test_are_foreground_each_drawn_as_often(self) -> None:
        target = torch.zeros((2, 40, 40, 40), dtype=torch.bool)
        target[0, :20] = True  # a common region
        target[1, 35, 35, 20:30] = True  # a rare one, outside of it
        starts = draw_starts(target, center=(2, 2, 2), block=(6, 6, 6), count=1000, foreground_fraction=1.0)
        found = voxels_of_centers(target, starts, (2, 2, 2)).any(dim=-1).float().mean(dim=0)
        assert found[0] == pytest.approx(0.5, abs=0.08)
        assert found[1] == pytest.approx(0.5, abs=0.08)

    def test_may_overlap(self) -> None:
        target = torch.zeros((2, 16, 16, 16), dtype=torch.bool)
        target[0, 4:12, 4:12, 4:12] = True
        target[1, 8, 8, 8] = True
        starts = draw_starts(target, center=(1, 1, 1), block=(3, 3, 3), count=400, foreground_fraction=1.0)
        found = voxels_of_centers(target, starts, (1, 1, 1)).any(dim=-1)
        assert found[:, 0].all()
        assert found[:, 1].float().mean() == pytest.approx(0.5, abs=0.1)

    def test_need_no_foreground(self) -> None:
        target = torch.zeros((2, 16, 16, 16), dtype=torch.bool)
        starts = draw_starts(target, center=(2, 2, 2), block=(6, 6, 6), count=400, foreground_fraction=1.0)
        assert (np.ptp(starts, axis=0) == 14).all()

    @given(crops(), st.floats(0, 1))
    def test_leave_an_annotated_voxel_where_the_last_one_is_ignored(
        self, crop: dict[str, Any], foreground_fraction: float
    ) -> None:
        generator = torch.Generator().manual_seed(crop["seed"])
        ignored = torch.rand(crop["shape"], generator=generator) < 0.9
        ignored[-1, -1, 0] = False
        regions = (torch.rand((2, *crop["shape"]), generator=generator) < 0.2) & ~ignored
        starts = draw_starts(
            torch.cat([regions, ignored[None]]),
            center=crop["center"],
            block=crop["block"],
            foreground_fraction=foreground_fraction,
            ignore_label=3,
            seed=crop["seed"],
        )
        assert (~voxels_of_centers(ignored[None], starts, crop["center"])).any(dim=-1).all()

    def test_do_not_count_the_ignored_one_as_foreground(self) -> None:
        target = torch.zeros((2, 24, 24, 24), dtype=torch.bool)
        target[0, 12, 12, 12] = True
        target[1] = ~target[0]
        starts = draw_starts(
            target, center=(2, 2, 2), block=(6, 6, 6), count=64, foreground_fraction=1.0, ignore_label=2
        )
        assert voxels_of_centers(target[:1], starts, (2, 2, 2)).any(dim=-1).all()


def naive_box(crop: np.ndarray, start: np.ndarray, size: Size3, margin: Size3) -> np.ndarray:
    """One box, voxel by voxel; zero outside the crop."""
    box = np.zeros((crop.shape[0], *size), dtype=crop.dtype)
    for offset in np.ndindex(*size):
        place = tuple(int(s) + o - m for s, o, m in zip(start, offset, margin, strict=True))
        if all(0 <= p < n for p, n in zip(place, crop.shape[1:], strict=True)):
            box[(slice(None), *offset)] = crop[(slice(None), *place)]
    return box


class TestCutBlocks:
    @given(crops(), st.integers(1, 2))
    def test_equal_a_loop_over_voxels(self, crop: dict[str, Any], channels: int) -> None:
        rng = np.random.default_rng(crop["seed"])
        values = rng.normal(size=(channels, *crop["shape"])).astype(np.float32)
        starts = rng.integers(0, np.array(crop["shape"]) - crop["center"] + 1, size=(3, 3))
        blocks = cut_blocks(torch.from_numpy(values), starts, size=crop["block"], margin=crop["margin"])
        naive = np.stack([naive_box(values, start, crop["block"], crop["margin"]) for start in starts])
        np.testing.assert_array_equal(blocks.numpy(), naive)

    @given(crops(), st.sampled_from(MODES))
    def test_equal_cutting_from_a_continued_crop(self, crop: dict[str, Any], mode: str) -> None:
        """Numpy continues the crop, as far as any block reaches."""
        rng = np.random.default_rng(crop["seed"])
        values = rng.normal(size=(1, *crop["shape"])).astype(np.float32)
        starts = rng.integers(0, np.array(crop["shape"]) - crop["center"] + 1, size=(3, 3))
        far = max(crop["margin"]) + max(crop["block"])
        way: dict[str, Any] = {"constant_values": -3.0 if mode == "air" else 0.0}
        way = {"mode": mode} if mode in ("edge", "reflect") else way
        continued = np.pad(values[0], far, **way)[None]
        beyond_scan = BeyondScan(mode, (-3.0,) if mode == "air" else ())
        blocks = cut_blocks(
            torch.from_numpy(values), starts, size=crop["block"], margin=crop["margin"], beyond_scan=beyond_scan
        )
        naive = np.stack([naive_box(continued, start + far, crop["block"], crop["margin"]) for start in starts])
        np.testing.assert_array_equal(blocks.numpy(), naive)

    @given(crops())
    def test_have_their_centers_in_the_middle(self, crop: dict[str, Any]) -> None:
        index = torch.arange(1, int(np.prod(crop["shape"])) + 1).reshape(1, *crop["shape"])
        starts = draw_starts(index, center=crop["center"], block=crop["block"], seed=crop["seed"])
        blocks = cut_blocks(index, starts, size=crop["block"], margin=crop["margin"])
        z, y, x = (slice(m, m + c) for m, c in zip(crop["margin"], crop["center"], strict=True))
        centers = cut_blocks(index, starts, size=crop["center"])
        assert (centers > 0).all()  # centres lie inside, so nothing of them is filled up
        torch.testing.assert_close(blocks[:, :, z, y, x], centers, rtol=0, atol=0)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.bool])
    def test_keep_the_dtype_and_leave_the_crop_alone(self, dtype: torch.dtype) -> None:
        crop = torch.ones((1, 6, 6, 6), dtype=dtype)
        blocks = cut_blocks(crop, np.array([[0, 0, 0]]), size=(4, 4, 4), margin=(1, 1, 1))
        assert blocks.dtype == dtype
        blocks.zero_()
        assert crop.all()


class TestCentersBeyondTheScan:
    """None is drawn, as long as the scan holds one."""

    @given(crops(), st.integers(0, 2**31), st.floats(0, 1))
    def test_starts_inside_are_those_without_a_voxel_beyond(
        self, crop: dict[str, Any], seed: int, share: float
    ) -> None:
        beyond = torch.from_numpy(np.random.default_rng(seed).random(crop["shape"]) < share**4)
        inside = inside_starts(beyond, crop["center"])
        windows = np.lib.stride_tricks.sliding_window_view(beyond.numpy(), crop["center"])
        np.testing.assert_array_equal(inside, ~windows.any(axis=(3, 4, 5)))

    @pytest.mark.parametrize("foreground_fraction", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("border_fraction", [0.0, 1.0])
    @pytest.mark.parametrize("rest", [4, 5, 11])
    def test_are_not_drawn(self, foreground_fraction: float, border_fraction: float, rest: int) -> None:
        target = torch.zeros((1, 24, 24, 24), dtype=torch.int16)
        target[:, :rest, 10, 10] = 1
        beyond = torch.zeros((24, 24, 24), dtype=torch.bool)
        beyond[rest:] = True
        starts = draw_centers(
            target,
            BlockSampling(200, foreground_fraction, 0.0, border_fraction),
            center_size=(4, 4, 4),
            block_size=(8, 8, 8),
            ignore_label=None,
            rng=np.random.default_rng(0),
            beyond_scan=beyond,
        )
        assert not voxels_of_centers(beyond[None], starts, (4, 4, 4)).any()
        on_foreground = voxels_of_centers(target, starts, (4, 4, 4)).bool().any(dim=-1).float().mean()
        assert on_foreground >= foreground_fraction

    def test_are_drawn_where_the_scan_holds_none(self) -> None:
        beyond = torch.ones((8, 8, 8), dtype=torch.bool)
        beyond[3] = False
        starts = draw_centers(
            torch.zeros((1, 8, 8, 8), dtype=torch.int16), BlockSampling(50, 0.5, 0.0, 0.25), center_size=(2, 2, 2),
            block_size=(4, 4, 4), ignore_label=None, rng=np.random.default_rng(0), beyond_scan=beyond,
        )  # fmt: skip
        assert len(np.unique(starts, axis=0)) > 10


class TestBackgroundThatLooksLikeForeground:
    """A crop of air with foreground in one corner and a little tissue as bright in another."""

    LABELS = torch.zeros((1, 24, 24, 24), dtype=torch.int16)
    LABELS[:, :4, :4, :4] = 1
    BRIGHT = torch.zeros((24, 24, 24), dtype=torch.bool)
    BRIGHT[:4, :4, :4] = True
    BRIGHT[20:, 20:, 20:] = True

    def draw(self, target: torch.Tensor, *, share: float, ignore_label: int | None = None) -> np.ndarray:
        return draw_centers(
            target,
            BlockSampling(200, 0.25, share, 1.0),
            center_size=(2, 2, 2),
            block_size=(2, 2, 2),
            ignore_label=ignore_label,
            rng=np.random.default_rng(0),
            looks_like_foreground=self.BRIGHT,
        )

    @pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 10), (0.5, 100, 110), (0.75, 150, 150)])
    def test_is_in_the_share_of_centers_asked_for(self, share: float, least: int, most: int) -> None:
        starts = self.draw(self.LABELS, share=share)
        assert least <= (starts >= 19).all(axis=1).sum() <= most
        assert ((starts < 4).all(axis=1)).sum() >= 50

    def test_is_no_ignored_voxel(self) -> None:
        labels = self.LABELS.clone()
        labels[:, 20:, 20:, 20:] = 2
        assert not (self.draw(labels, share=0.75, ignore_label=2) >= 20).all(axis=1).any()

    def test_is_outside_every_region(self) -> None:
        regions = torch.stack([self.LABELS[0] > 0, self.BRIGHT & (self.LABELS[0] == 0)])
        assert not (self.draw(regions, share=0.75, ignore_label=2) >= 20).all(axis=1).any()

    def test_may_be_missing(self) -> None:
        labels = torch.ones((1, 24, 24, 24), dtype=torch.int16)
        assert len(self.draw(labels, share=0.75)) == 200
