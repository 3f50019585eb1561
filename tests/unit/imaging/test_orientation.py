"""Orders of axes, held against SimpleITK's and nibabel's."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.imaging.orientation import Turn, checked_order, order_of, turn
from nnunetv2_cfseg.imaging.read import read_geometry

ORDERS = ["".join(letters) for axes in permutations(("LR", "PA", "SI")) for letters in product(*axes)]


def scan() -> sitk.Image:
    image = sitk.GetImageFromArray(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6))
    image.SetSpacing((0.5, 1.5, 2.5))
    return image


@pytest.mark.parametrize("order", ORDERS)
def test_turning_is_simpleitks_and_comes_back(order: str) -> None:
    stored = sitk.DICOMOrient(scan(), order)
    values = sitk.GetArrayFromImage(stored)
    assert order_of(stored.GetDirection()) == order
    for to in ORDERS:
        how = turn(order, to=to)
        np.testing.assert_array_equal(how.apply(values), sitk.GetArrayFromImage(sitk.DICOMOrient(stored, to)))
        np.testing.assert_array_equal(how.undo(how.apply(values)), values)
        assert how.is_needed == (order != to)


def test_leading_axes_stay() -> None:
    values = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    how = turn("LPS", to="ASR")
    np.testing.assert_array_equal(how.apply(values)[1], how.apply(values[1]))
    np.testing.assert_array_equal(how.undo(how.apply(values)), values)


def test_nothing_is_copied() -> None:
    values = np.zeros((3, 4, 5))
    assert np.shares_memory(turn("LPS", to="ASR").apply(values), values)
    assert not Turn().is_needed


@given(st.floats(-180, 180), st.floats(-180, 180), st.floats(-180, 180))
def test_the_nearest_order_of_an_oblique_scan_is_simpleitks(one: float, two: float, three: float) -> None:
    turned = sitk.Euler3DTransform()
    turned.SetRotation(*np.radians([one, two, three]).tolist())
    size = np.sort(np.abs(np.reshape(turned.GetMatrix(), (3, 3))).ravel())
    if np.diff(size[-4:]).min() < 1e-3:  # two axes are as near, and which is taken is anybody's choice
        return
    expected = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(turned.GetMatrix())
    assert order_of(turned.GetMatrix()) == expected


@pytest.mark.parametrize("order", ORDERS)
def test_letters_mean_what_they_mean_to_nibabel(order: str, tmp_path: Path) -> None:
    file = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(scan(), order), str(file))
    assert "".join(nib.orientations.aff2axcodes(nib.load(file).affine)) == order
    assert read_geometry(file).order == order


@pytest.mark.parametrize("order", ["", "LP", "LPSX", "LRS", "lps", "LPP", "XYZ", None, 3])
def test_what_is_no_order_is_refused(order: object) -> None:
    with pytest.raises(ValueError, match="three letters"):
        checked_order(order)  # type: ignore[arg-type]
