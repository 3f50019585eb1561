"""``splits_final.json``: what is written is read, and what is none is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_cfseg.nnunet.splits import SPLITS, read_splits, write_splits

FOLDS = [{"train": ["b", "a"], "val": ["c"]}, {"train": [], "val": ["a", "b"]}]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_splits(tmp_path, FOLDS)
    assert json.loads((tmp_path / "splits_final.json").read_text()) == FOLDS
    assert read_splits(tmp_path / SPLITS) == FOLDS


@pytest.mark.parametrize(
    "folds",
    [{"train": [], "val": []}, [{"train": []}], [["a"]], 3, None, [{"train": [[]], "val": []}],
     [{"train": "ab", "val": []}], [{"train": [1], "val": []}], [{"train": ["../a"], "val": []}],
     [{"train": [], "val": []}] * 1001],
)  # fmt: skip
def test_what_is_no_list_of_folds_is_refused(tmp_path: Path, folds: Any) -> None:
    (tmp_path / SPLITS).write_text(json.dumps(folds))
    with pytest.raises(ValueError, match=r"^folds must be a JSON list of train and val, .*splits_final\.json$"):
        read_splits(tmp_path / SPLITS)
