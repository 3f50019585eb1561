"""What prediction needs of nnU-Net's plans and ``dataset.json``, without importing nnU-Net, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnunetv2_cfseg.imaging.orientation import RAS, checked_order
from nnunetv2_cfseg.inference.label_slices import Decision
from nnunetv2_cfseg.trainers.plans import NETWORK_CLASS

RESAMPLING = "resample_torch_fornnunet"
REORIENTS = "NibabelIOWithReorient"
READERS = ("SimpleITKIO", "NibabelIO", REORIENTS)


@dataclass(frozen=True)
class Configuration:
    """A configuration of the plans, complete.

    Attributes:
        name: such as ``3d_fullres``.
        spacing_mm: z, y, x, axes as in the plans.
        transpose: nnU-Net's ``transpose_forward``.
        normalization: a scheme for each channel.
        intensity_properties: the foreground's statistics for each channel.
        force_separate_z: of resampling images, and logits.
        network: what the network is built from.
        foreground_hu: between which foreground lies; None where the plans do not say.
        channel_names: of dataset.json, in order.
        labels: of dataset.json.
        regions_class_order: of dataset.json, where labels are regions.
        file_ending: of dataset.json.
        reorients: whether nnU-Net's reader turns every file to RAS.
        storage_order: which way axes run in the files that it was trained on, such as ``LPS``; None where the plans
            do not say.
    """

    name: str
    spacing_mm: tuple[float, float, float]
    transpose: tuple[int, int, int]
    normalization: tuple[str, ...]
    intensity_properties: tuple[Mapping[str, float], ...]
    force_separate_z: tuple[bool | None, bool | None]
    network: Mapping[str, Any]
    foreground_hu: tuple[float, float] | None
    channel_names: tuple[str, ...]
    labels: Mapping[str, Any] = field(repr=False)
    regions_class_order: tuple[int, ...] | None
    file_ending: str
    reorients: bool = False
    storage_order: str | None = None

    @property
    def is_ct(self) -> bool:
        """Whether every channel is CT."""
        return all(scheme == "CTNormalization" for scheme in self.normalization)

    @property
    def heads(self) -> int:
        """P, outputs of the network."""
        return len(self.decision.region_labels) if self.decision.region_labels is not None else len(self.label_values)

    @property
    def label_values(self) -> list[int]:
        """All label values, background included, ``ignore`` left out, sorted."""
        named = [value for name, value in self.labels.items() if name != "ignore"]
        return sorted({int(v) for value in named for v in (value if isinstance(value, list | tuple) else [value])})

    @property
    def decision(self) -> Decision:
        """How its logits become labels."""
        return Decision(self.regions_class_order)


def read_configuration(plans: Mapping[str, Any], dataset_json: Mapping[str, Any], name: str) -> Configuration:
    """Pick what prediction needs.

    Raises:
        ValueError: no such configuration, another network than this package's, or what only nnU-Net's own prediction
            can do: a cascade, another resampling, another reader;
            or an entry that is missing or makes no sense.
    """
    try:
        return _read(plans, dataset_json, name)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"plans.json and dataset.json must be nnU-Net's, and an entry is missing or odd: {error!r}"
        ) from error


def _read(plans: Mapping[str, Any], dataset_json: Mapping[str, Any], name: str) -> Configuration:
    content = resolve(plans, name)
    if content.get("architecture", {}).get("network_class_name") != NETWORK_CLASS:
        raise ValueError(
            f"cfseg predict needs a model of this package's network, and the plans are for "
            f"{content.get('architecture', {}).get('network_class_name', 'another')}; use nnUNetv2_predict"
        )
    reader = plans["image_reader_writer"]
    resampling = {content["resampling_fn_data"], content["resampling_fn_probabilities"]}
    for what, ok in (
        (f"the image reader {reader}", reader in READERS),
        (f"resampling with {', '.join(sorted(resampling - {RESAMPLING}))}", resampling == {RESAMPLING}),
        ("a cascade", not content.get("previous_stage")),
        ("normalisation within a mask", not any(content["use_mask_for_norm"])),
    ):
        if not ok:
            raise ValueError(f"cfseg predict does not know {what}, which the plans ask for; use nnUNetv2_predict")
    z, y, x = (float(mm) for mm in content["spacing"])
    channels = tuple(dataset_json.get("channel_names", dataset_json.get("modality", {})).values())
    properties = plans["foreground_intensity_properties_per_channel"]
    labels = dataset_json["labels"]
    has_regions = any(isinstance(value, list | tuple) and len(value) > 1 for value in labels.values())
    hu = content.get("cfseg", {}).get("foreground_hu")
    return Configuration(
        name=name,
        spacing_mm=(z, y, x),
        transpose=_axes(plans["transpose_forward"]),
        normalization=tuple(content["normalization_schemes"]),
        intensity_properties=tuple(properties.get(str(channel), {}) for channel in range(len(channels))),
        force_separate_z=(
            content["resampling_fn_data_kwargs"].get("force_separate_z"),
            content["resampling_fn_probabilities_kwargs"].get("force_separate_z"),
        ),
        network=content["architecture"]["arch_kwargs"],
        foreground_hu=None if hu is None else (float(hu[0]), float(hu[1])),
        channel_names=channels,
        labels=labels,
        regions_class_order=tuple(dataset_json["regions_class_order"]) if has_regions else None,
        file_ending=dataset_json["file_ending"],
        reorients=reader == REORIENTS,
        storage_order=RAS if reader == REORIENTS else _order(content.get("cfseg", {}).get("storage_order")),
    )


def resolve(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration with what it inherits.

    Raises:
        ValueError: it is not in the plans.
    """
    configurations = plans["configurations"]
    if name not in configurations:
        raise ValueError(f"the configuration must be one of {', '.join(configurations)}, got {name}")
    own = dict(configurations[name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**resolve(plans, parent), **own}


def _order(order: Any) -> str | None:
    return None if order is None else checked_order(order)


def _axes(values: Sequence[int]) -> tuple[int, int, int]:
    z, y, x = (int(value) for value in values)
    return z, y, x
