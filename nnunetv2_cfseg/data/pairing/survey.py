"""Finds from the headers of all cases whether labels are thin or thick, and how many thin slices a thick one has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnunetv2_cfseg.data.pairing.align import locate
from nnunetv2_cfseg.data.pairing.origins import has_same_origin, say_same_origins
from nnunetv2_cfseg.data.pairing.settings import THICK, THIN
from nnunetv2_cfseg.data.pairing.sources import Source
from nnunetv2_cfseg.data.pairing.swapped import check_not_swapped
from nnunetv2_cfseg.data.pairing.thick_labels import slices_in_thickness
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.notices import say
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.imaging.read import check_slice_axis, read_geometry
from nnunetv2_cfseg.imaging.storage_orders import listed, storage_orders

#: Scan slices in a slice of a thin label, and the least in one of a thick label.
THIN_RATIO, LEAST_THICK_RATIO = (0.95, 1.05), 1.5
#: Relative tolerance for the ratio of two spacings to be a whole number.
RATIO_TOLERANCE = 0.005


def common_order(cases: Sequence[Source]) -> str | None:
    """The storage order to which scans must be turned: LPS, with a warning, if they have several orders; else None.

    nnU-Net would train on them as they are stored, and learn sides that are not the patient's.
    """
    orders = storage_orders(case.image for case in cases)
    if len(orders) == 1:
        return None
    say(f"scans are stored in several orders of axes ({listed(orders)}), all are turned to {LPS}")
    return LPS


def survey(
    cases: Sequence[Source],
    *,
    labels: str | None,
    factor: int | None,
    thickness_mm: float | None,
    order: str | None = None,
) -> tuple[str, int]:
    """Find or check the factor, and whether labels are thin or thick; warn of thick ones with their scan's origin.

    Args:
        order: storage order to which scans and labels are turned; None leaves them as they are stored.
        labels: ``thin``, ``thick``, or None: what the headers say.
        factor: thin slices in a thick one, or None: what the headers of thick labels say.
        thickness_mm: of thick labels' slices; None: as much as they are apart.

    Returns:
        ``thin`` or ``thick``, and the factor.

    Raises:
        ValueError: headers contradict one another or the arguments, or do not determine the factor.
    """
    ratios, same_origins = {}, []
    for case in cases:
        stored = read_geometry(case.label), read_geometry(case.image)
        if has_same_origin(*stored):
            same_origins.append(case.name)
        grid, scan = (_turned(geometry, order) for geometry in stored)
        check_slice_axis(grid, case.label)
        check_slice_axis(scan, case.image)
        ratio = locate(grid, scan, file=case.label).ratio[0]
        step = slices_in_thickness(grid.spacing_mm[0], thickness_mm, file=case.label) if ratio > THIN_RATIO[1] else 1
        ratios[case] = ratio * step
    kind = _kind(ratios, labels)
    if kind == THICK:
        say_same_origins(same_origins, of=len(cases))
        return kind, factor or _whole_ratio(ratios)
    for case in cases:
        if case.thick_image is not None:
            raise ValueError(f"labels must be thick if thick images are given, and are thin: {case.label}")
    if factor is None:
        raise ValueError("thin labels need a --factor, the number of thin slices in a thick one, got none")
    return kind, factor


def _turned(geometry: VolumeGeometry, order: str | None) -> VolumeGeometry:
    return geometry if order is None else geometry.turned(order)


def _kind(ratios: Mapping[Source, float], asked: str | None) -> str:
    first = asked
    for case, ratio in ratios.items():
        if THIN_RATIO[0] <= ratio <= THIN_RATIO[1]:
            kind = THIN
        elif ratio >= LEAST_THICK_RATIO:
            kind = THICK
        else:
            check_not_swapped(case)
            raise ValueError(
                f"a label's slice must be one of the scan's, or at least {LEAST_THICK_RATIO:g} where labels are thick, "
                f"got {ratio:.4g}: {case.label}"
            )
        first = first or kind
        if kind != first:
            raise ValueError(
                f"labels must be {first} {'as asked for' if asked else 'as those of the first case'}, and a slice of "
                f"this one has {ratio:.4g} of the scan's: {case.label}"
            )
    return first or THIN


def _whole_ratio(ratios: Mapping[Source, float]) -> int:
    factors = {}
    for case, ratio in ratios.items():
        factors[case] = round(ratio)
        if abs(ratio / round(ratio) - 1) > RATIO_TOLERANCE:
            raise ValueError(
                f"without a --factor a thick slice must have a whole number of thin ones, got {ratio:.4g}; with "
                f"--factor {round(ratio)} the scan is resampled to that: {case.label}"
            )
    (thinnest, low), (thickest, high) = (pick(factors.items(), key=lambda item: item[1]) for pick in (min, max))
    if low != high:
        raise ValueError(
            f"a dataset must have one --factor, and a thick slice has {low} thin ones in {thinnest.name} and {high} in "
            f"{thickest.name}: {thickest.label}"
        )
    return low
