from __future__ import annotations

from typing import Any

import pytest
import torch

from nnunetv2_cfseg.networks.windows import WINDOWS_HU, WindowBank


def ct(**changes: Any) -> dict[str, Any]:
    """Normalised v is v * 20 + 40 HU."""
    return {"mean": 40.0, "std": 20.0, "windows_hu": [(0, 80)], **changes}


def volume(*channels: list[float]) -> torch.Tensor:
    """One volume whose voxels along x are the values of each channel."""
    return torch.tensor(channels)[None, :, None, None, :]


@pytest.mark.parametrize(
    ("normalised", "ramp"),
    [
        (-2.0, -1.0),  # 0 HU, the lower end
        (-1.0, -0.5),  # 20 HU
        (0.0, 0.0),  # 40 HU, the middle
        (1.0, 0.5),  # 60 HU
        (2.0, 1.0),  # 80 HU, the upper end
        (-2.1, -1.0),  # -2 HU, clamped
        (5.0, 1.0),  # 140 HU, clamped
        (-53.2, -1.0),  # -1024 HU, air
    ],
)
def test_brain_window_is_a_ramp_clamped_at_its_ends(normalised: float, ramp: float) -> None:
    assert WindowBank([ct()])(volume([normalised])).item() == pytest.approx(ramp, abs=1e-6)


def test_each_window_is_a_channel_in_the_order_given() -> None:
    bank = WindowBank([ct(windows_hu=[(-500, 1500), (0, 80)])])
    assert bank.out_channels == 2
    # 40 HU: 2 * 540 / 2000 - 1 = -0.46 and 0; 1040 HU (v = 50): 2 * 1540 / 2000 - 1 = 0.54 and clamped to 1.
    expected = volume([-0.46, 0.54], [0.0, 1.0])
    torch.testing.assert_close(bank(volume([0.0, 50.0])), expected, rtol=0, atol=1e-6)


def test_a_channel_that_is_not_ct_passes_as_it_is() -> None:
    bank = WindowBank([None, ct(windows_hu=[(0, 80), (30, 50)]), None])
    assert bank.out_channels == 4
    # CT at v = 0.25 is 45 HU: 2 * 45 / 80 - 1 = 0.125 and 2 * 15 / 20 - 1 = 0.5.
    out = bank(volume([7.5, -300.0], [0.25, 0.25], [1e6, 0.0]))
    assert torch.equal(out, volume([7.5, -300.0], [0.125, 0.125], [0.5, 0.5], [1e6, 0.0]))


def test_every_channel_is_undone_with_its_own_mean_and_std() -> None:
    bank = WindowBank([ct(), ct(mean=0.0, std=10.0)])
    # v = 2: 2 * 20 + 40 = 80 HU and 2 * 10 + 0 = 20 HU.
    torch.testing.assert_close(bank(volume([2.0], [2.0])), volume([1.0], [-0.5]), rtol=0, atol=1e-6)


def test_the_input_is_not_changed() -> None:
    x = volume([3.0, -9.0])
    WindowBank([ct()])(x)
    assert torch.equal(x, volume([3.0, -9.0]))


def test_the_bank_saves_nothing_and_learns_nothing() -> None:
    bank = WindowBank([ct(), None])
    assert not bank.state_dict()
    assert not list(bank.parameters())


def test_settings_are_copied_from_the_caller() -> None:
    settings = ct(windows_hu=[[0, 80]])
    bank = WindowBank([settings])
    settings["std"] = 1000.0
    settings["windows_hu"][0][1] = 1
    assert bank(volume([1.0])).item() == pytest.approx(0.5)


@pytest.mark.parametrize("windows_hu", [[], [(80, 0)], [(10, 10)], [(0, 80), (5, -5)]])
def test_windows_need_a_lower_end_below_an_upper(windows_hu: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=r"windows_hu must be a list of \(lower, upper\) with lower < upper, got \["):
        WindowBank([ct(windows_hu=windows_hu)])


@pytest.mark.parametrize("std", [0, -1.5, float("nan")])
def test_std_must_be_positive(std: float) -> None:
    with pytest.raises(ValueError, match=f"the std that undoes CT normalisation must be > 0 HU, got {std}"):
        WindowBank([ct(std=std)])


def test_named_windows_are_those_of_radiology() -> None:
    """Level and width in HU; the wide one is all that 12 bits hold."""
    levels_and_widths = {
        "brain": (40, 80),
        "subdural": (80, 200),
        "soft_tissue": (40, 400),
        "bone": (500, 2000),
        "lung": (-600, 1500),
        "wide": (1023.5, 2**12 - 1),
    }
    assert {name: ((low + high) / 2, high - low) for name, (low, high) in WINDOWS_HU.items()} == levels_and_widths
    assert WindowBank([ct(windows_hu=list(WINDOWS_HU.values()))]).out_channels == 6
