"""The order of axes that a model was trained in, for plans of earlier versions, which do not say."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.imaging.notices import say
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.imaging.storage_orders import storage_orders
from nnunetv2_cfseg.inference.inference_plan import InferencePlan
from nnunetv2_cfseg.inference.model import Model


def with_storage_order(model: Model) -> Model:
    """Return the model with a storage order: its plans', or that of all files of its raw dataset, or LPS.

    An assumed order is reported once.
    """
    configuration = model.configuration
    if configuration.storage_order is not None:
        return model
    order = _of_raw_dataset(model.plans, configuration)
    say(
        f"the model's plans do not say in which order its training scans store their axes; assuming {order or LPS}, "
        f"{'the order of all scans of its raw dataset' if order else 'as CT from DICOM mostly is'}. Other scans are "
        f"turned to it; cfseg plan_and_preprocess writes it into new plans"
    )
    return replace(model, configuration=replace(configuration, storage_order=order or LPS))


def _of_raw_dataset(plans: Any, configuration: InferencePlan) -> str | None:
    """The single order of its training images; None if they are missing, unreadable or have several."""
    name = str(plans.get("dataset_name", ""))
    raw = os.environ.get("nnUNet_raw")
    if not raw or not name or Path(name).name != name:
        return None
    folder = Path(raw) / name / "imagesTr"
    try:
        orders = storage_orders(sorted(folder.glob(f"[!.]*{configuration.file_ending}")))
    except (ValueError, OSError):
        return None
    return next(iter(orders)) if len(orders) == 1 else None
