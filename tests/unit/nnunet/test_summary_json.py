"""Mean Dice out of a summary: of nnU-Net, which writes NaN, and of this package, which writes null."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import pytest

from nnunetv2_cfseg.nnunet.summary_json import read_mean_dice


@pytest.mark.parametrize("unknown", ["NaN", "null"])
def test_a_class_that_no_case_has_is_nan(unknown: str, tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    file.write_text(f'{{"mean": {{"1": {{"Dice": 0.5}}, "(1, 2)": {{"Dice": {unknown}}}}}}}')
    found = read_mean_dice(file)
    assert found["1"] == 0.5
    assert isnan(found["(1, 2)"])


@pytest.mark.parametrize("odd", ['"0.5"', "1.5", "-0.1", "Infinity", "true", "[]"])
def test_what_is_no_dice_is_refused(odd: str, tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    file.write_text(f'{{"mean": {{"1": {{"Dice": {odd}}}}}}}')
    with pytest.raises(ValueError, match=r"mean.1.Dice .*summary.json$"):
        read_mean_dice(file)
