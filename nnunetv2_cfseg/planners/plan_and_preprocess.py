"""Fingerprint, plan and preprocess datasets with this package's planners and nnU-Net's own functions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from nnunetv2_cfseg.data.pairing.sidecar import SIDECAR
from nnunetv2_cfseg.errors.error_sentence import is_out_of_memory
from nnunetv2_cfseg.imaging.notices import say
from nnunetv2_cfseg.networks import presets
from nnunetv2_cfseg.nnunet.dataset_json import read_raw_dataset_json
from nnunetv2_cfseg.nnunet.datasets import Dataset, find_dataset
from nnunetv2_cfseg.planners.cfseg_planner import PLANS_NAME, CFSegPlanner
from nnunetv2_cfseg.planners.check_cases import check_cases
from nnunetv2_cfseg.planners.compact_planner import COMPACT_PLANS_NAME, CompactPlanner
from nnunetv2_cfseg.planners.flags import check_flags
from nnunetv2_cfseg.planners.pools import ending_with_us
from nnunetv2_cfseg.planners.raw_files import training_cases
from nnunetv2_cfseg.planners.recipe_planner import RecipePlanner
from nnunetv2_cfseg.planners.splits import check_splits, say_what_folds_lack
from nnunetv2_cfseg.planners.thin_thick_planner import THIN_THICK_PLANS_NAME, ThinThickPlanner
from nnunetv2_cfseg.planners.thin_thick_preprocessor import ThinThickPreprocessor

#: Planners by name, each with the name of its plans and the configurations that it preprocesses.
PLANNERS: dict[str, tuple[type[RecipePlanner], str, tuple[str, ...]]] = {
    "CFSegPlanner": (CFSegPlanner, PLANS_NAME, ("3d_fullres", "3d_lowres")),
    "CompactPlanner": (CompactPlanner, COMPACT_PLANS_NAME, ("3d_fullres",)),
    "ThinThickPlanner": (ThinThickPlanner, THIN_THICK_PLANS_NAME, ("3d_fullres",)),
}


def plan_and_preprocess(
    dataset_ids: Sequence[int],
    *,
    planner: str = "CFSegPlanner",
    preset: str | None = None,
    gpu_memory_target_gb: float | None = None,
    overwrite_target_spacing: Sequence[float] | None = None,
    plans_name: str | None = None,
    configurations: Sequence[str] | None = None,
    num_processes: Sequence[int] = (4,),
    num_processes_fingerprint: int = 8,
    verify_dataset_integrity: bool = False,
    clean: bool = False,
    preprocess: bool = True,
    verbose: bool = False,
    progress: bool = True,
    assume_hu: bool = False,
) -> None:
    """Do what ``nnUNetv2_plan_and_preprocess`` does, with one of this package's planners.

    Args:
        planner: a name in ``PLANNERS``.
        preset: the network; None for the planner's own.
        plans_name: name of the plans; None for the planner's own.
        configurations: which to preprocess; None for all that the planner plans.
        assume_hu: do not check that CTs are in HU.

    Raises:
        ValueError: the input is bad, which is found before anything is written, or nnU-Net refuses a dataset.
        OSError: the disk is full; plans are then complete or unchanged, and preprocessed files are removed.
        ChildProcessError: a process was killed.
    """
    planner_class, own_plans_name, own_configurations = _planner(planner)
    plans_name = own_plans_name if plans_name is None else plans_name
    configurations = own_configurations if configurations is None else configurations
    _check_configurations(configurations, own_configurations, num_processes, planner)
    check_flags(
        dataset_ids,
        plans_name=plans_name,
        gpu_memory_target_gb=gpu_memory_target_gb,
        overwrite_target_spacing=overwrite_target_spacing,
        num_processes=num_processes,
        num_processes_fingerprint=num_processes_fingerprint,
    )
    run = _Run(
        planner=_with_preset(planner_class, preset),
        gpu_memory_target_gb=gpu_memory_target_gb,
        overwrite_target_spacing=overwrite_target_spacing,
        plans_name=plans_name,
        configurations=configurations,
        num_processes=num_processes,
        num_processes_fingerprint=num_processes_fingerprint,
        verify_dataset_integrity=verify_dataset_integrity,
        clean=clean,
        verbose=verbose,
        progress=progress,
        assume_hu=assume_hu,
    )
    for dataset_id in dataset_ids:
        _check_dataset(find_dataset(dataset_id, what="-d"), run)
    for dataset_id in dataset_ids:
        with ending_with_us(), _in_one_sentence(dataset_id):
            _plan(dataset_id, run)
            if preprocess:
                _preprocess(dataset_id, run)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The checked arguments of :func:`plan_and_preprocess`; ``planner`` is a class that has its preset."""

    planner: type[RecipePlanner]
    gpu_memory_target_gb: float | None
    overwrite_target_spacing: Sequence[float] | None
    plans_name: str
    configurations: Sequence[str]
    num_processes: Sequence[int]
    num_processes_fingerprint: int
    verify_dataset_integrity: bool
    clean: bool
    verbose: bool
    progress: bool
    assume_hu: bool

    @property
    def for_pairs(self) -> bool:
        """Whether the datasets are pairs of thin and thick slices."""
        return issubclass(self.planner, ThinThickPlanner)


