"""Painting: what a scene keeps of a layer."""

from __future__ import annotations

import numpy as np
import pytest

from nnunetv2_cfseg.data.phantom.geometry import Grid, Pose, Space
from nnunetv2_cfseg.data.phantom.scene import Material, Scene

GRID = Grid((0.0, 0.0, 0.0), (7, 8, 9), 1.0)


def make_scene() -> Scene:
    empty = np.zeros(GRID.shape, np.float32)
    scene = Scene(GRID, empty, empty)
    scene.add("one", Material(10))
    scene.add("two", Material(20, label=2))
    return scene


def make_space(*starts: int) -> Space:
    """The grid from these points on."""
    nothing = np.zeros([size - start for size, start in zip(GRID.shape, starts, strict=True)])
    part = tuple(slice(start, size) for start, size in zip(starts, GRID.shape, strict=True))
    return Space(GRID, Pose((0, 0, 0), np.eye(3), (1, 1, 1)), nothing, nothing, nothing, part, 0.0)  # type: ignore[arg-type]


def test_starts_with_air() -> None:
    scene = make_scene()
    assert list(scene.materials) == ["air", "one", "two"]
    assert scene.materials["air"] == Material(-1000)
    assert scene.layers == []


def test_keeps_the_box_and_a_point_around_it() -> None:
    scene = make_scene()
    depth = np.full(GRID.shape, -1.0)
    depth[2:4, 3, 4:7] = 1
    scene.paint("two", make_space(0, 0, 0), depth)
    (layer,) = scene.layers
    assert layer.material == 2
    assert layer.part == (slice(1, 5), slice(2, 5), slice(3, 8))
    np.testing.assert_array_equal(layer.depth, depth[layer.part])
    assert layer.depth.dtype == np.float32
    assert layer.sheet is None


def test_a_part_of_the_grid_lands_where_it_lies() -> None:
    scene = make_scene()
    depth = np.full((5, 5, 5), -1.0)  # the grid from point 2, 3, 4 on
    depth[0, 4, 2] = 1  # at its edge
    sheet = np.arange(125.0).reshape(5, 5, 5)
    scene.paint("one", make_space(2, 3, 4), depth, sheet=sheet)
    (layer,) = scene.layers
    assert layer.part == (slice(2, 4), slice(6, 8), slice(5, 8))
    np.testing.assert_array_equal(layer.depth, depth[0:2, 3:5, 1:4])
    np.testing.assert_array_equal(layer.sheet, sheet[0:2, 3:5, 1:4])


@pytest.mark.parametrize("value", [0, -2])
def test_nothing_inside_is_no_layer(value: float) -> None:
    scene = make_scene()
    scene.paint("one", make_space(0, 0, 0), np.full(GRID.shape, value))
    assert scene.layers == []


def test_later_layers_come_later() -> None:
    scene = make_scene()
    for name in ("two", "one", "two"):
        scene.paint(name, make_space(0, 0, 0), np.ones(GRID.shape))
    assert [layer.material for layer in scene.layers] == [2, 1, 2]


def test_paints_only_what_it_knows() -> None:
    with pytest.raises(ValueError, match="blood"):
        make_scene().paint("blood", make_space(0, 0, 0), np.ones(GRID.shape))
