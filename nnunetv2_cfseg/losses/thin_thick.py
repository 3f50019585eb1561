"""The joint loss of thin-thick training.

Gang 2025 (arXiv 2502.05396), section 3.6: thick predictions are supervised by thick labels; the slab of a thin
prediction by the same label; and the mean of a slab's thin features is to be the thick one. The defaults depart from
the paper in the operator on slabs (see :mod:`.slab`), in the weights, of which that of features is 0, and in the
feature term's gradient, which stops at the thick side. The paper's own are ``operator="mean"``,
``stop_gradient="none"`` and equal weights.

Thick and thin blocks are of different places, but for the columns whose features are compared.

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
from nnunetv2_cfseg.losses.class_weights import Counts, class_balance
from nnunetv2_cfseg.losses.consistency import FEATURE_LOSSES, STOP_GRADIENTS, feature_loss, thin_entropy
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.segmentation import SegmentationLoss
from nnunetv2_cfseg.losses.slices import place_in_slabs
from nnunetv2_cfseg.losses.targets import Target

THICK_TERMS = ("thick", "feature")
THIN_TERMS = ("slab", "thin_consistency")
TERMS = ("thick", "slab", "feature", "thin_consistency")
#: Features gained nothing where it was measured, and blocks drawn on top of each other for them are less varied.
DEFAULT_WEIGHTS = {"thick": 0.5, "slab": 1.0, "feature": 0.0}

#: Of networks that see less than the marks say, ``count`` makes the errors their labels; this one is never far off.
DEFAULT_OPERATOR = "transition"


@dataclass(frozen=True)
class ThinThickSettings:
    """What the plans say of the loss; all values are plain, ``dataclasses.asdict`` writes them.

    Attributes:
        weights: of the terms, at least 0: ``thick``, ``slab``, ``feature`` and ``thin_consistency`` (entropy of the
            thin prediction). One not named has weight 0.
        operator: ``transition``, ``count``, ``annotator``, ``mean`` or ``copy``, see :func:`~.operators.slab_operator`.
        operator_parameters: of the operator; a ``tau`` here wins over the pairs' threshold.
        feature: ``mse`` or ``cosine``.
        stop_gradient: side of the feature term that is taken as given: ``thick``, ``thin`` or ``none``.
        balance: ``none``, ``inverse_frequency`` or ``dynamic``, see :func:`~.class_weights.class_balance`.
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
            ValueError: an entry that does not exist, or one out of range.
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
        """Build what they are for, so that plans are refused before training."""
        if reserved := {"factor", "threshold", "regions", "ignore_label", "counts"} & (
            self.operator_parameters.keys() | self.balance_parameters
        ):
            raise ValueError(f"parameters must not name what the dataset says, got {', '.join(sorted(reserved))}")
        slab_operator(self.operator, factor=1, **self.operator_parameters)
        class_balance(self.balance, (1, 1), **self.balance_parameters)