def _check_dataset(dataset: Dataset, run: _Run) -> None:
    """Check a raw dataset's files, folds and cases, and warn about folds and about pairs planned as single scans."""
    raw, preprocessed = dataset.raw, dataset.preprocessed
    cases = _find_cases(dataset, run.plans_name, clean=run.clean)
    check_splits(raw, preprocessed, cases)
    dataset_json = read_raw_dataset_json(raw / "dataset.json")
    check_cases(
        cases,
        dataset_json,
        num_processes=run.num_processes_fingerprint,
        progress=run.progress,
        assume_hu=run.assume_hu,
    )
    say_what_folds_lack(raw, preprocessed, cases)
    if not run.for_pairs and (raw / SIDECAR).is_file():
        say("this is a dataset of pairs; paired training needs -pl ThinThickPlanner")


def _plan(dataset_id: int, run: _Run) -> None:
    """Write a dataset's fingerprint and plans."""
    extract_fingerprint_dataset(
        dataset_id,
        num_processes=run.num_processes_fingerprint,
        check_dataset_integrity=run.verify_dataset_integrity,
        clean=run.clean,
        verbose=run.verbose,
        show_progress_bar=run.progress,
    )
    plan_experiment_dataset(
        dataset_id,
        run.planner,
        gpu_memory_target_in_gb=run.gpu_memory_target_gb,
        overwrite_target_spacing=run.overwrite_target_spacing,
        overwrite_plans_name=run.plans_name,
    )


