"""Convolution-free segmentation of 3D CT, an extension of nnU-Net v2."""

__version__ = "0.1.0"
