"""Networks without convolution; needs torch alone."""

from nnunetv2_cfseg.networks.block_center import BlockCenterTransformer

__all__ = ["BlockCenterTransformer"]
