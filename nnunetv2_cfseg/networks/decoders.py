"""From centre tokens to logits, a mask patch for each (Eq. 10).

Shapes: M blocks, N tokens and Q centre tokens a block, D width, P classes, w^3 voxels a patch, C windowed channels, F
features.
The output layers' names contain ``.seg_layers.``: nnU-Net's pretrained-weight loader skips exactly those.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DECODERS = ("linear", "voxel", "all_tokens")


class LinearDecoder(nn.Module):
    """A linear map from each centre token to w^3 x P logits (Eq. 10, the paper's)."""

    deep_supervision = False  # nnU-Net switches this on every network; there is one output here
    reads_all_tokens = False

    def __init__(self, embed_dim: int, num_classes: int, patch_voxels: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.seg_layers = nn.ModuleList([nn.Linear(embed_dim, num_classes * patch_voxels)])

    def forward(self, tokens: Tensor, voxels: Tensor) -> Tensor:
        """(M, Q, D) to (M, Q, P, w^3); ``voxels`` is not used."""
        return self.seg_layers[0](tokens).unflatten(-1, (self.num_classes, -1))


class AllTokensDecoder(nn.Module):
    """A linear map from all tokens of a block to the logits of its centre (Karimi et al. 2021).

    The number of weights grows with tokens times centre voxels, so it is for small blocks with a centre of one patch.
    """

    deep_supervision = False
    reads_all_tokens = True

    def __init__(self, embed_dim: int, num_classes: int, patch_voxels: int, *, tokens: int, centers: int) -> None:
        super().__init__()
        self.shape = (centers, num_classes, patch_voxels)
        self.seg_layers = nn.ModuleList([nn.Linear(tokens * embed_dim, centers * num_classes * patch_voxels)])

    def forward(self, tokens: Tensor, voxels: Tensor) -> Tensor:
        """(M, N, D) to (M, Q, P, w^3); ``voxels`` is not used."""
        return self.seg_layers[0](tokens.flatten(1)).unflatten(-1, self.shape)


class VoxelDecoder(nn.Module):
    """The linear map plus a pointwise MLP on the token's features of a voxel and the voxel's own intensities.

    A token alone cannot restore edges that its embedding blurred. Each voxel is decoded without its neighbours.
    """

    deep_supervision = False
    reads_all_tokens = False

    def __init__(
        self, embed_dim: int, num_classes: int, patch_voxels: int, *, in_channels: int, features: int, hidden: int
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.features = features
        self.voxel_features = nn.Linear(embed_dim, features * patch_voxels)
        self.mix = nn.Linear(features + in_channels, hidden)
        self.activation = nn.GELU()
        self.seg_layers = nn.ModuleList(
            [nn.Linear(embed_dim, num_classes * patch_voxels), nn.Linear(hidden, num_classes)]
        )

    def forward(self, tokens: Tensor, voxels: Tensor) -> Tensor:
        """(M, Q, D) and the centre's windowed intensities (M, Q, C, w^3) to (M, Q, P, w^3)."""
        features = self.voxel_features(tokens).unflatten(-1, (-1, self.features))  # (M, Q, w^3, F)
        joined = torch.cat([features, voxels.transpose(-1, -2).to(features.dtype)], dim=-1)
        pointwise = self.seg_layers[1](self.activation(self.mix(joined)))  # (M, Q, w^3, P)
        return self.seg_layers[0](tokens).unflatten(-1, (self.num_classes, -1)) + pointwise.transpose(-1, -2)


def build_decoder(
    kind: str,
    embed_dim: int,
    num_classes: int,
    patch_voxels: int,
    *,
    tokens: int,
    centers: int,
    in_channels: int,
    features: int,
    hidden: int,
) -> LinearDecoder | VoxelDecoder | AllTokensDecoder:
    """Build the decoder with a name.

    Args:
        tokens: N, and ``centers`` Q: for ``all_tokens``.
        in_channels: C, and ``features`` F, and ``hidden``: for ``voxel``.

    Raises:
        ValueError: an unknown name.
    """
    if kind == "linear":
        return LinearDecoder(embed_dim, num_classes, patch_voxels)
    if kind == "voxel":
        return VoxelDecoder(
            embed_dim, num_classes, patch_voxels, in_channels=in_channels, features=features, hidden=hidden
        )
    if kind == "all_tokens":
        return AllTokensDecoder(embed_dim, num_classes, patch_voxels, tokens=tokens, centers=centers)
    raise ValueError(f"decoder must be one of {', '.join(DECODERS)}, got {kind!r}")
