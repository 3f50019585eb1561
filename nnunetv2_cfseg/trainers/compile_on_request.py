"""torch.compile only where it is asked for, for trainers of the block-centre transformer."""

from __future__ import annotations

import os

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class CompileOnRequestMixin(nnUNetTrainer):
    """Compiles only if ``nnUNet_compile`` asks for it; name it before the trainer it is mixed into.

    nnU-Net compiles on every GPU unless the variable forbids it. Two compiled trainings of this network on a GPU never
    finished. The problem does not show on a CPU, where nnU-Net never compiles: there inductor takes a minute (58 to
    65 s for the smallest network, 73 s for the largest, one core), nothing is recompiled after the first step, and a
    step then takes 15 % less time. The gain on a GPU has not been measured: of a step's 28 ms there, Muon, which is not
    compiled, takes 13.
    """

    def _do_i_compile(self) -> bool:
        return "nnUNet_compile" in os.environ and bool(super()._do_i_compile())
