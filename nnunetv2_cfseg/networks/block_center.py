"""The convolution-free network: a transformer over the patches of a block that predicts the block's centre.

Gang 2025, "A Novel Convolutional-Free Method for 3D Medical Imaging Segmentation" (arXiv 2502.05396), Eq. 1 to 10;
the idea of predicting a block's centre is Karimi et al. 2021, "Convolution-Free Medical Image Segmentation using
Transformers".

Shapes: B volumes or blocks, C channels, Z Y X voxels, P classes, D width; w, n, c as in :mod:`.patches`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_cfseg.networks.beyond_scan import BeyondScan
from nnunetv2_cfseg.networks.decoders import build_decoder
from nnunetv2_cfseg.networks.encoder import Encoder, select_tokens
from nnunetv2_cfseg.networks.neighbourhood import BlockView
from nnunetv2_cfseg.networks.patches import (
    as_size3,
    block_token_indices,
    center_token_indices,
    pad_for_blocks,
    patch_grid,
    patchify,
    unpatch_centers,
)
from nnunetv2_cfseg.networks.position import PositionCode
from nnunetv2_cfseg.networks.shared_tokens import Rows, SharedLayer
from nnunetv2_cfseg.networks.windows import WindowBank


class BlockCenterTransformer(nn.Module):
    """Segments a volume by letting every block predict its own centre.

    Args:
        input_channels: C.
        num_classes: P, including background.
        patch_size: w, voxels of a patch along z, y, x.
        block_patches: n, patches of a block along z, y, x.
        center_patches: c, patches of the centre; n - c must be even so that the centre is in the middle.
        embed_dim: D.
        depth: K, encoder layers.
        num_heads: attention heads.
        ffn_ratio: width of the feed-forward layer in units of D.
        norm: ``post`` (the paper's) or ``pre``.
        activation: ``relu`` (the paper's) or ``gelu``.
        position: ``sine`` (the paper's), ``learned``, ``rotary`` or ``none``.
        attention_radius: how many tokens away along each axis a token attends to; ``None`` (the paper's) for its whole
            block. With a radius the tokens of a volume are shared by all blocks: in the dense forward every token sees
            its neighbours and nothing of the block it was trained in remains, so that the prediction of a patch is that
            of a block of 2 K radius + 1 patches around it. Needs ``rotary`` or no positions.
        decoder: ``linear`` (the paper's), ``voxel`` or ``all_tokens``.
        voxel_features: features a voxel that the voxel decoder reads from a token.
        voxel_hidden: width of the voxel decoder's MLP.
        windows: the channels of a :class:`~.windows.WindowBank`; ``None`` for no windows.
        beyond_scan: what blocks see beyond the ends of a volume, see :data:`.beyond_scan.MODES`; ``air`` needs windows
            for every channel. No weight depends on it.
        chunk_blocks: blocks that the dense forward encodes at once; changes memory and speed, not the result.
        deep_supervision: there is one output, so this must be False.

    Raises:
        ValueError: any of these out of range; the message gives the rule and the value.
    """

    center_indices: Tensor

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        patch_size: int | Sequence[int],
        block_patches: int | Sequence[int],
        center_patches: int | Sequence[int] = 1,
        embed_dim: int,
        depth: int,
        num_heads: int,
        ffn_ratio: float = 4.0,
        norm: str = "post",
        activation: str = "relu",
        position: str = "sine",
        attention_radius: int | None = None,
        decoder: str = "linear",
        voxel_features: int = 16,
        voxel_hidden: int = 32,
        windows: Sequence[dict[str, Any] | None] | None = None,
        beyond_scan: str = "mean",
        chunk_blocks: int = 512,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        hidden_dim = round(embed_dim * ffn_ratio)
        _check_counts(
            input_channels=input_channels,
            num_classes=num_classes,
            embed_dim=embed_dim,
            hidden_dim=hidden_dim,
            voxel_features=voxel_features,
            voxel_hidden=voxel_hidden,
            chunk_blocks=chunk_blocks,
        )
        self._set_sizes(patch_size, block_patches, center_patches)
        if windows is not None and len(windows) != input_channels:
            raise ValueError(f"windows must have an entry for each of {input_channels} channels, got {len(windows)}")
        if deep_supervision:
            raise ValueError("deep_supervision must be False: a block-centre network has one output")
        self.input_channels, self.num_classes = input_channels, num_classes
        self.embed_dim, self.chunk_blocks = embed_dim, chunk_blocks

        self.windows = WindowBank([None] * input_channels if windows is None else windows)
        self.beyond_scan = self.continued_by(beyond_scan)
        channels = self.windows.out_channels
        patch_voxels = self.patch_size[0] * self.patch_size[1] * self.patch_size[2]
        self.embedding = nn.Linear(channels * patch_voxels, embed_dim)
        self.position = PositionCode(position, self.block_patches, embed_dim)
        self.attention_radius = _checked_radius(attention_radius, position, decoder)
        self.view, center_view = (
            BlockView(
                self.block_patches,
                embed_dim // max(1, num_heads),
                radius=attention_radius,
                rotary=position == "rotary",
                queries=queries,
            )
            for queries in (None, center_token_indices(self.block_patches, self.center_patches))
        )
        self.encoder = Encoder(
            embed_dim, depth, num_heads, hidden_dim, norm=norm, activation=activation,
            view=self.view, center_view=center_view,
        )  # fmt: skip
        self.decoder = build_decoder(
            decoder, embed_dim, num_classes, patch_voxels,
            tokens=prod(self.block_patches), centers=len(self.center_indices),
            in_channels=channels, features=voxel_features, hidden=voxel_hidden,
        )  # fmt: skip
        self.apply(self.initialize)

    def _set_sizes(
        self,
        patch_size: int | Sequence[int],
        block_patches: int | Sequence[int],
        center_patches: int | Sequence[int],
    ) -> None:
        """Check and set the sizes of patches, blocks and centres, and which of a block's tokens are its centre."""
        self.patch_size = as_size3(patch_size, "patch_size")
        self.block_patches = as_size3(block_patches, "block_patches")
        self.center_patches = as_size3(center_patches, "center_patches")
        if any(c > n or (n - c) % 2 for n, c in zip(self.block_patches, self.center_patches, strict=True)):
            raise ValueError(
                "center_patches must be at most block_patches and differ from it by an even number, "
                f"got {self.center_patches} in {self.block_patches}"
            )
        centers = torch.tensor(center_token_indices(self.block_patches, self.center_patches))
        self.register_buffer("center_indices", centers, persistent=False)

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Set Xavier weights and zero biases, as in the original transformer; nnU-Net calls this once more."""
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def continued_by(self, mode: str) -> BeyondScan:
        """How a mode continues scans with the network's channels.

        Raises:
            ValueError: an unknown mode, or ``air`` with a channel without windows.
        """
        return BeyondScan.of_windows(mode, self.windows.channels)

    @property
    def block_size(self) -> tuple[int, ...]:
        """W, voxels of a block along z, y, x."""
        return tuple(n * w for n, w in zip(self.block_patches, self.patch_size, strict=True))

    @property
    def seen_size(self) -> tuple[int, ...]:
        """Voxels along z, y, x that a prediction sees: a block, or with a radius 2 K radius + 1 patches."""
        if self.attention_radius is None:
            return self.block_size
        reach = 2 * self.attention_radius * len(self.encoder.layers) + 1
        return tuple(reach * w for w in self.patch_size)

    @property
    def center_size(self) -> tuple[int, ...]:
        """Voxels of a centre along z, y, x."""
        return tuple(c * w for c, w in zip(self.center_patches, self.patch_size, strict=True))

    def forward(
        self, x: Tensor, *, centers_only: bool = False, with_features: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits, without a softmax: nnU-Net applies its own.

        Args:
            x: (B, C, Z, Y, X) in nnU-Net's normalised intensity, of any size. ``beyond_scan`` continues it as
                far as blocks reach.
            centers_only: x is a batch of whole blocks, (B, C, *block_size), and only their centres are predicted.
            with_features: also return the centre tokens X^K from which the logits were made; needs ``centers_only``.

        Returns:
            (B, P, Z, Y, X), every block's prediction of its own centre; with ``centers_only`` (B, P, *center_size),
            and with ``with_features`` (B, D, *center_patches) as well.

        Raises:
            ValueError: not five axes, another number of channels, not whole blocks with ``centers_only``, or
                ``with_features`` without it.
        """
        self._check_input(x)
        if with_features and not centers_only:
            raise ValueError("with_features needs centers_only; forward_features gives the features of a volume")
        if not centers_only:
            return self._uncompiled(self._forward_dense)(x)
        logits, features = self._forward_blocks(x)
        return (logits, features) if with_features else logits

    @staticmethod
    def _uncompiled(method: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Keep a method out of torch.compile, which would unroll the dense loop into dozens of encoders for each size.

        A decorator would do the same, but always import torch's compiler, which takes more than a second.
        """
        return torch.compiler.disable(method) if torch.compiler.is_compiling() else method

    def _forward_dense(self, x: Tensor) -> Tensor:
        """(B, C, Z, Y, X) to (B, P, Z, Y, X), ``chunk_blocks`` blocks at a time."""
        if self.attention_radius is not None:
            return torch.stack([self._forward_shared(volume) for volume in x])
        patches, indices, grid = self._gather_plan(x)
        tokens = self.embedding(patches)  # (B g, D): each patch once, however many blocks hold it
        center_patches = select_tokens(indices, self.center_indices)  # (B blocks, Q)
        logits = [
            self.decode(self.encode(tokens[chunk]), patches[centers])
            for chunk, centers in zip(
                indices.split(self.chunk_blocks), center_patches.split(self.chunk_blocks), strict=True
            )
        ]
        return self._centers_to_volume(torch.cat(logits).flatten(2), x.shape[0], grid, x.shape[2:])

    def _forward_shared(self, x: Tensor) -> Tensor:
        """(C, Z, Y, X) to (P, Z, Y, X) with the tokens of the whole grid, each computed once."""
        patches, features = self._shared_features(x)
        chunks = zip(
            features.flatten(0, 2)[:, None].split(self.chunk_blocks),
            patches.flatten(0, 2)[:, None].split(self.chunk_blocks),
            strict=True,
        )
        logits = torch.cat([self.decode(some, theirs) for some, theirs in chunks])  # (g, 1, P, w^3)
        volume = unpatch_centers(logits.flatten(2), 1, tuple(features.shape[:3]), (1, 1, 1), self.patch_size)[0]
        z, y, x_size = x.shape[1:]
        return volume[:, :z, :y, :x_size]

    def _shared_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (g_z, g_y, g_x, C w^3) of a volume (C, Z, Y, X) and their tokens X^K, (g_z, g_y, g_x, D)."""
        padded = pad_for_blocks(
            x[None], self.patch_size, self.block_patches, self.center_patches, self.beyond_scan,
            zeros_end_it=any(self.windows.channels),
        )  # fmt: skip
        patches = patchify(self.windows(padded), self.patch_size)[0]
        tokens = self.position(self.embedding(patches))
        for layer in self.shared_layers():
            tokens = layer(Rows(tokens), 0, len(tokens))
        inside = tuple(slice(h, n - h) for h, n in zip(self.halo_patches, tokens.shape[:3], strict=True))
        return patches[inside], self.encoder.final_norm(tokens[inside])

    def shared_layers(self, chunk_tiles: int | None = None) -> list[SharedLayer]:
        """The encoder's layers for grids of tokens that all blocks share.

        Args:
            chunk_tiles: tiles of tokens computed at once; ``None`` for ``chunk_blocks``.

        Raises:
            ValueError: tokens attend to their whole block.
        """
        if self.attention_radius is None:
            raise ValueError("attention_radius must be a number for tokens that blocks share, got None")
        return [
            SharedLayer(
                layer,
                radius=self.attention_radius,
                frequencies=self.view.frequencies,
                chunk_tiles=chunk_tiles or self.chunk_blocks,
            )
            for layer in self.encoder.all_layers()
        ]

    @property
    def halo_patches(self) -> tuple[int, ...]:
        """Patches by which a block reaches past its centre on every side, z, y, x."""
        return tuple((n - c) // 2 for n, c in zip(self.block_patches, self.center_patches, strict=True))

    def forward_features(self, x: Tensor) -> Tensor:
        """The encoder's centre tokens X^K on their grid.

        Args:
            x: as in :meth:`forward`.

        Returns:
            (B, D, g_z, g_y, g_x), one token for each patch of x after padding to whole centres.
        """
        self._check_input(x)
        if self.attention_radius is not None:
            return torch.stack([self._shared_features(volume)[1].movedim(-1, 0) for volume in x])
        patches, indices, grid = self._gather_plan(x)
        tokens = self.embedding(patches)
        features = torch.cat(
            [self.center_features(self.encode(tokens[chunk])) for chunk in indices.split(self.chunk_blocks)]
        )
        return unpatch_centers(features, x.shape[0], grid, self.center_patches, (1, 1, 1))

    def encode(self, tokens: Tensor) -> Tensor:
        """Embedded patches of M blocks, (M, N, D), to the tokens that the decoder reads: centres, (M, Q, D), or all."""
        return self.encoder(self.position(tokens), None if self.decoder.reads_all_tokens else self.center_indices)

    def center_features(self, encoded: Tensor) -> Tensor:
        """The centre tokens X^K, (M, Q, D), among the tokens that :meth:`encode` returns."""
        return select_tokens(encoded, self.center_indices) if self.decoder.reads_all_tokens else encoded

    def decode(self, features: Tensor, patches: Tensor) -> Tensor:
        """Encoded tokens and the centre's windowed intensities (M, Q, C w^3) to logits (M, Q, P, w^3)."""
        return self.decoder(features, patches.unflatten(-1, (self.windows.out_channels, -1)))

    def _forward_blocks(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """(M, C, *block_size) to (M, P, *center_size) and (M, D, *center_patches)."""
        if tuple(blocks.shape[2:]) != self.block_size:
            raise ValueError(f"blocks must be {self.block_size} voxels (z, y, x), got {tuple(blocks.shape[2:])}")
        patches = patchify(self.windows(blocks), self.patch_size).flatten(1, 3)  # (M, N, C w^3)
        features = self.encode(self.embedding(patches))
        logits = self.decode(features, select_tokens(patches, self.center_indices))
        volume = self._centers_to_volume(logits.flatten(2), len(blocks), (1, 1, 1), self.center_size)
        return volume, self.center_features(features).mT.unflatten(2, self.center_patches)

    def _gather_plan(self, x: Tensor) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """Flat patches (B g, C w^3), the tokens of every block (blocks, N), and the centres along z, y, x."""
        padded = pad_for_blocks(
            x, self.patch_size, self.block_patches, self.center_patches, self.beyond_scan,
            zeros_end_it=any(self.windows.channels),
        )  # fmt: skip
        grid = patch_grid(padded.shape[2:], self.patch_size)
        patches = patchify(self.windows(padded), self.patch_size).flatten(1, 3)  # (B, g, C w^3)
        indices = block_token_indices(grid, self.block_patches, self.center_patches, x.device)
        offsets = torch.arange(x.shape[0], device=x.device) * patches.shape[1]
        indices = (offsets[:, None, None] + indices).flatten(0, 1)  # (B blocks, N)
        centers = tuple((g - n) // c + 1 for g, n, c in zip(grid, self.block_patches, self.center_patches, strict=True))
        return patches.flatten(0, 1), indices, centers

    def _centers_to_volume(self, centers: Tensor, batch: int, grid: tuple[int, ...], shape: Sequence[int]) -> Tensor:
        """(B blocks, Q, P w^3) to (B, P, Z, Y, X), without the padding of the last centres."""
        volume = unpatch_centers(centers, batch, grid, self.center_patches, self.patch_size)
        z, y, x = shape
        return volume[..., :z, :y, :x]

    def _check_input(self, x: Tensor) -> None:
        if x.ndim != 5:
            raise ValueError(f"the input must have five axes (B, C, Z, Y, X), got {x.ndim}")
        if x.shape[1] != self.input_channels:
            raise ValueError(f"the network was built for {self.input_channels} channels, got {x.shape[1]}")
        if 0 in x.shape:
            raise ValueError(f"the input must hold at least one voxel, got shape {tuple(x.shape)}")


def _checked_radius(radius: int | None, position: str, decoder: str) -> int | None:
    if radius is None:
        return None
    if not isinstance(radius, int) or isinstance(radius, bool) or radius < 1:
        raise ValueError(f"attention_radius must be a whole number >= 1 or None, got {radius!r}")
    if position not in ("rotary", "none"):
        raise ValueError(f"attention_radius needs the position rotary or none, got {position!r}")
    if decoder == "all_tokens":
        raise ValueError("attention_radius needs the decoder linear or voxel, got 'all_tokens'")
    return radius


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be >= 1, got {count}")
