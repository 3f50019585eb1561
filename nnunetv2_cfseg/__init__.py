"""Convolution-free segmentation of 3D CT, an extension of nnU-Net v2."""

#: The only place of the version: pyproject.toml reads it, and a test compares CITATION.cff and CHANGELOG.md with it.
__version__ = "0.2.0"
