"""The package's trainers, re-exported for ``nnUNet_extTrainer``.

nnU-Net imports every module of that folder under another module name. If the folder held the trainers themselves, each
class would get a second copy, which cannot be unpickled; re-exports give the real classes.
"""

from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.compact import nnUNetTrainerCompact
from nnunetv2_cfseg.trainers.thin_thick import nnUNetTrainerCFSegThinThick
from nnunetv2_cfseg.trainers.timed import nnUNetTrainer_timed
from nnunetv2_cfseg.trainers.variants import (
    nnUNetTrainerCFSeg_5epochs,
    nnUNetTrainerCFSeg_20epochs,
    nnUNetTrainerCFSeg_100epochs,
    nnUNetTrainerCFSeg_250epochs,
    nnUNetTrainerCFSeg_timed,
    nnUNetTrainerCFSegThinThick_timed,
    nnUNetTrainerCompact_timed,
)

__all__ = [
    "nnUNetTrainerCFSeg",
    "nnUNetTrainerCFSegThinThick",
    "nnUNetTrainerCFSegThinThick_timed",
    "nnUNetTrainerCFSeg_5epochs",
    "nnUNetTrainerCFSeg_20epochs",
    "nnUNetTrainerCFSeg_100epochs",
    "nnUNetTrainerCFSeg_250epochs",
    "nnUNetTrainerCFSeg_timed",
    "nnUNetTrainerCompact",
    "nnUNetTrainerCompact_timed",
    "nnUNetTrainer_timed",
]
