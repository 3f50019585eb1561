"""nnU-Net's summary of a validation: a class without a mean is NaN in its file, null in ours."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import pytest

from nnunetv2_cfseg.nnunet.summary_json import read_mean_dice


@pytest.mark.parametrize("undefined", ["NaN", "null"])
def test_a_mean_that_is_not_defined(tmp_path: Path, undefined: str) -> None:
    file = tmp_path / "summary.json"
    file.write_text('{"mean": {"1": {"Dice": 0.5}, "(1, 2)": {"Dice": UNDEFINED}}}'.replace("UNDEFINED", undefined))
    dice = read_mean_dice(file)
    assert dice["1"] == 0.5
    assert isnan(dice["(1, 2)"])


@pytest.mark.parametrize("wrong", ["true", "2", '"0.5"', "Infinity", "[0.5]"])
def test_a_mean_that_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "summary.json"
    file.write_text('{"mean": {"1": {"Dice": WRONG}}}'.replace("WRONG", wrong))
    with pytest.raises(
        ValueError, match=r"mean\.1\.Dice must be a number from 0 to 1, NaN or null, got .*summary\.json$"
    ):
        read_mean_dice(file)
