"""Overlap of masks: by hand, and as nnU-Net counts it."""

from __future__ import annotations

from math import nan
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnunetv2_cfseg.evaluation.overlap import Overlap, count_overlap

IGNORE = 3
LABELS = (1, 2, (1, 2))

segmentations = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        arrays(np.uint8, shape, elements=st.integers(0, 3)), arrays(np.uint8, shape, elements=st.integers(0, 2))
    )
)


def row(*values: int) -> np.ndarray:
    return np.array(values, bool).reshape(1, 1, -1)


class TestByHand:
    def test_counts(self) -> None:
        overlap = count_overlap(row(1, 1, 1, 0, 0, 0), row(1, 0, 0, 1, 0, 0))
        assert overlap == Overlap(1, 1, 2, 2)
        assert (overlap.predicted, overlap.reference) == (2, 3)
        assert overlap.dice == pytest.approx(2 / 5)
        assert overlap.iou == pytest.approx(1 / 4)

    def test_ignored_voxels_are_nowhere_counted(self) -> None:
        overlap = count_overlap(row(1, 1, 1, 0, 0, 0), row(1, 0, 0, 1, 0, 0), ignore=row(1, 1, 0, 0, 0, 1))
        assert overlap == Overlap(0, 1, 1, 1)

    @pytest.mark.parametrize(
        ("truth", "prediction", "dice", "iou"),
        [
            (row(1, 0), row(1, 0), 1, 1),
            (row(1, 0), row(0, 1), 0, 0),
            (row(1, 0), row(0, 0), 0, 0),
            (row(0, 0), row(1, 0), 0, 0),
            (row(0, 0), row(0, 0), nan, nan),
        ],
    )
    def test_presence(self, truth: np.ndarray, prediction: np.ndarray, dice: float, iou: float) -> None:
        overlap = count_overlap(truth, prediction)
        np.testing.assert_equal((overlap.dice, overlap.iou), (dice, iou))

    def test_counts_are_plain_integers(self) -> None:
        overlap = count_overlap(row(1, 0), row(1, 0), ignore=row(0, 0))
        assert {type(value) for value in vars(overlap).values()} == {int}


@given(segmentations, st.booleans())
def test_equals_nnunet(pair: tuple[np.ndarray, np.ndarray], with_ignore: bool) -> None:
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics

    truth, prediction = pair
    files = {"truth": truth, "prediction": prediction}
    reader = SimpleNamespace(read_seg=lambda file: (files[file], {}))
    theirs = compute_metrics("truth", "prediction", reader, list(LABELS), IGNORE if with_ignore else None)["metrics"]
    for label in LABELS:
        ours = count_overlap(
            np.isin(truth, label), np.isin(prediction, label), ignore=truth == IGNORE if with_ignore else None
        )
        as_nnunet = {
            "TP": ours.true_positives,
            "FP": ours.false_positives,
            "FN": ours.false_negatives,
            "TN": ours.true_negatives,
            "n_pred": ours.predicted,
            "n_ref": ours.reference,
            "Dice": ours.dice,
            "IoU": ours.iou,
        }
        np.testing.assert_equal(as_nnunet, {key: theirs[label][key] for key in as_nnunet})
        assert as_nnunet.keys() == theirs[label].keys()
