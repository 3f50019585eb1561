"""Our network trained by nnU-Net's recipe, to tell what the network gains from what the recipe gains."""

from __future__ import annotations

import torch

from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.compile_on_request import CompileOnRequestMixin
from nnunetv2_cfseg.trainers.timed import nnUNetTrainer_timed


class nnUNetTrainer_CFSegNetwork_timed(CompileOnRequestMixin, nnUNetTrainer_timed):
    """The network of ``nnUNetCFSegPlans`` on whole crops, with nnU-Net's SGD and augmentation, stopped by the clock."""

    build_network_architecture = staticmethod(nnUNetTrainerCFSeg.build_network_architecture)

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Do nothing, as the network has a single output."""
