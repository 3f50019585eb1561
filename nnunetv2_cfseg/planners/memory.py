"""Estimating the memory of a training step from the plans alone.

The estimate goes once forward and once backward through the network's stages, counts the float32 values that PyTorch
holds at each stage, and takes the largest. No network is built. ``experiments/memory.py`` measures the real memory.

Shapes: M blocks, C channels, N tokens a block, Q of them its centre's, V voxels a patch, D width, F hidden width,
H heads, P classes. All counts are numbers of floats, for one block unless stated otherwise.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from math import prod
from typing import Any

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.patches import as_size3
from nnunetv2_cfseg.networks.windows import WindowBank

BYTES = 4


def estimate_step_bytes(
    arch_kwargs: dict[str, Any],
    *,
    input_channels: int,
    num_classes: int,
    blocks: int,
    foreach: bool = True,
) -> int:
    """Peak memory in bytes of one training step in float32.

    Savings by automatic mixed precision on a GPU are not counted.

    Args:
        arch_kwargs: keyword arguments of the network, from the plans.
        input_channels: C, before windows.
        num_classes: P, background included.
        blocks: M, blocks a step.
        foreach: AdamW updates all weights at once, as PyTorch does by default on a GPU and not on a CPU.

    Raises:
        ValueError: M is negative.
        TypeError: the network does not have one of the arguments, or needs one that is missing.
    """
    if blocks < 0:
        raise ValueError(f"blocks must be >= 0, got {blocks}")
    net = _Network.from_plans(arch_kwargs, input_channels, num_classes)
    stages = net.stages()
    weights = sum(stage.weights for stage in stages)
    # Always held: weights, AdamW's two moments, the batch in float32 and its target in int16.
    held = 3 * weights + blocks * (net.channels_in * net.tokens + net.queries / 2) * net.voxels
    fullest = max(_optimizer_step(stages, foreach=foreach), _forward_backward(stages, blocks))
    return round(BYTES * (held + fullest))


@dataclass(frozen=True)
class Stage:
    """One part of the network, or the loss.

    Args:
        saved_for_backward: floats that its backward pass needs, held from its forward pass on.
        forward: the most it additionally holds during its forward pass.
        backward: the most it additionally holds during its backward pass, not counting gradients of weights.
        parameters: sizes of its parameters, which do not depend on the number of blocks.
    """

    saved_for_backward: int
    forward: int
    backward: int
    parameters: tuple[int, ...] = ()

    @property
    def weights(self) -> int:
        """Floats of all its parameters."""
        return sum(self.parameters)


def _forward_backward(stages: list[Stage], blocks: int) -> int:
    """The most that M blocks' activations and the gradients of weights take together."""
    moments = []
    saved = gradients = 0
    for stage in stages:
        saved += blocks * stage.saved_for_backward
        moments.append(saved + blocks * stage.forward)
    for stage in reversed(stages):
        gradients += stage.weights
        moments.append(saved + gradients + blocks * stage.backward)
        saved -= blocks * stage.saved_for_backward
    return max(moments)


def _optimizer_step(stages: list[Stage], *, foreach: bool) -> int:
    """Gradients of all weights, and the denominators of AdamW's update."""
    weights = sum(stage.weights for stage in stages)
    # One parameter at a time: the root of its second moment, the same over the bias correction, and the previous
    # parameter's, which is freed once the next one's is ready.
    largest = max(size for stage in stages for size in stage.parameters)
    return weights + (weights if foreach else 3 * largest)