class ThinThickLoss(nn.Module):
    """Weighted sum of the terms; those of weight 0 are not computed. Move it to the device of the logits.

    Args:
        settings: what the plans say.
        factor: r, thin slices in a thick one.
        threshold: share of a slab from which the annotator marked it, in (0, 1]; ``tau`` of operators that ask for it.
        regions: see :class:`~.segmentation.SegmentationLoss`, and so the next two.
        ignore_label: voxels with this label carry no gradient, thin or thick, but for the feature term, which
            needs no label.
        batch_dice: one Dice a class over all N.
        class_counts: voxels of each class in the training cases, where ``settings.balance`` needs them.

    Raises:
        ValueError: any of these, or the settings, out of range.
    """

    def __init__(
        self,
        settings: ThinThickSettings | None = None,
        *,
        factor: int,
        threshold: float = 0.5,
        regions: bool = False,
        ignore_label: int | None = None,
        batch_dice: bool = False,
        class_counts: Counts | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings = ThinThickSettings() if settings is None else settings
        self.weights = {name: settings.weights[name] for name in TERMS if settings.weights.get(name)}
        self.factor = factor
        self.labels: dict[str, Any] = {"regions": regions, "ignore_label": ignore_label}
        balance = class_balance(settings.balance, class_counts, regions=regions, **settings.balance_parameters)
        self.segmentation = SegmentationLoss(**self.labels, batch_dice=batch_dice, balance=balance)
        self.volume = AdaptiveLogitMargin()
        self.slab = slab_operator(
            settings.operator, factor=factor, threshold=threshold, **self.labels, **settings.operator_parameters
        )

    def forward(
        self,
        *,
        thick_logits: Tensor | None = None,
        thick_target: Tensor | None = None,
        thin_logits: Tensor | None = None,
        slab_target: Tensor | None = None,
        slab_offset: Tensor | None = None,
        thick_features: Tensor | None = None,
        thin_features: Tensor | None = None,
        progress: float = 1.0,
    ) -> dict[str, Tensor]:
        """Each term with a weight above 0, unweighted, and ``total``, their weighted sum; all scalars.

        What no term with a weight needs may be left out.

        Args:
            thick_logits: (N, K, D, Y, X).
            thick_target: labels (N, 1, D, Y, X) or regions (N, R, D, Y, X), ignored voxels last.
            thin_logits: (L, K, r D', Y, X).
            slab_target: (L, 1 or R, D' + 3, Y, X), the thick labels of the D' + 1 slabs that these slices touch, of the
                slab before and of the one after.
            slab_offset: (L,), how many slices of the first of these slabs lie before the thin logits.
            thick_features: (M, E, d, y, x).
            thin_features: (M, E, r d, y, x), of the thin slices that fill the thick ones.
            progress: share of the training that is done, in [0, 1].

        Raises:
            ValueError: shapes that do not fit, or a tensor that a term needs is missing.
        """
        terms: dict[str, Tensor] = {}
        if "thick" in self.weights:
            terms["thick"] = self.segmentation(*_needed("thick", thick_logits=thick_logits, thick_target=thick_target))
        if "feature" in self.weights:
            thin, thick = _needed("feature", thin_features=thin_features, thick_features=thick_features)
            kind, stop = self.settings.feature, self.settings.stop_gradient
            terms["feature"] = feature_loss(thin, thick, factor=self.factor, kind=kind, stop_gradient=stop)
        if any(name in self.weights for name in THIN_TERMS):
            logits, target, offset = _needed(
                "thin", thin_logits=thin_logits, slab_target=slab_target, slab_offset=slab_offset
            )
            terms.update(self._thin_terms(logits, target, offset, progress=progress))
        weighted = [self.weights[name] * term for name, term in terms.items()]
        return {**terms, "total": sum(weighted[1:], weighted[0])}

    def _thin_terms(
        self, logits: Tensor, with_neighbours: Tensor, offset: Tensor, *, progress: float
    ) -> dict[str, Tensor]:
        terms = {}
        logits, seen = place_in_slabs(logits, offset, self.factor)
        target = with_neighbours[:, :, 1:-1]
        if "slab" in self.weights:
            slabs = with_neighbours if self.slab.reads_neighbours else target
            compared, what = self.slab(logits, slabs, progress=progress, seen=seen)
            annotation = what if isinstance(what, Target) else self.segmentation.read(what, compared.shape)
            on_thick = compared.shape[2] < logits.shape[2]  # a slab of which slices are missing says nothing there
            where = seen.unflatten(2, (-1, self.factor)).all(3) if on_thick else seen
            annotation = annotation.only(where)
            terms["slab"] = self.segmentation(self.volume(compared, annotation), annotation)
        if "thin_consistency" in self.weights:
            terms["thin_consistency"] = thin_entropy(logits, target, factor=self.factor, seen=seen, **self.labels)
        return terms


def _needed(term: str, **tensors: Tensor | None) -> list[Tensor]:
    given = [tensor for tensor in tensors.values() if tensor is not None]
    if len(given) < len(tensors):
        raise ValueError(f"the {term} term needs {' and '.join(tensors)}, got None")
    return given
