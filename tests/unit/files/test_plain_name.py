"""Names that become part of a path."""

from __future__ import annotations

from typing import Any

import pytest

from nnunetv2_cfseg.files.plain_name import file_ending, fold_name, new_name, plain_name


@pytest.mark.parametrize("name", ["nnUNetPlans", "Dataset501_A b", "3d_fullres", "a..b", "Schädel", "x" * 255, "$(ls)"])
def test_plain_names(name: str) -> None:
    assert plain_name(name, "-p") == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/b", "/a", "a\\b", ".a", "a\nb", "a\x00", "\x1b[1m", "x" * 256, "ä" * 200, 3],
)
def test_other_names(name: Any) -> None:
    with pytest.raises(ValueError, match="-p must be a"):
        plain_name(name, "-p")


def test_new_names_are_plainer() -> None:
    assert new_name("nnUNetCFSegPlans_1.5GB-a", "-p") == "nnUNetCFSegPlans_1.5GB-a"
    for name in ("a b", "Schädel", "-a", ".a", "x" * 101, "$(ls)", ""):
        with pytest.raises(ValueError, match=r"^-p must be a plain name of letters"):
            new_name(name, "-p")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".nrrd", ".tar.gz.x"])
def test_endings(ending: str) -> None:
    assert file_ending(ending) == ending


@pytest.mark.parametrize("ending", ["", ".", "nii", "../.nii", ".nii/", ".n*", ".a.b.c.d", ".nii gz", "." + "x" * 30])
def test_what_is_no_ending(ending: Any) -> None:
    with pytest.raises(ValueError, match=r"must be an ending such as \.nii\.gz, got"):
        file_ending(ending)


@pytest.mark.parametrize(("fold", "name"), [("0", "0"), ("all", "all"), (3, "3"), ("12", "12")])
def test_folds(fold: Any, name: str) -> None:
    assert fold_name(fold) == name


@pytest.mark.parametrize("fold", ["", "../0", "-1", "1.5", "x", "all ", "00000", True, None, 1.0, -1, "\u0661"])
def test_what_is_no_fold(fold: Any) -> None:
    with pytest.raises(ValueError, match="-f must be a fold's number or all, got"):
        fold_name(fold)
