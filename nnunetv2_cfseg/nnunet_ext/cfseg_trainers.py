"""What ``nnUNet_extTrainer`` points at: names only.

nnU-Net imports every module of that folder under a name of its own. A folder that held the package itself would
yield a second copy of each class, which cannot be unpickled; a folder of re-exports yields the real ones.
"""

from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.thin_thick import nnUNetTrainerCFSegThinThick
from nnunetv2_cfseg.trainers.timed import nnUNetTrainer_timed
from nnunetv2_cfseg.trainers.variants import (
    nnUNetTrainerCFSeg_5epochs,
    nnUNetTrainerCFSeg_20epochs,
    nnUNetTrainerCFSeg_100epochs,
    nnUNetTrainerCFSeg_250epochs,
    nnUNetTrainerCFSeg_timed,
    nnUNetTrainerCFSegThinThick_timed,
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
    "nnUNetTrainer_timed",
]
