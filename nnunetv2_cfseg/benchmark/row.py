"""A row of a benchmark: a way to train and predict, or existing predictions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnunetv2_cfseg.benchmark import limits
from nnunetv2_cfseg.benchmark.limits import LONGEST_NAME, short

#: Commands that predict: nnU-Net's, or ours, which only takes models of this package's network.
PREDICTORS = ("nnUNetv2_predict", "cfseg predict")
#: Our planners, which are run by ``cfseg plan_and_preprocess``.
OUR_PLANNERS = ("CFSegPlanner", "CompactPlanner", "ThinThickPlanner")
#: Those of them that have presets.
PRESET_PLANNERS = ("CFSegPlanner", "ThinThickPlanner")
NNUNET_PLANNER = "ExperimentPlanner"
#: Labels that a row may name; empty for the dataset's own.
LABELS = ("", "thin")
#: Settings that only rows that train have, and only rows that predict.
OF_TRAINING = ("planner", "preset", "plans", "configuration", "changes", "labels", "after")
OF_PREDICTION = ("predict", "arguments")
#: A folder below another one: plain names separated by slashes.
FOLDER = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*", re.ASCII)


@dataclass(frozen=True)
class Row:
    """A way to train and predict, or existing predictions.

    Attributes:
        name: its name in tables.
        trainer: name of the trainer; empty for a row that trains nothing.
        planner: makes the plans if they do not exist; if empty, nnU-Net's planner, or none if ``plans`` are named.
        preset: preset of the network, for our planners; if empty, the planner's own.
        plans: name of the plans; if empty, it is made from planner, preset and memory target.
        configuration: configuration of the plans; if empty, the benchmark's.
        predict: one of PREDICTORS.
        arguments: additional flags for ``predict``.
        changes: changes to the plans' configuration, such as ``architecture.arch_kwargs.depth: 2``, for which new
            plans are written.
        datasets: datasets that the row is for; if empty, all of the benchmark's.
        labels: ``thin`` trains on the thin labels of a dataset of pairs; if empty, on the dataset's own labels.
        after: name of the row whose weights it starts from, except for the last layer, as with nnU-Net's
            ``-pretrained_weights``.
        model: instead of a trainer: a model folder below the dataset's folder in ``nnUNet_results``, of which the
            cell's fold predicts.
        predictions: instead of a trainer: a folder below the raw dataset's, such as ``labelsTs``, to score as it is.
    """

    name: str
    trainer: str = ""
    planner: str = ""
    preset: str = ""
    plans: str = ""
    configuration: str = ""
    predict: str = "nnUNetv2_predict"
    arguments: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    labels: str = ""
    after: str = ""
    model: str = ""
    predictions: str = ""

    def __post_init__(self) -> None:
        limits.check_title(self.name, self.slug if isinstance(self.name, str) else "")
        if not (self.model or self.predictions):
            limits.check_class_name(self.trainer, f"the trainer of row {self.name}")
        if self.planner:
            limits.check_class_name(self.planner, f"the planner of row {self.name}")
        for setting in ("preset", "plans", "configuration"):
            if getattr(self, setting):
                limits.check_plain(getattr(self, setting), f"{setting} of row {self.name}")
        for dataset in self.datasets:
            limits.check_plain(dataset, f"a dataset of row {self.name}")
        if self.predict not in PREDICTORS:
            predictors = " or ".join(PREDICTORS)
            raise ValueError(f"predict must be {predictors}, got {self.predict}: row {self.name}")
        limits.check_arguments(self.arguments, self.name)
        limits.check_changes(self.changes, self.name)
        _check_labels(self)
        _check_kind(self)

    @property
    def slug(self) -> str:
        """The name in a form that a folder can have."""
        return re.sub(r"[^0-9A-Za-z]+", "_", self.name).strip("_")

    def is_for(self, dataset: str) -> bool:
        """Whether the row is for a dataset of the benchmark."""
        return not self.datasets or dataset in self.datasets


def _check_kind(row: Row) -> None:
    """Check that a row has a trainer, an existing model or existing predictions, and only settings of that kind.

    Raises:
        ValueError: it has none or several of them, or settings of another kind.
    """
    kinds = [name for name in ("trainer", "model", "predictions") if getattr(row, name)]
    if len(kinds) != 1:
        given = " and ".join(kinds) or "none of them"
        raise ValueError(f"a row must have a trainer, a model or predictions, got {given}: row {row.name}")
    if kinds == ["trainer"]:
        return
    _check_folder(getattr(row, kinds[0]), f"{kinds[0]} of row {row.name}")
    foreign = OF_TRAINING if kinds == ["model"] else (*OF_TRAINING, *OF_PREDICTION)
    if used := [name for name in foreign if getattr(row, name) != _default(name)]:
        raise ValueError(f"a row with {kinds[0]} trains nothing and cannot have {', '.join(used)}: row {row.name}")


def _check_folder(folder: Any, what: str) -> None:
    """Check a folder, which must lie in the dataset's folder.

    Raises:
        ValueError: the path might lead elsewhere.
    """
    if not isinstance(folder, str) or len(folder) > LONGEST_NAME or not FOLDER.fullmatch(folder):
        raise ValueError(f"{what} must be a folder below the dataset's, of plain names, got {short(folder)}")


def _check_labels(row: Row) -> None:
    """Check which labels a row is trained on.

    Raises:
        ValueError: there are no such labels.
    """
    if row.labels not in LABELS:
        raise ValueError(f"labels must be thin or left out, got {short(row.labels)}: row {row.name}")


def _default(name: str) -> Any:
    return Row.__dataclass_fields__[name].default if name != "changes" else {}
