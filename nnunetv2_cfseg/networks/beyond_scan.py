"""What a block sees where it reaches beyond the ends of a scan.

A scan ends where the scanner stopped, not where the patient does. nnU-Net pads with zeros, which in normalised
intensity is the mean of the foreground: a tissue.

Shapes: C channels, Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: ``mean``: zeros, as in nnU-Net; ``edge``: the outermost voxels, repeated; ``air``: -1000 HU; ``reflect``: the scan
#: mirrored at its outermost voxels.
MODES = ("mean", "edge", "air", "reflect")
AIR_HU = -1000.0


@dataclass(frozen=True)
class BeyondScan:
    """How a scan is continued beyond its ends.

    Attributes:
        mode: one of :data:`MODES`.
        air: normalised intensity of air for each channel; needed for the mode ``air``.

    Raises:
        ValueError: an unknown mode, or ``air`` without its intensities.
    """

    mode: str = "mean"
    air: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"beyond_scan must be one of {', '.join(MODES)}, got {self.mode!r}")
        if self.mode == "air" and not self.air:
            raise ValueError("beyond_scan 'air' needs the intensity of air for each channel")

    @classmethod
    def of_windows(cls, mode: str, channels: Sequence[Mapping[str, Any] | None]) -> BeyondScan:
        """Make it from the channels of a :class:`~.windows.WindowBank`: the mean and std of their normalisation.

        Raises:
            ValueError: an unknown mode, or ``air`` with a channel that is not CT.
        """
        if mode != "air":
            return cls(mode)
        if not all(channels):
            raise ValueError(
                "beyond_scan 'air' needs CT windows for every channel, and the network has a channel without"
            )
        return cls(mode, tuple((AIR_HU - channel["mean"]) / channel["std"] for channel in channels if channel))

    @property
    def shows_scan(self) -> bool:
        """Whether voxels of the scan are repeated beyond its ends, rather than a constant."""
        return self.mode in ("edge", "reflect")

    def places(
        self, size: int, before: int, behind: int, *, first: int | Tensor = 0, last: int | Tensor | None = None,
        device: torch.device | None = None,
    ) -> Tensor:  # fmt: skip
        """Which voxel of an axis is seen at each place of the continued axis, (before + size + behind,) int64.

        Args:
            size: voxels of the axis.
            before: places before its first voxel.
            behind: places behind its last voxel.
            first: the first voxel that belongs to the scan.
            last: the last voxel that belongs to the scan; None for the last one of the axis.
            device: of the result.
        """
        places = torch.arange(-before, size + behind, device=device)
        first = torch.as_tensor(first, device=device)
        last = torch.as_tensor(size - 1 if last is None else last, device=device)
        if self.mode == "edge":
            return places.maximum(first).minimum(last)
        # Back and forth: 0 1 2 1 0 1 2 for three voxels; a single one is repeated.
        period = (2 * (last - first)).clamp_min(1)
        folded = torch.remainder(places - first, period)
        return first + torch.minimum(folded, period - folded).minimum(last - first)

    def extend(self, volume: Tensor, pads: Sequence[tuple[int, int]], *, zeros_end_it: bool = False) -> Tensor:
        """Continue a volume.

        Args:
            volume: (..., C, Z, Y, X) of any type.
            pads: voxels before and behind each axis, z, y, x.
            zeros_end_it: planes of zeros at the volume's ends lie beyond the scan as well: nnU-Net pads scans that are
                smaller than its tiles with them. Normalised CT has no other such planes. The mode ``mean`` leaves them
                as they are.

        Returns:
            (..., C, Z', Y', X'), the same tensor if nothing is added.
        """
        flat = [side for pad in reversed(pads) for side in pad]
        if self.mode == "mean":
            return F.pad(volume, flat) if any(flat) else volume
        ends: list[tuple[int | Tensor, int | Tensor | None]] = _ends(volume) if zeros_end_it else [(0, None)] * 3
        if self.mode == "air":
            return self._extend_with_air(volume, flat, ends if zeros_end_it else ())
        for axis, pad, (first, last) in zip((-3, -2, -1), pads, ends, strict=True):
            if any(pad) or zeros_end_it:
                places = self.places(volume.shape[axis], *pad, first=first, last=last, device=volume.device)
                volume = volume.index_select(axis, places)
        return volume

    def _extend_with_air(self, volume: Tensor, flat_pads: list[int], ends: Sequence[tuple[Any, Any]]) -> Tensor:
        air = torch.tensor(self.air, dtype=volume.dtype, device=volume.device)[:, None, None, None]
        for axis, (first, last) in zip((-3, -2, -1), ends, strict=False):
            places = torch.arange(volume.shape[axis], device=volume.device)
            outside = ((places < first) | (places > last)).view(-1, *[1] * (-axis - 1))
            volume = torch.where(outside, air, volume)
        if not any(flat_pads):
            return volume
        channels = zip(volume.unbind(-4), self.air, strict=True)
        return torch.stack([F.pad(channel, flat_pads, value=value) for channel, value in channels], dim=-4)


def _ends(volume: Tensor) -> list[tuple[Any, Any]]:
    """The first and last plane of each axis of (..., C, Z, Y, X) that is not zero; the axis' ends if all are zero."""
    filled = (volume != 0).flatten(0, -4).any(0)
    ends = []
    for axis, size in enumerate(filled.shape):
        planes = filled.movedim(axis, 0).flatten(1).any(1)
        places = torch.arange(size, device=volume.device)
        first, last = torch.where(planes, places, size).min(), torch.where(planes, places, -1).max()
        ends.append((torch.where(last < 0, 0, first), torch.where(last < 0, size - 1, last)))
    return ends


#: Padding with zeros, as in nnU-Net.
ZEROS = BeyondScan()
