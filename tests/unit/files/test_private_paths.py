"""Paths in pages and records: they lead, and tell nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_cfseg.files import private_paths
from nnunetv2_cfseg.files.private_paths import seen_from


@pytest.fixture(autouse=True)
def _user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_paths.getpass, "getuser", lambda: "anna")
    monkeypatch.setattr(private_paths.Path, "home", lambda: Path("/home/anna"))


@pytest.mark.parametrize(
    ("file", "folder", "expected"),
    [
        ("/data/study/scans/a.nii.gz", "/data/study/pred", "../scans/a.nii.gz"),
        ("/data/study/pred", "/data/study/pred", "."),
        ("/home/anna/study/scans", "/home/anna/study/pred", "../scans"),
        ("/home/anna/scans", "/home/anna/study/anna", "../../scans"),
        ("/scratch/anna/scans", "/scratch/out", None),  # the user's name
        ("/home/anna/scans", "/home/bob/out", None),
        ("/mnt/scans", "/tmp/out", None),  # would spell the whole path
        ("/mnt/scans", "/", None),
        ("/", "/tmp/out", "../.."),
    ],
)
def test_a_path_leads_from_its_folder(file: str, folder: str, expected: str | None) -> None:
    assert seen_from(Path(file), Path(folder)) == expected


def test_links_are_kept_where_they_lead_there(tmp_path: Path) -> None:
    for name in ("disk/scans", "study/pred"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "study" / "scans").symlink_to(tmp_path / "disk" / "scans")
    (tmp_path / "page").symlink_to(tmp_path / "study" / "pred")
    assert seen_from(tmp_path / "study/scans", tmp_path / "study/pred") == "../scans"
    assert seen_from(tmp_path / "study/scans/a.nii", tmp_path / "study/pred") == "../scans/a.nii"
    # "../study/scans" would lead nowhere from where page really is.
    assert seen_from(tmp_path / "study/scans", tmp_path / "page") == "../../disk/scans"


def test_a_user_without_a_name_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(private_paths.getpass, "getuser", nobody)
    monkeypatch.setattr(private_paths.Path, "home", nobody)
    assert seen_from(Path("/data/anna/scans"), Path("/data/out")) == "../anna/scans"
