"""Losses for segmentation and for thin-thick training; needs only torch."""

from nnunetv2_cfseg.losses.label_space import LabelSpace
from nnunetv2_cfseg.losses.segmentation import SegmentationLoss
from nnunetv2_cfseg.losses.thin_thick import ThinThickLoss, ThinThickSettings

__all__ = ["LabelSpace", "SegmentationLoss", "ThinThickLoss", "ThinThickSettings"]
