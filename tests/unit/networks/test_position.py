from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from nnunetv2_cfseg.networks.position import PositionCode, sine_cosine_3d


def test_sine_code_equals_the_formula_written_by_hand() -> None:
    # D = 14: 14 // 6 = 2 frequencies an axis, 10000^0 = 1 and 10000^(-1/2) = 1/100; 14 - 3 * 4 = 2 zeros are left.
    code = sine_cosine_3d((2, 3, 4), 14)
    assert code.shape == (24, 14)
    for token, (z, y, x) in enumerate(product(range(2), range(3), range(4))):
        expected = []
        for place in (z, y, x):
            expected += [math.sin(place), math.sin(place / 100), math.cos(place), math.cos(place / 100)]
        torch.testing.assert_close(code[token], torch.tensor([*expected, 0.0, 0.0]), rtol=0, atol=1e-6)


def test_first_token_is_sine_zero_and_cosine_one() -> None:
    assert sine_cosine_3d((3, 3, 3), 6)[0].tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("embed_dim", [6, 7, 12, 17])
def test_every_token_has_a_code_of_its_own(embed_dim: int) -> None:
    code = sine_cosine_3d((5, 4, 7), embed_dim)
    distances = torch.cdist(code.double(), code.double()) + 9 * torch.eye(len(code))
    assert distances.min() > 0.1
    assert code.abs().max() <= 1


@pytest.mark.parametrize(("embed_dim", "remainder"), [(6, 0), (7, 1), (11, 5), (12, 0), (16, 4)])
def test_what_three_even_parts_leave_over_is_zero(embed_dim: int, remainder: int) -> None:
    code = sine_cosine_3d((3, 3, 3), embed_dim)
    used = embed_dim - remainder
    assert torch.all(code[:, used:] == 0)
    assert torch.all(code[:, :used].abs().amax(dim=0) > 0)


def test_sine_code_needs_six_dimensions() -> None:
    with pytest.raises(ValueError, match="three axes needs embed_dim >= 6, got 5"):
        sine_cosine_3d((3, 3, 3), 5)


def test_sine_position_adds_the_code_to_every_block_and_is_not_saved() -> None:
    position = PositionCode("sine", (1, 2, 3), 8)
    tokens = torch.randn(4, 6, 8)
    assert torch.equal(position(tokens), tokens + sine_cosine_3d((1, 2, 3), 8))
    assert not list(position.parameters())
    assert not position.state_dict()


def test_learned_position_is_a_saved_parameter_that_is_added() -> None:
    torch.manual_seed(0)
    position = PositionCode("learned", (1, 2, 3), 8)
    assert isinstance(position.code, torch.nn.Parameter)
    assert position.code.shape == (6, 8)
    assert list(position.state_dict()) == ["code"]
    assert 0 < position.code.std() < 0.1
    tokens = torch.randn(4, 6, 8)
    assert torch.equal(position(tokens), tokens + position.code)


def test_no_position_leaves_the_tokens_as_they_are() -> None:
    position = PositionCode("none", (1, 2, 3), 8)
    tokens = torch.randn(4, 6, 8)
    assert torch.equal(position(tokens), tokens)
    assert not position.state_dict()


@pytest.mark.parametrize("kind", ["relative", "absolute", ""])
def test_unknown_position_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"position must be one of sine, learned, rotary, none, got '{kind}'"):
        PositionCode(kind, (3, 3, 3), 12)
