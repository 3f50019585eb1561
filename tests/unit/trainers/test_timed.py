"""Training by the clock: the budget, the share spent, and the loop, on a clock that the tests move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_cfseg.demo import progress
from nnunetv2_cfseg.trainers import timed
from nnunetv2_cfseg.trainers.timed import BUDGET_VARIABLE, WallClockBudgetMixin, read_time_budget_s


class TestBudget:
    def test_must_be_set(self) -> None:
        with pytest.raises(ValueError, match=f"{BUDGET_VARIABLE} is not set"):
            read_time_budget_s()

    @pytest.mark.parametrize("text", ["", "0", "-5", "20 min", "nan", "inf", "-inf"])
    def test_must_be_a_positive_number(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv(BUDGET_VARIABLE, text)
        with pytest.raises(ValueError, match=f"^{BUDGET_VARIABLE} must be a positive number of seconds, got '{text}'$"):
            read_time_budget_s()

    @pytest.mark.parametrize(("text", "seconds"), [("1200", 1200.0), ("0.5", 0.5), ("1e3", 1000.0)])
    def test_is_read_in_seconds(self, monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
        monkeypatch.setenv(BUDGET_VARIABLE, text)
        assert read_time_budget_s() == seconds


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Logger:
    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {"epoch_start_timestamps": [], "epoch_end_timestamps": []}

    def get_value(self, key: str, step: int | None) -> list[float]:
        assert step is None
        return self.values[key]


class FakeTrainer(nnUNetTrainer):
    """nnU-Net's trainer as far as the loop touches it; steps move the clock instead of training."""

    def __init__(self, *args: Any) -> None:
        self.clock: Clock = args[0]["clock"]
        self.is_ddp = False
        self.local_rank = 0
        self.output_folder = args[0]["folder"]
        self.logger = Logger()
        self.current_epoch = 0
        self.num_epochs = 1000
        self.step_s, self.validation_s, self.start_s = 1.0, 0.5, 0.0
        self.positions: list[float] = []
        self.epochs: list[dict[str, int]] = []
        self.ended = False
        self.dataloader_train = iter(int, 1)
        self.dataloader_val = iter(int, 1)

    def on_train_start(self) -> None:
        self.clock.now_s += self.start_s

    def on_epoch_start(self) -> None:
        self.logger.values["epoch_start_timestamps"].append(self.clock())

    def on_train_epoch_start(self) -> None: ...

    def train_step(self, batch: Any) -> dict[str, float]:
        self.positions.append(self.schedule_position())
        self.clock.now_s += self.step_s
        return {"loss": 0.0}

    def on_train_epoch_end(self, outputs: list[dict]) -> None:
        self.epochs.append({"steps": len(outputs)})

    def on_validation_epoch_start(self) -> None: ...

    def validation_step(self, batch: Any) -> dict[str, float]:
        self.clock.now_s += self.validation_s
        return {}

    def on_validation_epoch_end(self, outputs: list[dict]) -> None:
        self.epochs[-1]["validations"] = len(outputs)

    def on_epoch_end(self) -> None:
        self.logger.values["epoch_end_timestamps"].append(self.clock())
        self.current_epoch += 1

    def on_train_end(self) -> None:
        self.ended = True

    def print_to_log_file(self, *args: Any) -> None: ...


class TimedTrainer(WallClockBudgetMixin, FakeTrainer):
    pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timed, "monotonic", clock)
    return clock


