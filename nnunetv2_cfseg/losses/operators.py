"""Builds operators on slabs from the names in plans."""

from __future__ import annotations

import inspect
from typing import Any

from nnunetv2_cfseg.losses.linear_ramp import LinearRampSlab
from nnunetv2_cfseg.losses.poisson_binomial import PoissonBinomialSlab
from nnunetv2_cfseg.losses.slab import SlabAnnotator, SlabCopy, SlabMean, SlabOperator

OPERATORS: dict[str, type[SlabOperator]] = {
    "mean": SlabMean,
    "annotator": SlabAnnotator,
    "copy": SlabCopy,
    "transition": LinearRampSlab,
    "count": PoissonBinomialSlab,
}


def slab_operator(name: str, *, factor: int, threshold: float = 0.5, **parameters: Any) -> SlabOperator:
    """Build the operator with a name.

    Args:
        name: ``mean``, ``annotator``, ``copy``, ``transition`` or ``count``.
        factor: r.
        threshold: fraction of a slab from which annotators marked it, in (0, 1]; the default of ``tau``.
        parameters: ``tau`` and ``temperature`` of :class:`SlabAnnotator`; ``tau`` of :class:`LinearRampSlab`; ``tau``,
            ``begin``, ``end``, ``reach`` and ``coupling`` of :class:`PoissonBinomialSlab`; the others take none.

    Raises:
        ValueError: an unknown name or parameter, or a value out of range.
    """
    if name not in OPERATORS:
        raise ValueError(f"slab operator must be one of {', '.join(OPERATORS)}, got {name!r}")
    known = inspect.signature(OPERATORS[name]).parameters.keys() - {"self", "factor"}
    if unknown := parameters.keys() - known:
        raise ValueError(
            f"slab operator {name} takes {' and '.join(sorted(known)) or 'no parameters'}, got "
            f"{', '.join(sorted(unknown))}"
        )
    if "tau" in known:
        parameters.setdefault("tau", threshold)
    return OPERATORS[name](factor=factor, **parameters)
