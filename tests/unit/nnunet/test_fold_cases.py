"""Training and validation cases of folds."""

from __future__ import annotations

import json
from types import SimpleNamespace

from nnunetv2_cfseg.nnunet.fold_cases import FoldCases, count_fold_cases

NAME = "Dataset007_Tiny"


def test_are_counted_where_the_splits_are_known(nnunet_folders: SimpleNamespace) -> None:
    assert count_fold_cases(NAME, ["0"]) == {}
    (nnunet_folders.preprocessed / NAME).mkdir()
    splits = [{"train": list("abc"), "val": ["d"]}, {"train": list("abd"), "val": []}]
    (nnunet_folders.preprocessed / NAME / "splits_final.json").write_text(json.dumps(splits))
    assert count_fold_cases(NAME, ["0", "1", "2", "all"]) == {"0": FoldCases(3, 1), "1": FoldCases(3, 0)}


def test_are_unknown_without_nnunets_folders() -> None:
    assert count_fold_cases(NAME, ["0"]) == {}
