"""Volumes that are read some slices at a time, so that none of them has to be held whole.

A pipeline is a chain of them: a scan on the grid of the plans, the same flipped or shifted, the logits of a network on
it, the mean of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Slices(Protocol):
    """A volume of C channels.

    Attributes:
        shape: (Z, Y, X).
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...  # noqa: D102

    def read(self, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop``, (C, stop - start, Y, X); reading them in order is cheapest."""
        ...


class WholeVolume:
    """A tensor (C, Z, Y, X) that is in memory."""

    def __init__(self, volume: Tensor) -> None:
        self.volume = volume
        z, y, x = volume.shape[1:]
        self.shape = (z, y, x)

    def read(self, start: int, stop: int) -> Tensor:
        """A view."""
        return self.volume[:, start:stop]


class Flipped:
    """Another volume, mirrored along some of its axes (0 z, 1 y, 2 x)."""

    def __init__(self, source: Slices, axes: Sequence[int]) -> None:
        self.source = source
        self.shape = source.shape
        self.axes = tuple(axes)

    def read(self, start: int, stop: int) -> Tensor:
        """A copy."""
        if 0 in self.axes:
            start, stop = self.shape[0] - stop, self.shape[0] - start
        return self.source.read(start, stop).flip([axis + 1 for axis in self.axes])


class Padded:
    """Another volume behind some voxels of zero, which is what nnU-Net pads with, at the beginning of each axis."""

    def __init__(self, source: Slices, voxels: Sequence[int]) -> None:
        self.source = source
        self.voxels = tuple(voxels)
        z, y, x = (size + added for size, added in zip(source.shape, self.voxels, strict=True))
        self.shape = (z, y, x)

    def read(self, start: int, stop: int) -> Tensor:
        """A copy."""
        z, y, x = self.voxels
        window = self.source.read(max(start - z, 0), max(stop - z, 0))
        return F.pad(window, (x, 0, y, 0, stop - start - window.shape[1], 0))


class Unpadded:
    """Another volume without some voxels at the beginning of each axis."""

    def __init__(self, source: Slices, voxels: Sequence[int]) -> None:
        self.source = source
        self.voxels = tuple(voxels)
        z, y, x = (size - left_out for size, left_out in zip(source.shape, self.voxels, strict=True))
        self.shape = (z, y, x)

    def read(self, start: int, stop: int) -> Tensor:
        """A view."""
        z, y, x = self.voxels
        return self.source.read(start + z, stop + z)[:, :, y:, x:]


class Mean:
    """The mean of several volumes of one shape."""

    def __init__(self, sources: Sequence[Slices]) -> None:
        self.sources = sources
        self.shape = sources[0].shape

    def read(self, start: int, stop: int) -> Tensor:
        """A new tensor."""
        total = self.sources[0].read(start, stop)
        if len(self.sources) == 1:
            return total
        total = total.clone()
        for source in self.sources[1:]:
            total += source.read(start, stop)
        return total.div_(len(self.sources))


def read_all(source: Slices) -> Tensor:
    """The whole volume, (C, Z, Y, X): for tests and small ones."""
    with torch.inference_mode():
        return source.read(0, source.shape[0])
