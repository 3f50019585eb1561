"""Training logs: their lines are nnU-Net's own, as its trainers write them."""

from __future__ import annotations

from math import isnan, nan
from pathlib import Path

import pytest

from nnunetv2_cfseg.evaluation.report.curves import Epoch, parse_log, read_training, read_trainings

#: Shortened in its middle; the blank after each line is nnU-Net's.
LOG = """
#######################################################################
Please cite the following paper when using nnU-Net:
Isensee, F., Jaeger, P. F., Kohl, S. A., Petersen, J., & Maier-Hein, K. H. (2021). nnU-Net
#######################################################################
 
2026-11-23 21:42:00.503134: do_dummy_2d_data_aug: False 
2026-11-23 21:42:00.508972: This split has 32 training and 8 validation cases. 

This is the configuration used by this training:
Configuration name: 3d_fullres
 {'data_identifier': 'nnUNetCFSegPlans_3d_fullres', 'batch_size': 2, 'patch_size': [40, 64, 40]} 
 
2026-11-23 21:42:00.969397:  
2026-11-23 21:42:00.969476: Epoch 0 
2026-11-23 21:42:00.969629: Current learning rate: 2e-05 
2026-11-23 21:42:55.166106: Training steps in this epoch: 272 
2026-11-23 21:43:00.998559: train_loss 0.383 
2026-11-23 21:43:00.998909: val_loss -0.022 
2026-11-23 21:43:00.999036: Pseudo dice [np.float32(0.0504), np.float32(nan), np.float32(0.346)] 
2026-11-23 21:43:00.999106: Epoch time: 60.03 s 
2026-11-23 21:43:01.023948: Yayy! New best EMA pseudo Dice: 0.11620000004768372 
2026-11-23 21:43:01.695951:  
2026-11-23 21:43:01.696193: Epoch 1 
2026-11-23 21:43:01.696302: Current learning rate: 0.00191 
2026-11-23 21:44:01.097639: train_loss nan 
2026-11-23 21:44:01.097798: val_loss -0.1678 
2026-11-23 21:44:01.097860: Pseudo dice [0.1036, 0.4568, 0.457] 
2026-11-23 21:44:01.097918: Epoch time: 59.4 s 
2026-11-23 21:44:02.097918: Epoch 2 
2026-11-23 21:44:02.196302: Current learning rate: 0.00182 
2026-11-23 21:45:01.144540: train_loss -0.0982 
"""


def epoch_lines(number: int, loss: float) -> str:
    stamp = "2026-11-23 21:42:00.5"
    return (
        f"{stamp}: Epoch {number} \n{stamp}: Current learning rate: 0.001 \n{stamp}: train_loss {loss} \n"
        f"{stamp}: val_loss {loss} \n{stamp}: Pseudo dice [0.5] \n{stamp}: Epoch time: 1.5 s \n"
    )


def write_log(fold: Path, name: str, *epochs: tuple[int, float], done: bool = False) -> None:
    fold.mkdir(parents=True, exist_ok=True)
    end = "2026-11-23 21:42:00.5: Training done. \n" if done else ""
    (fold / f"training_log_{name}.txt").write_text("".join(epoch_lines(*epoch) for epoch in epochs) + end)


def losses(fold: Path) -> list[tuple[int, float]]:
    return [(epoch.number, epoch.train_loss) for epoch in read_training(fold).epochs]


