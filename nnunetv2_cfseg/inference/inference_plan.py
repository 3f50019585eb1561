"""What prediction needs of nnU-Net's plans and ``dataset.json``, without importing nnU-Net, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnunetv2_cfseg.files.schema import check_document, short
from nnunetv2_cfseg.imaging.orientation import RAS
from nnunetv2_cfseg.inference.logits_to_labels import LogitsToLabels
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.nnunet.dataset_json import IGNORE, DatasetJson, check_heads, is_of_regions, label_values
from nnunetv2_cfseg.nnunet.plans import NETWORK_CLASS, ConfigurationPlans, Intensities, NetworkSizes, Plans, resolve

RESAMPLING = "resample_torch_fornnunet"
REORIENTS = "NibabelIOWithReorient"
READERS = ("SimpleITKIO", "NibabelIO", REORIENTS)
SCHEMES = ("CTNormalization", "ZScoreNormalization", "NoNormalization")


@dataclass(frozen=True)
class InferencePlan:
    """A configuration of the plans with everything that prediction needs.

    Attributes:
        name: such as ``3d_fullres``.
        spacing_mm: z, y, x, axes as in the plans.
        transpose: nnU-Net's ``transpose_forward``.
        normalization: a scheme for each channel.
        intensity_properties: the foreground's statistics for each channel.
        force_separate_z: for resampling images, and for resampling logits.
        network: keyword arguments of the network.
        foreground_hu: lower and upper HU of foreground; None if the plans do not say.
        channel_names: of dataset.json, in order.
        labels: of dataset.json.
        regions_class_order: of dataset.json; None if labels are not regions.
        file_ending: of dataset.json.
        reorients: whether nnU-Net's reader turns every file to RAS.
        storage_order: order of axes in the files that the model was trained on, such as ``LPS``; None if the plans do
            not say.
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
        return list(label_values({name: value for name, value in self.labels.items() if name != IGNORE}))

    @property
    def decision(self) -> LogitsToLabels:
        """The rule by which logits become labels."""
        return LogitsToLabels(self.regions_class_order)


def read_inference_plan(
    plans: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    name: str,
    *,
    plans_file: str = "plans.json",
    dataset_file: str = "dataset.json",
) -> InferencePlan:
    """Check the plans and dataset.json, and pick what prediction needs.

    Args:
        plans_file: file of the plans, for messages.
        dataset_file: file of ``dataset_json``, for messages.

    Raises:
        ValueError: there is no such configuration, the network is not this package's, an entry is missing or wrong, or
            only nnU-Net's own prediction can do what the plans ask for: a cascade, another resampling, another reader.
    """
    top = check_document(plans, Plans, plans_file)
    dataset = check_document(dataset_json, DatasetJson, dataset_file)
    check_heads(dataset, dataset_file)
    content = resolve(plans, name, plans_file)
    require_our_network(content, plans_file)
    settings = check_document(content, ConfigurationPlans, plans_file, at=f"configurations.{name}")
    _require_known(top, settings, plans_file)
    network = settings.architecture.arch_kwargs
    check_document(network, NetworkSizes, plans_file, at=f"configurations.{name}.architecture.arch_kwargs")
    section = CFSegSection.from_plans(content, file=plans_file, at=f"configurations.{name}.cfseg")
    channels = tuple((dataset.channel_names or dataset.modality or {}).values())
    if len(settings.normalization_schemes) != len(channels):
        raise ValueError(
            f"configurations.{name}.normalization_schemes must have one scheme for each of {len(channels)} channels of "
            f"{dataset_file}, got {len(settings.normalization_schemes)}: {plans_file}"
        )
    order = dataset.regions_class_order
    return InferencePlan(
        name=name,
        spacing_mm=settings.spacing,
        transpose=top.transpose_forward,
        normalization=tuple(settings.normalization_schemes),
        intensity_properties=_intensities(top, settings.normalization_schemes, plans_file),
        force_separate_z=(
            settings.resampling_fn_data_kwargs.force_separate_z,
            settings.resampling_fn_probabilities_kwargs.force_separate_z,
        ),
        network=network,
        foreground_hu=section.foreground_hu,
        channel_names=channels,
        labels=dataset_json["labels"],
        regions_class_order=tuple(order) if order is not None and is_of_regions(dataset) else None,
        file_ending=dataset.file_ending,
        reorients=top.image_reader_writer == REORIENTS,
        storage_order=RAS if top.image_reader_writer == REORIENTS else section.storage_order,
    )


def require_our_network(content: Mapping[str, Any], file: str) -> None:
    """Refuse a configuration, including what it inherits, that is for another network.

    Raises:
        ValueError: it is; the message names the network.
    """
    architecture = content.get("architecture")
    network = architecture.get("network_class_name") if isinstance(architecture, dict) else None
    if network != NETWORK_CLASS:
        name = network if isinstance(network, str) and network.isprintable() and len(network) < 200 else short(network)
        raise ValueError(
            f"the plans are for {name}, but cfseg predict needs a model of this package's network; use "
            f"nnUNetv2_predict: {file}"
        )


def _require_known(plans: Plans, settings: ConfigurationPlans, file: str) -> None:
    reader = plans.image_reader_writer
    resampling = {settings.resampling_fn_data, settings.resampling_fn_probabilities}
    unknown_resampling = sorted(map(short, resampling - {RESAMPLING}))
    unknown_schemes = sorted({short(scheme) for scheme in settings.normalization_schemes if scheme not in SCHEMES})
    for feature, supported in (
        (f"the image reader {short(reader)}", reader in READERS),
        (f"resampling with {', '.join(unknown_resampling)}", not unknown_resampling),
        (f"the normalisation {', '.join(unknown_schemes)}", not unknown_schemes),
        ("a cascade", not settings.previous_stage),
        ("normalisation within a mask", not any(settings.use_mask_for_norm)),
    ):
        if not supported:
            raise ValueError(
                f"the plans ask for {feature}, which cfseg predict does not support; use nnUNetv2_predict: {file}"
            )


def _intensities(plans: Plans, schemes: list[str], file: str) -> tuple[Mapping[str, float], ...]:
    """Intensity statistics of each channel; only those of ``CTNormalization`` are checked."""
    name = "foreground_intensity_properties_per_channel"
    properties = plans.foreground_intensity_properties_per_channel
    for channel, scheme in enumerate(schemes):
        if scheme == "CTNormalization":
            check_document(properties.get(str(channel), {}), Intensities, file, at=f"{name}.{channel}")
    return tuple(properties.get(str(channel), {}) for channel in range(len(schemes)))