@contextmanager
def _in_one_sentence(dataset_id: int) -> Iterator[None]:
    """Turn nnU-Net's own errors, which run over several lines, into one sentence each."""
    try:
        yield
    except (AssertionError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        if "background worker" in str(error):
            raise ChildProcessError(
                f"one of nnU-Net's processes ended before its work was done, usually because memory ran out; use fewer "
                f"processes (-np, -npfp): dataset {dataset_id}"
            ) from error
        if "NDArray" in str(error):  # blosc2 gives no other reason
            raise OSError(
                f"a preprocessed scan cannot be written ({_one_line(error)}), as on a full disk: {nnUNet_preprocessed}"
            ) from error
        raise ValueError(f"nnU-Net refuses dataset {dataset_id}: {_one_line(error)}") from error
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a failed write does not name its file
            raise OSError(error.errno, error.strerror, str(nnUNet_preprocessed)) from error
        raise


@contextmanager
def _whole_or_nothing(dataset_id: int, plans_name: str, configurations: Sequence[str]) -> Iterator[None]:
    """Remove the configurations' preprocessed files after an error: training would not notice missing cases."""
    preprocessed = find_dataset(dataset_id).preprocessed
    plans = json.loads((preprocessed / f"{plans_name}.json").read_text())
    try:
        yield
    except BaseException:
        for name in configurations:
            if name in plans["configurations"]:
                folder = PlansManager(plans).get_configuration(name).data_identifier
                shutil.rmtree(preprocessed / folder, ignore_errors=True)
        raise


def _with_preset(planner: type[RecipePlanner], preset: str | None) -> type[RecipePlanner]:
    """The planner with another preset; an unknown one is refused now, not after an hour of reading scans."""
    if preset is None:
        return planner
    if not issubclass(planner, CFSegPlanner):
        raise ValueError(
            f"-preset is for CFSegPlanner and ThinThickPlanner, got {preset!r} with -pl {planner.__name__}"
        )
    presets.preset(preset)
    return type(planner.__name__, (planner,), {"preset_name": preset})


def _planner(name: str) -> tuple[type[RecipePlanner], str, tuple[str, ...]]:
    if name not in PLANNERS:
        raise ValueError(f"-pl must be one of {', '.join(PLANNERS)}, got {name!r}")
    return PLANNERS[name]


def _preprocess(dataset_id: int, run: _Run) -> None:
    """Preprocess a dataset, with our own preprocessor if it has pairs of thin and thick slices."""
    with _whole_or_nothing(dataset_id, run.plans_name, run.configurations):
        if run.for_pairs:
            _preprocess_pairs(dataset_id, run)
        else:
            preprocess_dataset(
                dataset_id,
                run.plans_name,
                list(run.configurations),
                list(run.num_processes),
                run.verbose,
                run.progress,
            )


def _preprocess_pairs(dataset_id: int, run: _Run) -> None:
    # nnU-Net's own function only finds preprocessors in its own package.
    preprocessor = ThinThickPreprocessor(verbose=run.verbose)
    preprocessor.show_progress_bar = run.progress
    preprocessor.run(dataset_id, "3d_fullres", run.plans_name, run.num_processes[0])
    preprocess_dataset(dataset_id, run.plans_name, [], [run.num_processes[0]])  # only copies the labels


def _check_configurations(
    configurations: Sequence[str], known: Sequence[str], num_processes: Sequence[int], planner: str
) -> None:
    for name in configurations:
        if name not in known:
            raise ValueError(
                f"{planner} only preprocesses {' and '.join(known)}, got {name!r}; for 2d and 3d_cascade_fullres use "
                f"nnU-Net's own nnUNetv2_plan_and_preprocess and nnUNetTrainer"
            )
    if len(num_processes) not in (1, len(configurations)):
        raise ValueError(
            f"-np must have one number or one for each of {list(configurations)}, got {list(num_processes)}"
        )


def _find_cases(dataset: Dataset, plans_name: str, *, clean: bool) -> dict[str, Any]:
    """Find a dataset's training cases, after checking its dataset.json and the files of earlier runs."""
    folder, preprocessed = dataset.raw, dataset.preprocessed
    dataset_json = read_raw_dataset_json(folder / "dataset.json")
    _check_labels(dataset_json, folder / "dataset.json")
    _check_whole(preprocessed / f"{plans_name}.json")
    if not clean:
        _check_whole(preprocessed / "dataset_fingerprint.json")
    if "dataset" in dataset_json:  # it names the files itself
        cases = get_filenames_of_train_images_and_targets(str(folder), dataset_json)
    else:
        cases = dict(training_cases(folder, dataset_json))
    if not cases:
        raise ValueError(f"the raw dataset has no training cases: {folder}")
    return cases


def _check_whole(file: Path) -> None:
    """Refuse an incomplete file of an earlier run: nnU-Net would reuse it, and a killed process may have left it."""
    try:
        whole = not file.is_file() or isinstance(json.loads(file.read_text()), dict)
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"the file is from an earlier run and incomplete; remove it: {file}")


def _check_labels(dataset_json: dict[str, Any], file: Path) -> None:
    """Refuse labels that nnU-Net would refuse later."""
    try:
        labels = LabelManager(dataset_json["labels"], dataset_json.get("regions_class_order"))
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"nnU-Net cannot train on these labels ({_one_line(error)}): {file}") from error
    values = [int(value) for value in labels.all_labels]
    if values != list(range(len(values))):
        raise ValueError(f"labels must be consecutive (0, 1, 2, ...), got {values}: {file}")


def _one_line(error: Exception) -> str:
    """The message on one line; nnU-Net's messages run over several."""
    return " ".join(str(error).split())
