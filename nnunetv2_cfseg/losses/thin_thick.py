"""The joint loss of thin-thick training.

Gang 2025 (arXiv 2502.05396), section 3.6: thick labels supervise thick predictions and the slabs of thin predictions,
and the mean of the thin features of a slab should equal the thick features. The defaults differ from the paper in the
operator on slabs (see :mod:`.slab`), in the weights (the feature term has weight 0), and in the gradient of the feature
term, which the thick side does not get. The paper's own settings are ``operator="mean"``, ``stop_gradient="none"`` and
equal weights.

Thick and thin blocks show different places, except for the columns whose features are compared.

Shapes: N thick blocks, L thin ones, M columns, K classes (background first) or regions, R channels of a target, r thin
slices in a thick one, D and r D their slices, Y X rows and columns, E features, d y x tokens of a thick block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor, nn

from nnunetv2_cfseg.losses.adaptive_margin import AdaptiveLogitMargin
from nnunetv2_cfseg.losses.class_weights import Counts, make_class_weights
from nnunetv2_cfseg.losses.consistency import FEATURE_LOSSES, STOP_GRADIENTS, feature_loss, thin_entropy
from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.segmentation import SegmentationLoss
from nnunetv2_cfseg.losses.slices import place_in_slabs, split_slabs
from nnunetv2_cfseg.losses.targets import Target, read_target

THICK_TERMS = ("thick", "feature")
THIN_TERMS = ("slab", "entropy")
TERMS = ("thick", "slab", "feature", "entropy")
#: The feature term did not help in our measurements, and the columns that it needs make blocks less varied.
DEFAULT_WEIGHTS = {"thick": 0.5, "slab": 1.0, "feature": 0.0}

#: ``count`` teaches a network its own errors if it sees less than annotators did; ``transition`` is never far off.
DEFAULT_OPERATOR = "transition"


@dataclass(frozen=True)
class ThinThickSettings:
    """The loss's settings as in the plans; all values are plain, so that ``dataclasses.asdict`` can write them.

    Attributes:
        weights: of the terms, at least 0: ``thick``, ``slab``, ``feature`` and ``entropy`` (of the thin prediction).
            Terms that are left out have weight 0.
        operator: ``transition``, ``count``, ``annotator``, ``mean`` or ``copy``, see :func:`~.operators.slab_operator`.
        operator_parameters: of the operator; a ``tau`` here overrides the pairs' threshold.
        feature: ``mse`` or ``cosine``.
        stop_gradient: side of the feature term that gets no gradient: ``thick``, ``thin`` or ``none``.
        balance: ``none``, ``inverse_frequency`` or ``dynamic``, see :func:`~.class_weights.make_class_weights`.
        balance_parameters: of the balance.

    Raises:
        ValueError: an unknown name, a weight that is negative or not finite, all weights 0.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    operator: str = DEFAULT_OPERATOR
    operator_parameters: Mapping[str, Any] = field(default_factory=dict)
    feature: str = "mse"
    stop_gradient: str = "thick"
    balance: str = "none"
    balance_parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(self.weights.keys() - set(TERMS)):
            raise ValueError(f"weights must be of {', '.join(TERMS)}, got {', '.join(unknown)}")
        if not all(0 <= weight < math.inf for weight in self.weights.values()) or not any(self.weights.values()):
            raise ValueError(f"weights must be finite, at least 0 and not all 0, got {dict(self.weights)}")
        for name, choices in (("feature", FEATURE_LOSSES), ("stop_gradient", STOP_GRADIENTS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        self._check_parameters()

    @classmethod
    def from_plans(cls, section: Mapping[str, Any]) -> ThinThickSettings:
        """Read a section of the plans.

        Raises:
            ValueError: an entry is unknown or out of range.
        """
        names = [entry.name for entry in fields(cls)]
        if not isinstance(section, Mapping):
            raise ValueError(f"the thin-thick loss takes {', '.join(names)}, got {section!r}")
        if unknown := sorted(section.keys() - set(names)):
            raise ValueError(f"the thin-thick loss takes {', '.join(names)}, got {', '.join(unknown)}")
        try:
            return cls(**section)
        except (AttributeError, RuntimeError, TypeError) as error:
            raise ValueError(f"the thin-thick loss has a value of another type ({error})") from error

    def _check_parameters(self) -> None:
        """Build the operator and the class weights, so that bad plans are refused before training."""
        if reserved := {"factor", "threshold", "labels", "regions", "ignore_label", "counts"} & (
            self.operator_parameters.keys() | self.balance_parameters
        ):
            raise ValueError(f"parameters must not set what comes from the dataset, got {', '.join(sorted(reserved))}")
        slab_operator(self.operator, factor=1, **self.operator_parameters)
        make_class_weights(self.balance, (1, 1), **self.balance_parameters)


class ThinThickLoss(nn.Module):
    """The terms of the loss and their weighted sum; move it to the device of the logits.

    :meth:`thick_terms`, :meth:`feature_terms` and :meth:`thin_terms` return unweighted scalars by their names in
    ``TERMS``, and :meth:`total` adds them up. Terms of weight 0 are left out and not computed.

    Args:
        settings: what the plans say.
        factor: r, thin slices in a thick one.
        threshold: fraction of a slab from which annotators marked it, in (0, 1]; the default of an operator's ``tau``.
        labels: what the channels are; ignored voxels carry no gradient, thin or thick, except in the feature term,
            which needs no label.
        batch_dice: one Dice for each class over all N.
        class_counts: voxels of each class in the training cases, if ``settings.balance`` needs them.

    Raises:
        ValueError: any of these, or the settings, out of range.
    """

    def __init__(
        self,
        settings: ThinThickSettings | None = None,
        *,
        factor: int,
        threshold: float = 0.5,
        labels: LabelSpace = CLASSES,
        batch_dice: bool = False,
        class_counts: Counts | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings = ThinThickSettings() if settings is None else settings
        self.weights = {name: settings.weights[name] for name in TERMS if settings.weights.get(name)}
        self.factor = factor
        self.labels = labels
        class_weights = make_class_weights(settings.balance, class_counts, labels=labels, **settings.balance_parameters)
        self.segmentation = SegmentationLoss(labels, batch_dice=batch_dice, class_weights=class_weights)
        # Checkpoints use the names of these two.
        self.volume = AdaptiveLogitMargin()
        self.slab = slab_operator(settings.operator, factor=factor, threshold=threshold, **settings.operator_parameters)

    def thick_terms(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The term ``thick``: the supervised loss of thick blocks.

        Args:
            logits: (N, K, D, Y, X).
            target: labels (N, 1, D, Y, X), or regions (N, R, D, Y, X) with the ignored voxels last.

        Raises:
            ValueError: shapes that do not fit.
        """
        return {"thick": self.segmentation(logits, target)} if "thick" in self.weights else {}

    def feature_terms(self, *, thick: Tensor, thin: Tensor) -> dict[str, Tensor]:
        """The term ``feature``: the distance between the thin and the thick features of columns.

        Args:
            thick: (M, E, d, y, x).
            thin: (M, E, r d, y, x), of the thin slices that fill the thick ones.

        Raises:
            ValueError: shapes that do not fit.
        """
        if "feature" not in self.weights:
            return {}
        kind, stop = self.settings.feature, self.settings.stop_gradient
        return {"feature": feature_loss(thin, thick, factor=self.factor, kind=kind, stop_gradient=stop)}

    def thin_terms(self, logits: Tensor, slabs: Tensor, *, offset: Tensor, progress: float = 1.0) -> dict[str, Tensor]:
        """The terms ``slab``, which compares thin blocks with the labels of their slabs, and ``entropy``.

        Args:
            logits: (L, K, r D, Y, X).
            slabs: (L, 1 or R, D + 3, Y, X), the thick labels of the D + 1 slabs that these slices touch, and of the
                slabs before and after.
            offset: (L,), how many slices of the first of the D + 1 slabs come before the thin logits.
            progress: fraction of the training that is done, in [0, 1].

        Raises:
            ValueError: shapes that do not fit.
        """
        if not self.weights.keys() & set(THIN_TERMS):
            return {}
        logits, seen = place_in_slabs(logits, offset, self.factor)
        with_neighbours = self._read_slabs(slabs, logits)
        thick = with_neighbours.without_neighbours()
        terms = {}
        if "slab" in self.weights:
            marks = with_neighbours if self.slab.reads_neighbours else thick
            compared, target = self.slab(logits, marks, progress=progress, seen=seen)
            is_thick = compared.shape[2] < logits.shape[2]  # a slab without all of its slices cannot be compared
            target = target.only(split_slabs(seen, self.factor).all(3) if is_thick else seen)
            terms["slab"] = self.segmentation(self.volume(compared, target), target)
        if "entropy" in self.weights:
            valid = thick.repeat(self.factor).only(seen).valid
            terms["entropy"] = thin_entropy(logits, self.labels, valid=valid)
        return terms

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum of the terms, a scalar."""
        weighted = [self.weights[name] * term for name, term in terms.items()]
        return sum(weighted[1:], weighted[0])

    def _read_slabs(self, slabs: Tensor, placed: Tensor) -> Target:
        """The thick target of the slabs of thin logits (L, K, r (D + 1), Y, X), and of the slabs before and after."""
        n, channels, count, _, *in_plane = split_slabs(placed, self.factor).shape
        return read_target(slabs, (n, channels, count + 2, *in_plane), self.labels)
