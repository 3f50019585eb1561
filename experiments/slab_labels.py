"""How good are the soft thin labels that slab operators make from thick labels and a network's probabilities?

The labels that an operator would teach are a quick way to judge it. Predict the training cases of a dataset of
``cfseg make_pairs`` with any model, keep the probabilities, and compare:

    nnUNetv2_predict -i pairs/Dataset714_PhantomPairs/imagesTr -o probabilities -d 711 -c 3d_fullres -f 0 \\
        -tr nnUNetTrainerCFSeg_timed -p nnUNetThinThickPlans --disable_tta --save_probabilities
    python experiments/slab_labels.py -i pairs/Dataset714_PhantomPairs -p probabilities \\
        --operators copy transition count 'count={"coupling": 0}'

For slab columns whose true label changes, the table has the mean Dice of the most likely labels and the mean negative
log-likelihood of the true label; for all columns it has the mean Dice. Means are over cases.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from nnunetv2_cfseg.data.pairing.sidecar import read_pairing
from nnunetv2_cfseg.imaging.read import read_volume
from nnunetv2_cfseg.losses.label_space import CLASSES
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.slab import SlabOperator
from nnunetv2_cfseg.losses.slices import split_slabs
from nnunetv2_cfseg.losses.targets import Target, read_target

#: Lower bound of probabilities; without it a certain but wrong label would have an infinite loss.
LEAST = 1e-3
#: Passes over the cases before labels are judged, so that an operator's running state has settled.
SETTLING = 5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", type=Path, required=True, help="a dataset of cfseg make_pairs with thin labels")
    parser.add_argument("-p", type=Path, required=True, help="probabilities of its training cases")
    parser.add_argument("--operators", nargs="+", default=["copy", "transition", "count"], metavar="NAME[=JSON]",
        help="operators and their parameters")  # fmt: skip
    args = parser.parse_args()
    factor, threshold = read_pairing(args.i)
    makers = {"network": lambda p, thick: p} | {
        text: soft_labels_of(text, factor, threshold) for text in args.operators
    }
    cases = [read_case(file, args.i, factor) for file in sorted(args.p.glob("*.npz"))]
    rows = []
    for name, make in tqdm(makers.items(), unit="operator"):
        for _ in range(SETTLING):
            for predicted, thick, _ in cases:
                make(predicted, thick)
        rows += [{"labels": name, **quality(make(predicted, thick), thin, factor)} for predicted, thick, thin in cases]
    print(pd.DataFrame(rows).groupby("labels", sort=False).mean().round(3).to_string())


def read_case(probabilities: Path, dataset: Path, factor: int) -> tuple[Tensor, Tensor, Tensor]:
    """Read probabilities (1, K, Z, Y, X), thick labels (1, 1, Z / r, Y, X) and thin labels (1, 1, Z, Y, X)."""
    predicted = torch.from_numpy(np.load(probabilities)["probabilities"]).float()[None]
    thick, thin = (
        read_labels(dataset / name / f"{probabilities.stem}.nii.gz") for name in ("labelsTr", "labelsTr_thin")
    )
    return whole_slabs(predicted, factor), whole_slabs(thick, factor)[:, :, ::factor], whole_slabs(thin, factor)


def soft_labels_of(text: str, factor: int, threshold: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A function from probabilities (1, K, Z, Y, X) and thick labels (1, 1, Z / r, Y, X) to soft thin labels."""
    name, _, parameters = text.partition("=")
    if name == "copy":
        return lambda p, thick: read_slabs(p, thick).repeat(factor).probabilities.float()
    operator = slab_operator(name, factor=factor, threshold=threshold, **json.loads(parameters or "{}"))
    return lambda p, thick: read(operator, p, thick)


def read(operator: SlabOperator, p: Tensor, thick: Tensor) -> Tensor:
    """Soft thin labels of the operator; at the ends of a scan the first and the last slab are repeated.

    Raises:
        ValueError: the operator gives no labels of thin slices.
    """
    if not operator.reads_neighbours:
        raise ValueError("the operator gives no labels of thin slices, unlike transition and count")
    with_neighbours = torch.cat([thick[:, :, :1], thick, thick[:, :, -1:]], dim=2)
    return operator(p.clamp_min(1e-6).log(), read_slabs(p, with_neighbours))[1].probabilities


def read_slabs(p: Tensor, thick: Tensor) -> Target:
    """The thick target of labels (1, 1, D, Y, X), with the classes of probabilities (1, K, Z, Y, X)."""
    return read_target(thick, (*p.shape[:2], *thick.shape[2:]), CLASSES)


def quality(soft: Tensor, thin: Tensor, factor: int) -> dict[str, float]:
    """Scores of soft labels (1, K, Z, Y, X) against true thin labels (1, 1, Z, Y, X)."""
    slabs = split_slabs(thin, factor)
    changing = (slabs != slabs[:, :, :, :1]).any(3, keepdim=True).expand_as(slabs).flatten(2, 3)
    likeliest = soft.argmax(1, keepdim=True)
    loss = -soft.gather(1, thin).clamp_min(LEAST).log()
    return {
        "Dice": mean_dice(likeliest, thin),
        "Dice, changing": mean_dice(likeliest[changing], thin[changing]),
        "-log p, changing": float(loss[changing].mean()),
    }


def mean_dice(a: Tensor, b: Tensor) -> float:
    """Mean Dice over the foreground classes of b."""
    classes = [label for label in b.unique().tolist() if label]
    return float(np.mean([2 * ((a == c) & (b == c)).sum() / ((a == c).sum() + (b == c).sum()) for c in classes]))


def whole_slabs(x: Tensor, factor: int) -> Tensor:
    """Drop the slices of an incomplete last slab from (N, K, Z, Y, X)."""
    return x[:, :, : x.shape[2] // factor * factor]


def read_labels(file: Path) -> Tensor:
    """Read labels, (1, 1, Z, Y, X) int64."""
    return torch.from_numpy(read_volume(file).values.astype(np.int64))[None, None]


if __name__ == "__main__":
    main()