@pytest.fixture
def trainer(clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TimedTrainer:
    monkeypatch.setenv(BUDGET_VARIABLE, "200")
    return TimedTrainer({"clock": clock, "folder": str(tmp_path)}, "3d_fullres", 0, {})


class TestLoop:
    def test_cuts_the_budget_into_slices(self, trainer: TimedTrainer, clock: Clock) -> None:
        trainer.run_training()
        assert trainer.ended
        assert trainer.current_epoch == trainer.num_epochs == progress.EPOCHS == 10
        # A slice is 20 s: 19 s of steps of 1 s each, then 1 s of validation in steps of 0.5 s.
        assert trainer.epochs == [{"steps": 19, "validations": 2}] * 10
        assert clock.now_s == 1200

    def test_does_not_count_what_comes_before_the_first_epoch(self, trainer: TimedTrainer, clock: Clock) -> None:
        trainer.start_s = 500.0
        trainer.run_training()
        assert len(trainer.positions) == 10 * 19
        assert clock.now_s == 1700

    def test_makes_a_step_and_a_validation_even_where_one_takes_longer_than_a_slice(
        self, trainer: TimedTrainer, clock: Clock
    ) -> None:
        trainer.step_s, trainer.validation_s = 45.0, 15.0
        trainer.run_training()
        assert trainer.epochs == [{"steps": 1, "validations": 1}] * 4  # 240 s: the fourth begins before the end
        assert clock.now_s == 1240

    def test_goes_on_where_the_log_stands(self, trainer: TimedTrainer, clock: Clock) -> None:
        trainer.logger.values = {"epoch_start_timestamps": [10.0, 900.0], "epoch_end_timestamps": [60.0, 960.0]}
        trainer.current_epoch = 2  # 110 s of 200 are spent
        trainer.run_training()
        assert clock.now_s == pytest.approx(1090)
        assert trainer.positions[0] == pytest.approx(10 * 110 / 200)

    def test_goes_on_where_a_checkpoint_stands_whatever_the_log_says(self, trainer: TimedTrainer, clock: Clock) -> None:
        """The log's times are of a clock that may be set: here it went back by a minute within an epoch."""
        trainer.logger.values = {"epoch_start_timestamps": [10.0, 900.0], "epoch_end_timestamps": [60.0, 850.0]}
        trainer.current_epoch = 2
        trainer.load_training_state({"spent_s": 110.0})
        trainer.run_training()
        assert clock.now_s == pytest.approx(1090)
        assert trainer.positions[0] == pytest.approx(10 * 110 / 200)

    def test_notes_the_seconds_of_all_sessions(self, trainer: TimedTrainer, clock: Clock) -> None:
        assert trainer.training_state() == {"spent_s": 0.0}
        trainer.load_training_state({"spent_s": 30.0})
        trainer._start_clock()
        clock.now_s += 12
        assert trainer.training_state() == {"spent_s": 42.0}

    @pytest.mark.parametrize("state", [{}, {"spent_s": -1}, {"spent_s": float("nan")}, {"spent_s": "7"}])
    def test_reads_the_log_where_a_checkpoint_does_not_say(self, trainer: TimedTrainer, state: dict[str, Any]) -> None:
        trainer.logger.values = {"epoch_start_timestamps": [10.0, 900.0], "epoch_end_timestamps": [60.0, 850.0]}
        trainer.load_training_state(state)
        trainer._start_clock()
        assert trainer.spent_s() == 50.0

    def test_is_not_moved_by_a_clock_that_is_set(
        self, trainer: TimedTrainer, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = iter(range(10**9, 0, -60))
        monkeypatch.setattr("time.time", lambda: float(next(now)))
        trainer.run_training()
        assert clock.now_s == 1200

    def test_ends_at_once_where_the_budget_is_spent(self, trainer: TimedTrainer) -> None:
        trainer.logger.values = {"epoch_start_timestamps": [0.0], "epoch_end_timestamps": [200.0]}
        trainer.current_epoch = 10
        trainer.run_training()
        assert trainer.ended
        assert trainer.epochs == []


class TestScheduleFollowsTheClock:
    def test_in_epochs(self, trainer: TimedTrainer) -> None:
        trainer.run_training()
        assert trainer.positions[0] == 0
        assert trainer.positions[1] == pytest.approx(10 * 1 / 200)
        assert trainer.positions == sorted(trainer.positions)
        assert trainer.positions[-1] == pytest.approx(10 * 198 / 200)

    def test_but_never_to_its_very_end_where_the_rate_is_zero(self, trainer: TimedTrainer, clock: Clock) -> None:
        trainer.on_train_start()
        trainer._start_clock()
        clock.now_s += 5000
        assert trainer.fraction_spent() == 1
        assert trainer.schedule_position() < 10

    def test_and_has_not_begun_before_training(self, trainer: TimedTrainer, clock: Clock) -> None:
        clock.now_s += 5000
        assert trainer.fraction_spent() == 0
