"""``nnUNetTrainerCompact``: our recipe for nnU-Net's own networks.

Half an hour on a CPU is enough for a small U-Net if every step counts: small crops, most of them with foreground whose
class is drawn evenly, AdamW with a warm-up, CT seen through windows and augmented in HU, mirrors only where labels name
no side, bfloat16 where the processor multiplies it natively. ``CompactPlanner`` plans a U-Net of that size.
"""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn

from nnunetv2_cfseg.networks.windowed import Windowed
from nnunetv2_cfseg.networks.windows import WindowBank
from nnunetv2_cfseg.nnunet.cfseg_section import COMPACT_FOREGROUND_FRACTION, SECTION, CFSegSection
from nnunetv2_cfseg.nnunet.plans import NETWORK_CLASS, resolve
from nnunetv2_cfseg.nnunet.sides import sided_names
from nnunetv2_cfseg.trainers.one_sentence import one_sentence
from nnunetv2_cfseg.trainers.optimization import mixed_precision
from nnunetv2_cfseg.trainers.recipe import RecipeTrainer


class CompactRecipe(RecipeTrainer):
    """The recipe for networks that segment whole crops; name it before the trainer it is mixed into.

    Plans without a ``cfseg`` section, such as nnU-Net's own, have no windows, and HU are not changed there.
    """

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        with one_sentence():
            planned = resolve(plans, configuration, "the plans")
            self.section = CFSegSection.from_plans(planned) if SECTION in planned else None
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.oversample_foreground_percent = self.foreground_fraction()
        self.probabilistic_oversampling = True

    def foreground_fraction(self) -> float:
        """Fraction of the crops around a foreground voxel, its class drawn evenly."""
        return COMPACT_FOREGROUND_FRACTION if self.section is None else self.section.foreground_fraction

    def _set_batch_size_and_oversample(self) -> None:
        """Set nnU-Net's batch size; with several processes each would round the fraction to whole crops."""
        super()._set_batch_size_and_oversample()
        self.oversample_foreground_percent = self.foreground_fraction()

    def initialize(self) -> None:
        """Do nnU-Net's initialisation; the log says if CT is seen without windows."""
        super().initialize()
        if self.window_channels() is None:
            self.print_to_log_file("The plans name no windows, so the network sees nnU-Net's normalised values.")

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The trainer's network, behind the windows that the plans name."""
        channels = _windows(configuration_manager.configuration)
        if channels is None:
            return super().build_network_architecture(
                plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
            )
        windowed = WindowBank(channels).out_channels
        network = super().build_network_architecture(
            plans_manager, configuration_manager, windowed, num_output_channels, enable_deep_supervision
        )
        return Windowed(network, channels)

    def build_optimizer(self) -> torch.optim.Optimizer:
        """AdamW; biases and norms have no weight decay."""
        parameters = list(self.network.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.initial_lr)

    def mirror_axes(self) -> tuple[int, ...] | None:
        """The axes that the plans allow; of plans without them none if a label names a side, else nnU-Net's."""
        if self.section is not None:
            return self.section.mirror_axes
        return () if sided_names(self.dataset_json["labels"]) else None

    def window_channels(self) -> list[dict[str, Any] | None] | None:
        """The windows that the plans name."""
        return _windows(self.configuration_manager.configuration)

    def loss_of(self, batch: dict) -> Tensor:
        """The loss of a batch.

        Args:
            batch: ``data`` (B, C, Z, Y, X) and ``target`` (B, 1 or R, Z, Y, X), a list of them for deep supervision.
        """
        target = batch["target"]
        data = batch["data"].to(self.device, non_blocking=True)
        target = (
            [part.to(self.device, non_blocking=True) for part in target]
            if isinstance(target, list)
            else target.to(self.device, non_blocking=True)
        )
        with mixed_precision(self.device):
            logits = self.network(data)
        logits = [part.float() for part in logits] if isinstance(logits, list | tuple) else logits.float()
        loss: Tensor = self.loss(logits, target)
        return loss


class nnUNetTrainerCompact(CompactRecipe, nnUNetTrainer):
    """nnU-Net's own networks with our recipe, for plans of ``CompactPlanner`` or any of nnU-Net's planners.

    Raises:
        ValueError: the plans are for the block-centre transformer.
    """

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        with one_sentence():
            architecture = resolve(plans, configuration, "the plans").get("architecture", {})
            if isinstance(architecture, dict) and architecture.get("network_class_name") == NETWORK_CLASS:
                raise ValueError(
                    f"{type(self).__name__} trains networks of nnU-Net's, but these plans are for {NETWORK_CLASS}; "
                    "train them with nnUNetTrainerCFSeg, or name plans of CompactPlanner"
                )
        super().__init__(plans, configuration, fold, dataset_json, device)


def _windows(configuration: dict[str, Any]) -> list[dict[str, Any] | None] | None:
    """The windows of each channel that the plans name; None if they name none."""
    section, architecture = configuration.get(SECTION), configuration.get("architecture")
    windows = section.get("windows") if isinstance(section, dict) else None
    if windows is None and isinstance(architecture, dict):  # plans of CFSegPlanner, for another network
        windows = architecture.get("arch_kwargs", {}).get("windows")
    return windows
