"""Volumes in space: where their voxels lie, which way their axes run, and the files that hold them.

Imports neither torch nor nnunetv2. No other module of the package calls an image reader or writer of its own.
"""
