"""A scan on the grid of the plans, normalised and resampled slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunetv2_cfseg.inference.intensity import Intensity
from nnunetv2_cfseg.inference.resampling import AxisResampling


class ResampledScan:
    """Normalised intensities at another spacing, equal to normalising and resampling the whole scan.

    Only voxels next to a sample are read, so a scan that is much finer than the plans costs little.

    Args:
        channels: C arrays (Z, Y, X) of any numeric type, axes as in the plans.
        maps: to the grid of the plans, for each axis.
        intensities: normalisation of each channel.
    """

    def __init__(
        self,
        channels: Sequence[NDArray[Any]],
        maps: tuple[AxisResampling, AxisResampling, AxisResampling],
        intensities: Sequence[Intensity],
    ) -> None:
        self.channels = channels
        self.maps = maps
        self.intensities = intensities
        z, y, x = (axis.size for axis in maps)
        self.shape = (z, y, x)

    def read(self, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop``, (C, stop - start, Y, X) float32."""
        axis = self.maps[0]
        first, second, weight = (part[start:stop] for part in (axis.first, axis.second, axis.weight))
        needed, index_of = torch.unique(torch.cat([first, second]), return_inverse=True)
        out = torch.empty(len(self.channels), stop - start, *self.shape[1:])
        for index, (channel, intensity) in enumerate(zip(self.channels, self.intensities, strict=True)):
            slices = self._in_plane(channel[needed.numpy()], intensity)
            before, after = slices[index_of[: len(first)]], slices[index_of[len(first) :]]
            torch.lerp(before, after, weight[:, None, None], out=out[index])
        return out

    def _in_plane(self, slices: NDArray[Any], intensity: Intensity) -> Tensor:
        """Normalise slices (Z, Y, X) of the scan and resample them in the plane, (Z, Y', X')."""
        y, x = self.maps[1:]
        rows = intensity.normalise(_tensor(slices[:, y.first.numpy()]))
        if y.interpolates:
            after = intensity.normalise(_tensor(slices[:, y.second.numpy()]))
            rows = torch.lerp(rows, after, y.weight[:, None])
        columns = rows.index_select(2, x.first)
        return torch.lerp(columns, rows.index_select(2, x.second), x.weight) if x.interpolates else columns


def _tensor(array: NDArray[Any]) -> Tensor:
    """A tensor of the values, converted to a type that torch supports."""
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if native.dtype in (np.uint16, np.uint32, np.uint64):
        native = native.astype(np.float32 if native.dtype == np.uint16 else np.float64)
    return torch.from_numpy(native)
