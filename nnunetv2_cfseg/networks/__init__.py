"""Networks without convolution; needs only torch."""

from nnunetv2_cfseg.networks.block_center import BlockCenterTransformer

__all__ = ["BlockCenterTransformer"]
