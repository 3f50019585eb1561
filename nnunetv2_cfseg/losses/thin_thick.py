"""The joint loss of thin-thick training.

Gang 2025 (arXiv 2502.05396), section 3.6: thick predictions are supervised by thick labels; the slab of a thin
prediction by the same label; and the mean of a slab's thin features is to be the thick one. The defaults depart from
the paper in the operator on slabs (see :mod:`.slab`) and in the feature term's gradient, which stops at the thick
side. The paper's own are ``operator="mean"`` and ``stop_gradient="none"``.

Shapes: N blocks or crops, K classes (background first) or regions, D thick slices, r D thin ones, Y X rows and
columns, E features, d y x tokens of a thick view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor, nn

from nnunetv2_cfseg.losses.balance import Counts, class_balance
from nnunetv2_cfseg.losses.consistency import (
    FEATURE_LOSSES,
    STOP_GRADIENTS,
    feature_loss,
    homogeneous_slab_loss,
    thin_entropy,
)
from nnunetv2_cfseg.losses.segmentation import SegmentationLoss
from nnunetv2_cfseg.losses.slab import slab_operator

TERMS = ("thick", "slab", "feature", "thin_consistency", "edge")


@dataclass(frozen=True)
class ThinThickSettings:
    """What the plans say of the loss; all values are plain, ``dataclasses.asdict`` writes them.

    Attributes:
        weights: of the terms, at least 0: ``thick``, ``slab``, ``feature``, ``thin_consistency`` (entropy of the thin
            prediction) and ``edge`` (copied label where a slab is homogeneous). One not named has weight 0.
        operator: ``annotator``, ``mean`` or ``copy``, see :func:`~.slab.slab_operator`.
        operator_parameters: of the operator.
        feature: ``mse`` or ``cosine``.
        stop_gradient: side of the feature term that is taken as given: ``thick``, ``thin`` or ``none``.
        balance: ``none``, ``inverse_frequency`` or ``dynamic``, see :func:`~.balance.class_balance`.
        balance_parameters: of the balance.
        edge_scale_hu: see :func:`~.consistency.homogeneous_slab_loss`.

    Raises:
        ValueError: an unknown name, a weight that is negative or not finite, all weights 0, a scale not above 0.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: {"thick": 1.0, "slab": 1.0, "feature": 1.0})
    operator: str = "annotator"
    operator_parameters: Mapping[str, Any] = field(default_factory=dict)
    feature: str = "mse"
    stop_gradient: str = "thick"
    balance: str = "none"
    balance_parameters: Mapping[str, Any] = field(default_factory=dict)
    edge_scale_hu: float = 10.0

    def __post_init__(self) -> None:
        if unknown := sorted(self.weights.keys() - set(TERMS)):
            raise ValueError(f"weights must be of {', '.join(TERMS)}, got {', '.join(unknown)}")
        if not all(0 <= weight < math.inf for weight in self.weights.values()) or not any(self.weights.values()):
            raise ValueError(f"weights must be finite, at least 0 and not all 0, got {dict(self.weights)}")
        for name, choices in (("feature", FEATURE_LOSSES), ("stop_gradient", STOP_GRADIENTS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not 0 < self.edge_scale_hu < math.inf:
            raise ValueError(f"edge_scale_hu must be above 0 and finite, got {self.edge_scale_hu}")
        self._check_parameters()

    @classmethod
    def from_plans(cls, section: Mapping[str, Any]) -> ThinThickSettings:
        """Read a section of the plans.

        Raises:
            ValueError: an entry that does not exist, or one out of range.
        """
        names = [entry.name for entry in fields(cls)]
        if unknown := sorted(section.keys() - set(names)):
            raise ValueError(f"the thin-thick loss takes {', '.join(names)}, got {', '.join(unknown)}")
        return cls(**section)

    def _check_parameters(self) -> None:
        """Build what they are for, so that plans are refused before training."""
        if reserved := {"factor", "regions", "counts"} & (self.operator_parameters.keys() | self.balance_parameters):
            raise ValueError(f"parameters must not name what the dataset says, got {', '.join(sorted(reserved))}")
        slab_operator(self.operator, factor=1, **self.operator_parameters)
        class_balance(self.balance, (1, 1), **self.balance_parameters)


class ThinThickLoss(nn.Module):
    """Weighted sum of the terms; those of weight 0 are not computed. Move it to the device of the logits.

    Args:
        settings: what the plans say.
        factor: r, thin slices in a thick one.
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
        self.slab = slab_operator(settings.operator, factor=factor, regions=regions, **settings.operator_parameters)

    def forward(
        self,
        thin_logits: Tensor,
        thick_logits: Tensor,
        thick_target: Tensor,
        *,
        thin_features: Tensor | None = None,
        thick_features: Tensor | None = None,
        thin_hu: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Each term with a weight above 0, unweighted, and ``total``, their weighted sum; all scalars.

        Args:
            thin_logits: (N, K, r D, Y, X).
            thick_logits: (N, K, D, Y, X), the prediction for the thick view of the same anatomy.
            thick_target: labels (N, 1, D, Y, X) or regions (N, R, D, Y, X), ignored voxels last.
            thin_features: (N, E, r d, y, x), where ``feature`` has a weight.
            thick_features: (N, E, d, y, x), where ``feature`` has a weight.
            thin_hu: (N, 1, r D, Y, X), the thin scan in HU, where ``edge`` has a weight.

        Raises:
            ValueError: shapes that do not fit, or a tensor that a term needs is missing.
        """
        terms: dict[str, Tensor] = {}
        if "thick" in self.weights:
            terms["thick"] = self.segmentation(thick_logits, thick_target)
        if "slab" in self.weights:
            terms["slab"] = self.segmentation(*self.slab(thin_logits, thick_target))
        if "feature" in self.weights:
            terms["feature"] = self._feature_term(thin_features, thick_features)
        if "thin_consistency" in self.weights:
            terms["thin_consistency"] = thin_entropy(thin_logits, thick_target, factor=self.factor, **self.labels)
        if "edge" in self.weights:
            terms["edge"] = self._edge_term(thin_logits, thick_target, thin_hu)
        weighted = [self.weights[name] * term for name, term in terms.items()]
        return {**terms, "total": sum(weighted[1:], weighted[0])}

    def _feature_term(self, thin: Tensor | None, thick: Tensor | None) -> Tensor:
        if thin is None or thick is None:
            raise ValueError("the feature term needs thin_features and thick_features, got None")
        kind, stop = self.settings.feature, self.settings.stop_gradient
        return feature_loss(thin, thick, factor=self.factor, kind=kind, stop_gradient=stop)

    def _edge_term(self, thin_logits: Tensor, thick_target: Tensor, thin_hu: Tensor | None) -> Tensor:
        if thin_hu is None:
            raise ValueError("the edge term needs thin_hu, got None")
        scale_hu = self.settings.edge_scale_hu
        return homogeneous_slab_loss(
            thin_logits, thick_target, thin_hu, factor=self.factor, scale_hu=scale_hu, **self.labels
        )
