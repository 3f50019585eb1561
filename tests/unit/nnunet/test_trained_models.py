"""The models of a dataset in words."""

from __future__ import annotations

from pathlib import Path

from nnunetv2_cfseg.nnunet.trained_models import describe_models


def make(folder: Path, name: str, *folds: str, checkpoint: str = "checkpoint_final.pth") -> None:
    (folder / name).mkdir(parents=True)
    for fold in folds:
        (folder / name / f"fold_{fold}").mkdir()
        (folder / name / f"fold_{fold}" / checkpoint).touch()


def test_models_with_their_folds(tmp_path: Path) -> None:
    assert describe_models(tmp_path / "nowhere", "checkpoint_final.pth") == "there is none"
    make(tmp_path, "B__P__3d_fullres", "1", "0")
    assert describe_models(tmp_path, "checkpoint_final.pth") == "there is B__P__3d_fullres (folds 0, 1)"
    make(tmp_path, "A__P__3d_fullres", "all")
    make(tmp_path, "C__P__2d", "0", checkpoint="checkpoint_latest.pth")
    (tmp_path / "crossval_results").mkdir()
    assert describe_models(tmp_path, "checkpoint_final.pth") == (
        "there are A__P__3d_fullres (fold all), B__P__3d_fullres (folds 0, 1), "
        "C__P__2d (no fold with checkpoint_final.pth)"
    )


def test_only_some_of_many(tmp_path: Path) -> None:
    for number in range(12):
        make(tmp_path, f"T__P{number:02d}__3d_fullres", "0")
    assert describe_models(tmp_path, "checkpoint_final.pth").endswith("T__P09__3d_fullres (fold 0), 2 more")