@dataclass(frozen=True)
class _Network:
    """The network's sizes, from which the floats of each stage are counted."""

    channels_in: int
    channels: int  # after windows
    classes: int
    tokens: int
    queries: int
    voxels: int
    width: int
    hidden: int
    depth: int
    heads: int
    pre_norm: bool
    gelu: bool
    learned_position: bool
    rotary: bool
    voxel_decoder: tuple[int, int] | None  # features and hidden width

    @classmethod
    def from_plans(cls, arch_kwargs: dict[str, Any], input_channels: int, num_classes: int) -> _Network:
        """Read the sizes from the plans, with the network's own defaults for those left out."""
        call = inspect.signature(BlockCenterTransformer).bind(input_channels, num_classes, **arch_kwargs)
        call.apply_defaults()
        given = call.arguments
        return cls(
            channels_in=input_channels,
            channels=WindowBank(given["windows"] or [None] * input_channels).out_channels,
            classes=num_classes,
            tokens=prod(as_size3(given["block_patches"], "block_patches")),
            queries=prod(as_size3(given["center_patches"], "center_patches")),
            voxels=prod(as_size3(given["patch_size"], "patch_size")),
            width=given["embed_dim"],
            hidden=round(given["embed_dim"] * given["ffn_ratio"]),
            depth=given["depth"],
            heads=given["num_heads"],
            pre_norm=given["norm"] == "pre",
            gelu=given["activation"] == "gelu",
            learned_position=given["position"] == "learned",
            rotary=given["position"] == "rotary",
            voxel_decoder=(given["voxel_features"], given["voxel_hidden"]) if given["decoder"] == "voxel" else None,
        )

    def stages(self) -> list[Stage]:
        """In the order of the forward pass."""
        layers = [self._attention(self.tokens, selected=False), self._feed_forward(self.tokens)] * (self.depth - 1)
        layers += [self._attention(self.queries, selected=True), self._feed_forward(self.queries)]
        decoder = self._linear_decoder() if self.voxel_decoder is None else self._voxel_decoder(*self.voxel_decoder)
        return [self._image(), self._embedding(), *layers, self._final_norm(), decoder, self._loss()]

    def _image(self) -> Stage:
        image = self.tokens * self.voxels
        return Stage(
            saved_for_backward=self.channels * image,  # patches, the embedding's input
            forward=(self.channels + 1) * image,  # every window before they are stacked, and the image in HU
            backward=0,  # the image's gradient is not needed
        )

    def _embedding(self) -> Stage:
        position = (self.tokens * self.width,) if self.learned_position else ()
        return Stage(
            saved_for_backward=0,  # the tokens are the first layer's input
            forward=2 * self.tokens * self.width,  # tokens before and after their position is added
            backward=self.tokens * self.width,  # gradient of the tokens
            parameters=(*_linear(self.channels * self.voxels, self.width), *position),
        )

    def _attention(self, queries: int, *, selected: bool) -> Stage:
        """Attention of all tokens, or of selected ones, to all tokens, with its normalisation and residual sum."""
        n, d = self.tokens, self.width
        saved = n * d  # tokens: input of the normalisation (pre) or of the maps to q, k and v (post)
        if self.pre_norm:
            saved += n * (d + 2)  # normalised tokens, input of the maps; mean and deviation of each token
        else:
            saved += queries * (d + 2)  # sum, input of the normalisation; mean and deviation
        if selected:
            saved += queries * d  # the queries' copy of their tokens, input of the map to q
        saved += queries * d + 2 * n * d  # q, k and v
        if self.rotary:
            saved += n * d  # turned keys, beside those that v was made with
        saved += queries * (d + self.heads)  # merged heads, input of the last map; log of the softmax's denominator
        return Stage(
            saved_for_backward=saved,
            forward=2 * queries * d,  # the last map's output and the sum
            # Gradients of the sum, of the heads and of q, k and v.
            backward=3 * queries * d + 2 * n * d,
            parameters=(*_linear(d, d), *_linear(d, 2 * d), *_linear(d, d), *_norm(d)),
        )

    def _feed_forward(self, queries: int) -> Stage:
        """Both maps of the feed-forward layer, with their normalisation and residual sum."""
        d, hidden = self.width, self.hidden
        # The normalisation's input, the first map's input, mean and deviation of each token.
        saved = 2 * d + 2
        # GELU keeps its input and the second map keeps GELU's output; ReLU keeps its output, which is the map's input.
        saved += 2 * hidden if self.gelu else hidden
        return Stage(
            saved_for_backward=queries * saved,
            forward=queries * 2 * d,  # the second map's output and the sum
            # Gradients of the sum and of the activation's output and input; GELU's output has been freed by then.
            backward=queries * (d + (hidden if self.gelu else 2 * hidden)),
            parameters=(*_linear(d, hidden), *_linear(hidden, d), *_norm(d)),
        )

    def _final_norm(self) -> Stage:
        out = self.queries * self.width  # the centre's tokens, the decoder's input
        if not self.pre_norm:
            return Stage(saved_for_backward=out, forward=0, backward=out)
        before = out + 2 * self.queries  # tokens before it, their means and deviations
        # Backward: gradients of the tokens after and before.
        return Stage(saved_for_backward=before + out, forward=0, backward=2 * out, parameters=_norm(self.width))

    def _linear_decoder(self) -> Stage:
        center = self.queries * self.voxels
        return Stage(
            saved_for_backward=0,
            # The centre's windows, which are passed to this decoder too; logits.
            forward=center * (self.channels + self._logits()),
            backward=center * self.classes + self.queries * self.width,  # gradients of logits and tokens
            parameters=_linear(self.width, self.classes * self.voxels),
        )

    def _voxel_decoder(self, features: int, hidden: int) -> Stage:
        center = self.queries * self.voxels
        joined = features + self.channels
        return Stage(
            # Features joined with windows, input of the MLP; its hidden layer before and after GELU.
            saved_for_backward=center * (joined + 2 * hidden),
            # The centre's windows and the features before they are joined; the MLP's logits, the linear map's and
            # their sum.
            forward=center * (joined + 2 * self.classes + self._logits()),
            # Gradient of the logits, its transposed copy and the gradient of GELU's output.
            backward=center * (2 * self.classes + hidden),
            parameters=(
                *_linear(self.width, features * self.voxels),
                *_linear(joined, hidden),
                *_linear(self.width, self.classes * self.voxels),
                *_linear(hidden, self.classes),
            ),
        )

    def _logits(self) -> int:
        """Floats per voxel for the logits; assembling a centre of several patches makes two copies."""
        return self.classes * (3 if self.queries > 1 else 1)

    def _loss(self) -> Stage:
        """nnU-Net's Dice and cross-entropy."""
        center = self.queries * self.voxels
        return Stage(
            saved_for_backward=0,
            # Logits, their softmax, the target one-hot and in int64; softmax times one-hot, then log-softmax.
            forward=center * (4 * self.classes + 2),
            # Softmax, one-hot, log-softmax; the gradients of log-softmax and, through it, of the logits.
            backward=center * 5 * self.classes,
        )


def _linear(inputs: int, outputs: int) -> tuple[int, int]:
    """Sizes of a linear map's weight and bias."""
    return inputs * outputs, outputs


def _norm(width: int) -> tuple[int, int]:
    """Sizes of a layer normalisation's weight and bias."""
    return width, width
