"""What slab operators make of thick labels, given what a network sees: soft thin labels against the true ones.

An operator is quickly judged by the labels it would teach. Predict the training cases of a dataset of
``cfseg make_pairs`` with any model, keep the probabilities, and compare:

    nnUNetv2_predict -i pairs/Dataset714_PhantomPairs/imagesTr -o probabilities -d 711 -c 3d_fullres -f 0 \\
        -tr nnUNetTrainerCFSeg_timed -p nnUNetThinThickPlans --disable_tta --save_probabilities
    python experiments/slab_labels.py -i pairs/Dataset714_PhantomPairs -p probabilities \\
        --operators copy transition count 'count={"coupling": 0}'

Of the columns of a slab whose true label changes the table has the mean Dice of the likeliest labels and the mean
negative log-likelihood of the true one; of all columns the mean Dice. Means are over cases.
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

#: Nothing is taken to be less likely than that; labels that are sure and wrong would else be infinitely wrong.
LEAST = 1e-3
#: Passes over the cases before labels are judged: what an operator follows from call to call has settled by then.
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
            for seen, thick, _ in cases:
                make(seen, thick)
        rows += [{"labels": name, **quality(make(seen, thick), thin, factor)} for seen, thick, thin in cases]
    print(pd.DataFrame(rows).groupby("labels", sort=False).mean().round(3).to_string())


def read_case(probabilities: Path, dataset: Path, factor: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the network sees (1, K, Z, Y, X), thick labels (1, 1, Z / r, Y, X) and thin ones (1, 1, Z, Y, X)."""
    seen = torch.from_numpy(np.load(probabilities)["probabilities"]).float()[None]
    thick, thin = (
        read_labels(dataset / name / f"{probabilities.stem}.nii.gz") for name in ("labelsTr", "labelsTr_thin")
    )
    return whole_slabs(seen, factor), whole_slabs(thick, factor)[:, :, ::factor], whole_slabs(thin, factor)


def soft_labels_of(text: str, factor: int, threshold: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of probabilities (1, K, Z, Y, X) and thick labels (1, 1, Z / r, Y, X) to soft thin labels."""
    name, _, parameters = text.partition("=")
    if name == "copy":
        return lambda p, thick: read_slabs(p, thick).repeat(factor).probabilities.float()
    operator = slab_operator(name, factor=factor, threshold=threshold, **json.loads(parameters or "{}"))
    return lambda p, thick: read(operator, p, thick)


def read(operator: SlabOperator, p: Tensor, thick: Tensor) -> Tensor:
    """What the operator says of thin slices; at the ends of a scan the first and the last slab go on.

    Raises:
        ValueError: an operator that says nothing of them.
    """
    if not operator.reads_neighbours:
        raise ValueError("an operator must say what thin slices are, as transition and count do")
    with_neighbours = torch.cat([thick[:, :, :1], thick, thick[:, :, -1:]], dim=2)
    return operator(p.clamp_min(1e-6).log(), read_slabs(p, with_neighbours))[1].probabilities


def read_slabs(p: Tensor, thick: Tensor) -> Target:
    """The thick target in labels (1, 1, D, Y, X), of the classes of probabilities (1, K, Z, Y, X)."""
    return read_target(thick, (*p.shape[:2], *thick.shape[2:]), CLASSES)


def quality(truth: Tensor, thin: Tensor, factor: int) -> dict[str, float]:
    """Of soft labels (1, K, Z, Y, X) against labels (1, 1, Z, Y, X)."""
    slabs = split_slabs(thin, factor)
    changing = (slabs != slabs[:, :, :, :1]).any(3, keepdim=True).expand_as(slabs).flatten(2, 3)
    likeliest = truth.argmax(1, keepdim=True)
    wrong = -truth.gather(1, thin).clamp_min(LEAST).log()
    return {
        "Dice": mean_dice(likeliest, thin),
        "Dice, changing": mean_dice(likeliest[changing], thin[changing]),
        "-log p, changing": float(wrong[changing].mean()),
    }


def mean_dice(a: Tensor, b: Tensor) -> float:
    """Over the classes of b."""
    classes = [label for label in b.unique().tolist() if label]
    return float(np.mean([2 * ((a == c) & (b == c)).sum() / ((a == c).sum() + (b == c).sum()) for c in classes]))


def whole_slabs(x: Tensor, factor: int) -> Tensor:
    """(N, K, Z, Y, X) without the slices of a last slab that is incomplete."""
    return x[:, :, : x.shape[2] // factor * factor]


def read_labels(file: Path) -> Tensor:
    """(1, 1, Z, Y, X)."""
    return torch.from_numpy(read_volume(file).values.astype(np.int64))[None, None]


if __name__ == "__main__":
    main()
