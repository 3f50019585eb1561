"""Label values of ``dataset.json``."""

from __future__ import annotations

from typing import Any

import pytest

from nnunetv2_cfseg.nnunet.dataset_json import ignored_value, label_values


@pytest.mark.parametrize(
    ("labels", "values", "ignored"),
    [
        ({"background": 0, "b": 2, "a": 1}, (0, 1, 2), None),
        ({"background": 0, "both": [1, 2], "one": 2, "ignore": 3}, (0, 1, 2, 3), 3),
        ({"background": "0", "a": "1", "b": (2.0, 1), "ignore": "4"}, (0, 1, 2, 4), 4),
    ],
)
def test_values_and_the_ignored_one(labels: dict[str, Any], values: tuple[int, ...], ignored: int | None) -> None:
    assert label_values(labels) == values
    assert ignored_value(labels) == ignored
