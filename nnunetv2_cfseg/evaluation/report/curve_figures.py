"""Charts of a training: losses, pseudo Dice and learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from nnunetv2_cfseg.evaluation.report.class_colours import OKABE_ITO, class_colours
from nnunetv2_cfseg.evaluation.report.curves import Epoch, Training
from nnunetv2_cfseg.evaluation.report.line_chart import lines
from nnunetv2_cfseg.evaluation.report.number_format import MINUS, NOTHING, seconds
from nnunetv2_cfseg.evaluation.report.page import CurvesFigure, Look, TrainingFigures

INK, ACCENT = "var(--ink)", "var(--accent)"


def training_figures(training: Training, names: Sequence[str]) -> TrainingFigures:
    """Losses, pseudo Dice and learning rate over the epochs of a fold.

    Args:
        training: a training with at least one epoch.
        names: names of the model's foreground classes.
    """
    epochs = training.epochs
    total = sum(epoch.seconds for epoch in epochs if isfinite(epoch.seconds))
    each = total / len(epochs)
    ended = "" if training.done else "; its last log does not say that training ended"
    words = f"{_count(len(epochs))} of {seconds(each)} on average, {seconds(total)} together{ended}."
    best = max(epochs, key=lambda epoch: epoch.mean_dice if isfinite(epoch.mean_dice) else -1.0)
    if isfinite(best.mean_dice):
        words += f" Mean pseudo Dice was highest in epoch {best.number}: {best.mean_dice:.3f}."
    charts = (_losses(epochs), _dice(epochs, names), _rate(epochs))
    return TrainingFigures(f"Fold {training.fold}", words, charts)


def _losses(epochs: Sequence[Epoch]) -> CurvesFigure:
    series = [
        ("training", [epoch.train_loss for epoch in epochs]),
        ("validation", [epoch.val_loss for epoch in epochs]),
    ]
    looks = (Look(ACCENT), Look(OKABE_ITO[5], "hued dash1"))
    return _figure("Loss", "as the trainer defines it; less is better", epochs, series, looks, "{:.3f}")


def _dice(epochs: Sequence[Epoch], names: Sequence[str]) -> CurvesFigure:
    count = max(len(epoch.dice) for epoch in epochs)
    names = names if len(names) == count else [f"class {number}" for number in range(1, count + 1)]
    nothing = [float("nan")] * count
    values = [epoch.dice if len(epoch.dice) == count else nothing for epoch in epochs]
    series = [(name, [epoch_dice[index] for epoch_dice in values]) for index, name in enumerate(names)]
    looks = [
        Look(colour, f"hued dash{min(index // len(OKABE_ITO), 2)}", index + 1)
        for index, colour in enumerate(class_colours(count))
    ]
    series.append(("mean", [epoch.mean_dice for epoch in epochs]))
    looks.append(Look(INK, "bold"))
    return _figure("Pseudo Dice", "more is better", epochs, series, looks, "{:.3f}")


def _rate(epochs: Sequence[Epoch]) -> CurvesFigure:
    series = [("learning rate", [epoch.learning_rate for epoch in epochs])]
    return _figure("Learning rate", "when an epoch begins", epochs, series, (Look(ACCENT),), "{:.2g}")


def _figure(
    title: str,
    aside: str,
    epochs: Sequence[Epoch],
    series: Sequence[tuple[str, Sequence[float]]],
    looks: Sequence[Look],
    style: str,
) -> CurvesFigure:
    drawn = lines([epoch.number for epoch in epochs], series)
    lasts = [style.format(line.last).replace("-", MINUS) if isfinite(line.last) else NOTHING for line in drawn.lines]
    ends = ", ".join(f"{line.name} {last}" for line, last in zip(drawn.lines, lasts, strict=True))
    words = f"{title} over {_count(len(epochs))}; at the end {ends}"
    return CurvesFigure(title, aside, words, drawn, looks, lasts)


def _count(epochs: int) -> str:
    return f"{epochs} {'epoch' if epochs == 1 else 'epochs'}"