class TestLog:
    def test_gives_its_finished_epochs(self) -> None:
        first, second = parse_log(LOG)
        assert first.dice[0] == 0.0504
        assert isnan(first.dice[1])
        assert (first.train_loss, first.val_loss, first.learning_rate, first.seconds) == (0.383, -0.022, 2e-05, 60.03)
        assert isnan(second.train_loss)
        assert second.dice == (0.1036, 0.4568, 0.457)

    def test_means_over_classes_that_have_a_dice(self) -> None:
        assert parse_log(LOG)[0].mean_dice == pytest.approx((0.0504 + 0.346) / 2)
        assert isnan(Epoch(0, 1, 1, (nan, nan), 1, 1).mean_dice)

    def test_of_something_else_holds_no_epoch(self) -> None:
        assert parse_log("Epoch 3\ntrain_loss 0.5\nEpoch time: 3 s\n") == []
        assert parse_log("2026-11-23 21:43:00.9: Epoch time: 60.03 s \n") == []

    def test_may_lack_numbers(self) -> None:
        (epoch,) = parse_log("2026-1-2 1:2:3.4: Epoch 7 \n2026-1-2 1:2:3.4: Epoch time: what s \n")
        assert epoch.number == 7
        assert epoch.dice == ()
        assert all(isnan(value) for value in (epoch.train_loss, epoch.val_loss, epoch.learning_rate, epoch.seconds))


class TestFold:
    def test_goes_on_where_its_checkpoint_stood(self, tmp_path: Path) -> None:
        write_log(tmp_path, "2026_11_23_21_33_03", (0, 0.9), (1, 0.8), (2, 0.7))
        write_log(tmp_path, "2026_11_23_21_33_04", (2, 0.6), (3, 0.5), done=True)
        assert losses(tmp_path) == [(0, 0.9), (1, 0.8), (2, 0.6), (3, 0.5)]
        assert read_training(tmp_path).done

    def test_begun_again_forgets_the_first_training(self, tmp_path: Path) -> None:
        write_log(tmp_path, "2026_11_23_21_33_03", (0, 0.9), (1, 0.8), done=True)
        write_log(tmp_path, "2026_11_23_22_00_00", (0, 0.7))
        assert losses(tmp_path) == [(0, 0.7)]
        assert not read_training(tmp_path).done

    def test_logs_are_in_order_of_time_not_of_letters(self, tmp_path: Path) -> None:
        write_log(tmp_path, "2026_10_2_21_33_03", (0, 0.2))
        write_log(tmp_path, "2026_9_30_21_33_03", (0, 0.1))
        assert losses(tmp_path) == [(0, 0.2)]

    def test_a_log_of_validation_alone_changes_nothing(self, tmp_path: Path) -> None:
        write_log(tmp_path, "2026_11_23_21_33_03", (0, 0.9), done=True)
        (tmp_path / "training_log_2026_11_24_00_00_00.txt").write_text("2026-11-24 00:00:00.1: predicting case_1 \n")
        assert losses(tmp_path) == [(0, 0.9)]
        assert read_training(tmp_path).done

    def test_bytes_that_are_no_text_do_not_stop_it(self, tmp_path: Path) -> None:
        write_log(tmp_path, "2026_11_23_21_33_03", (0, 0.9))
        file = tmp_path / "training_log_2026_11_23_21_33_03.txt"
        file.write_bytes(b"\xff\xfe\n" + file.read_bytes())
        assert losses(tmp_path) == [(0, 0.9)]


class TestModel:
    def test_gives_its_folds_in_order(self, tmp_path: Path) -> None:
        for fold in ("fold_all", "fold_10", "fold_2"):
            write_log(tmp_path / fold, "2026_11_23_21_33_03", (0, 0.9))
        (tmp_path / "fold_3").mkdir()
        write_log(tmp_path / "fold_of_paper", "2026_11_23_21_33_03", (0, 0.9))
        assert [training.fold for training in read_trainings(tmp_path)] == ["2", "10", "all"]

    def test_without_a_finished_epoch_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "fold_0").mkdir()
        (tmp_path / "fold_0" / "training_log_2026_11_23_21_33_03.txt").write_text("2026-1-2 1:2:3.4: Epoch 0 \n")
        with pytest.raises(ValueError, match=r"no fold_X/training_log_\*.txt with a finished epoch .*: "):
            read_trainings(tmp_path)
