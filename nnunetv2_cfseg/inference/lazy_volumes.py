"""Volumes that are read a few slices at a time, so that none has to be in memory as a whole.

A pipeline is a chain of them: a scan on the grid of the plans, the same scan flipped or continued beyond its ends, a
network's logits on it, the mean of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from nnunetv2_cfseg.networks.beyond_scan import BeyondScan


class LazyVolume(Protocol):
    """A volume of C channels that is computed when it is read.

    Attributes:
        shape: (Z, Y, X).
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...  # noqa: D102

    def read(self, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop``, (C, stop - start, Y, X); reading them in order is cheapest."""
        ...


class InMemoryVolume:
    """A tensor (C, Z, Y, X) as a :class:`LazyVolume`."""

    def __init__(self, volume: Tensor) -> None:
        self.volume = volume
        z, y, x = volume.shape[1:]
        self.shape = (z, y, x)

    def read(self, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop``, (C, stop - start, Y, X), as a view of the tensor."""
        return self.volume[:, start:stop]


class Flipped:
    """Another volume, mirrored along some of its axes (0 z, 1 y, 2 x)."""

    def __init__(self, source: LazyVolume, axes: Sequence[int]) -> None:
        self.source = source
        self.shape = source.shape
        self.axes = tuple(axes)

    def read(self, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop`` of the mirrored volume, (C, stop - start, Y, X), as a copy."""
        if 0 in self.axes:
            start, stop = self.shape[0] - stop, self.shape[0] - start
        return self.source.read(start, stop).flip([axis + 1 for axis in self.axes])


class Continued:
    """Another volume, continued beyond its ends.

    Args:
        source: the volume.
        beyond_scan: what it is continued with.
        pads: voxels to add before and behind each axis, z, y, x.
    """

    def __init__(self, source: LazyVolume, beyond_scan: BeyondScan, pads: Sequence[tuple[int, int]]) -> None:
        self.source = source
        self.beyond_scan = beyond_scan
        self.pads = list(pads)
        z, y, x = (size + before + behind for size, (before, behind) in zip(source.shape, pads, strict=True))
        self.shape = (z, y, x)

    def read(self, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop`` of the continued volume, (C, stop - start, Y, X), as a copy."""
        size, (before, behind) = self.source.shape[0], self.pads[0]
        if self.beyond_scan.shows_scan:
            places = self.beyond_scan.places(size, before, behind)[start:stop]
            first = int(places.min())
            window = self.source.read(first, int(places.max()) + 1)
            window = window.index_select(1, (places - first).to(window.device))
            return self.beyond_scan.extend(window, [(0, 0), *self.pads[1:]])
        low, high = (min(max(z - before, 0), size) for z in (start, stop))
        missing = min(max(before - start, 0), stop - start)
        window = self.source.read(low, high)
        return self.beyond_scan.extend(window, [(missing, stop - start - missing - (high - low)), *self.pads[1:]])


class Mean:
    """The mean of several volumes of one shape."""

    def __init__(self, sources: Sequence[LazyVolume]) -> None:
        self.sources = sources
        self.shape = sources[0].shape

    def read(self, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop`` of the mean, (C, stop - start, Y, X)."""
        total = self.sources[0].read(start, stop)
        if len(self.sources) == 1:
            return total
        total = total.clone()
        for source in self.sources[1:]:
            total += source.read(start, stop)
        return total.div_(len(self.sources))


def read_all(source: LazyVolume) -> Tensor:
    """The whole volume, (C, Z, Y, X), for tests and small volumes."""
    with torch.inference_mode():
        return source.read(0, source.shape[0])
