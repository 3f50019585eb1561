from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.networks.neighbourhood import (
    FORBIDDEN,
    BlockView,
    Rotation,
    as_mask,
    frequencies,
    neighbours,
    token_places,
)


def test_places_come_in_z_y_x_order() -> None:
    assert token_places((2, 1, 2)).tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1]]


def test_neighbours_are_within_the_radius_along_every_axis() -> None:
    places = torch.tensor([[0, 0, 0], [1, 1, 1], [0, 2, 0], [0, 0, 3]])
    assert neighbours(places, places, 1).tolist() == [
        [True, True, False, False],
        [True, True, True, False],
        [False, True, True, False],
        [False, False, False, True],
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_mask_adds_nothing_or_leaves_no_weight(dtype: torch.dtype) -> None:
    mask = as_mask(torch.tensor([[True, False], [False, False]])).to(dtype)
    weights = (torch.tensor([-500.0, 500.0], dtype=dtype) + 2 * mask).softmax(-1)
    assert weights[0].tolist() == [1.0, 0.0]
    assert weights[1].isfinite().all()


@given(offset=st.tuples(*[st.integers(-3, 3)] * 3), move=st.tuples(*[st.integers(-50, 50)] * 3), span=st.integers(2, 9))
def test_products_of_turned_vectors_depend_on_where_they_lie_relative_to_each_other(
    offset: tuple[int, int, int], move: tuple[int, int, int], span: int
) -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 20, dtype=torch.float64)
    turns = frequencies(20, span).double()

    def product(at: torch.Tensor) -> torch.Tensor:
        places = torch.stack([at, at + torch.tensor(offset)])
        return (Rotation.of_places(places[:1], turns)(q) * Rotation.of_places(places[1:], turns)(k)).sum()

    torch.testing.assert_close(product(torch.tensor(move)), product(torch.zeros(3, dtype=torch.int64)))


def test_all_neighbours_are_told_apart() -> None:
    """27 offsets within a radius of one give 27 different products."""
    turns = frequencies(12, 3).double()
    places = token_places((3, 3, 3)) - 1
    turned = Rotation.of_places(places, turns)(torch.linspace(1, 2, 12, dtype=torch.float64).expand(27, 1, 12))
    products = turned[:, 0] @ torch.linspace(-1, 3, 12).double()
    assert len({round(float(value), 9) for value in products}) == 27


def test_frequencies_are_even_fractions_of_a_turn_in_a_span() -> None:
    torch.testing.assert_close(frequencies(13, 5), 2 * math.pi / 5 * torch.tensor([0.5, 1.0]))


def test_heads_too_narrow_for_three_axes_are_refused() -> None:
    with pytest.raises(ValueError, match="heads of at least 6 numbers, got 5"):
        frequencies(5, 3)


def test_block_without_radius_and_rotation_is_left_alone() -> None:
    view = BlockView((2, 2, 2), 8, radius=None, rotary=False)
    q, k = torch.randn(2, 1, 8, 2, 8)
    assert view.mask is None
    assert all(a is b for a, b in zip(view.rotate(q, k), (q, k), strict=True))
    assert not view.state_dict()


def test_queries_have_their_own_rows_of_mask_and_rotation() -> None:
    whole = BlockView((3, 1, 1), 8, radius=1, rotary=True)
    view = BlockView((3, 1, 1), 8, radius=1, rotary=True, queries=[2])
    assert view.mask is not None
    assert view.mask.tolist() == [[FORBIDDEN, 0.0, 0.0]]
    x = torch.randn(1, 3, 1, 8)
    q, k = view.rotate(x[:, 2:], x)
    assert torch.equal(q, whole.rotate(x, x)[0][:, 2:])
    assert torch.equal(k, whole.rotate(x, x)[1])
    assert not view.state_dict()
