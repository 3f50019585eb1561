"""Bars follow files and nnU-Net's log."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nnunetv2_cfseg.demo import progress
from nnunetv2_cfseg.demo.progress import Files, TrainingLog, bar, pseudo_dice

STAMP = "2026-11-23 18:42:38.362538"
EPOCH = f"""
{STAMP}: Epoch {{number}}
{STAMP}: Current learning rate: 0.00088
{STAMP}: Pseudo dice [{{dice}}]
{STAMP}: Epoch time: 5.12 s
"""


@pytest.mark.parametrize(
    ("dice", "mean"),
    [
        ("np.float32(0.25), np.float32(0.75)", 0.5),
        ("0.25, 0.75", 0.5),
        ("np.float32(nan), np.float32(0.5)", 0.5),
        ("np.float32(1e-04), np.float32(0.0)", 0.00005),
        ("np.float64(1.0)", 1.0),
        ("nan", None),
    ],
)
def test_mean_of_the_last_pseudo_dice(dice: str, mean: float | None) -> None:
    log = EPOCH.format(number=0, dice="0.9") + EPOCH.format(number=1, dice=dice)
    assert pseudo_dice(log) == pytest.approx(mean) if mean is not None else pseudo_dice(log) is None


def test_no_pseudo_dice_before_the_first_epochs_end() -> None:
    assert pseudo_dice(f"{STAMP}: Epoch 0\n") is None


class TestTrainingLog:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        return tmp_path / "training_log_2026_11_23_18_41_20.txt"

    def test_has_nothing_to_show_before_there_is_a_log(self, tmp_path: Path) -> None:
        watcher = TrainingLog(tmp_path / "missing", 200)
        assert (watcher.position(), watcher.note(), watcher.total) == (0, "", 200)

    def test_follows_epochs_and_the_clock_between_them(
        self, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: now)
        watcher = TrainingLog(tmp_path, 200)  # slices of 20 s
        log.write_text(f"{STAMP}: Epoch 0\n")
        assert watcher.position() == 0
        now = 104
        assert watcher.position() == 4
        now = 190  # a late line in the log is no reason to run ahead
        assert watcher.position() == 20
        log.write_text(EPOCH.format(number=0, dice="0.5") + f"{STAMP}: Epoch 1\n")
        assert (watcher.position(), watcher.note()) == (20, "pseudo Dice 0.500")

    def test_is_full_while_nnunet_validates(self, log: Path, tmp_path: Path) -> None:
        watcher = TrainingLog(tmp_path, 200)
        log.write_text(EPOCH.format(number=9, dice="0.5") + f"{STAMP}: Training done.\n")
        assert watcher.position() == 200
        log.write_text(log.read_text() + f"{STAMP}: predicting phantom_003\n")
        assert (watcher.position(), watcher.note()) == (200, "validating 1/2")

    def test_does_not_look_at_the_log_of_an_earlier_run(self, log: Path, tmp_path: Path) -> None:
        log.write_text(EPOCH.format(number=7, dice="0.5"))
        os.utime(log, (time.time() - 60,) * 2)
        watcher = TrainingLog(tmp_path, 200)
        assert (watcher.position(), watcher.note()) == (0, "")
        (tmp_path / "training_log_2.txt").write_text(EPOCH.format(number=8, dice="0.7"))
        assert watcher.note() == "pseudo Dice 0.700"


def test_files_are_counted_up_to_the_total(tmp_path: Path) -> None:
    watcher = Files(tmp_path, "a/*.nii.gz", "b/*.nii.gz", total=3)
    assert watcher.position() == 0
    for name in ("a/1.nii.gz", "b/2.nii.gz", "b/other.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert watcher.position() == 2
    for number in range(4):
        (tmp_path / "a" / f"more_{number}.nii.gz").write_text("")
    assert watcher.position() == 3


class TestBar:
    def test_shows_position_and_note(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "training_log_1.txt").write_text("")
        watcher = TrainingLog(tmp_path, 200)
        with bar(watcher) as shown:
            assert shown is not None
            (tmp_path / "training_log_1.txt").write_text(EPOCH.format(number=5, dice="0.25"))
            shown.update()
        err = capsys.readouterr().err
        assert "100/200 s" in err
        assert "pseudo Dice 0.250" in err
        assert "200/200 s" in err.split("\r")[-1]

    def test_is_not_full_when_the_step_is_stopped(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(KeyboardInterrupt), bar(Files(tmp_path, "*", total=3)):
            raise KeyboardInterrupt
        assert "3/3" not in capsys.readouterr().err

    def test_writes_few_lines_into_a_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with bar(Files(tmp_path, "*", total=3)) as shown:
            assert shown is not None
            for _ in range(100):
                shown.update()
        assert capsys.readouterr().err.count("\r") < 6

    def test_is_optional(self, capsys: pytest.CaptureFixture[str]) -> None:
        with bar(None) as shown:
            assert shown is None
        assert capsys.readouterr().err == ""
