"""What training needs: gradients everywhere, fitting, torch.compile and mixed precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_cfseg.networks import BlockCenterTransformer

NetworkFactory = Callable[..., BlockCenterTransformer]


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def random_volume(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def random_labels(*shape: int) -> Tensor:
    return torch.randint(3, shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("centers_only", [False, True])
@pytest.mark.parametrize("decoder", ["linear", "voxel"])
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("position", ["sine", "learned"])
def test_gradients_reach_every_parameter(
    position: str, norm: str, decoder: str, centers_only: bool, tiny_network: NetworkFactory
) -> None:
    network = tiny_network(norm=norm, decoder=decoder, position=position)
    x = random_volume(2, 1, 6, 6, 6) if centers_only else random_volume(1, 1, 4, 3, 5)
    logits = network(x, centers_only=centers_only)
    F.cross_entropy(logits, random_labels(len(x), *logits.shape[2:])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 1e-7, name


@pytest.mark.parametrize("decoder", ["linear", "voxel"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_network_overfits_two_blocks(norm: str, decoder: str) -> None:
    torch.manual_seed(0)
    network = BlockCenterTransformer(
        1, 3, patch_size=2, block_patches=3, embed_dim=12, depth=2, num_heads=2, norm=norm, decoder=decoder
    )
    blocks, labels = random_volume(2, 1, 6, 6, 6), random_labels(2, 2, 2, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(120):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(blocks, centers_only=True), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.02
    assert torch.equal(network(blocks, centers_only=True).argmax(1), labels)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("decoder", ["linear", "voxel"])
def test_centers_only_compiles_as_one_graph(decoder: str, tiny_network: NetworkFactory) -> None:
    network = tiny_network(decoder=decoder, norm="pre", windows=[{"mean": 40, "std": 20, "windows_hu": [(0, 80)]}])
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    blocks = random_volume(2, 1, 6, 6, 6)
    actual, expected = compiled(blocks, centers_only=True), network(blocks, centers_only=True)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("fresh_compiler")
@torch.no_grad()
def test_dense_forward_compiles_for_sizes_that_change(tiny_network: NetworkFactory) -> None:
    network = tiny_network(depth=1)
    compiled = torch.compile(network, backend="eager")
    for size in [(3, 4, 5), (2, 7, 4)]:
        x = random_volume(1, 1, *size)
        torch.testing.assert_close(compiled(x), network(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("centers_only", [False, True])
@pytest.mark.parametrize("decoder", ["linear", "voxel"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_autocast_to_bfloat16_stays_near_float32(
    norm: str, decoder: str, centers_only: bool, tiny_network: NetworkFactory
) -> None:
    windows = [{"mean": 40.0, "std": 20.0, "windows_hu": [(0, 80), (-160, 240)]}]
    network = tiny_network(norm=norm, decoder=decoder, windows=windows)
    x = random_volume(2, 1, 6, 6, 6)
    exact = network(x, centers_only=centers_only)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = network(x, centers_only=centers_only)
    assert rounded.dtype == torch.bfloat16
    assert exact.dtype == torch.float32
    # bfloat16 rounds by 2^-9 of a value at most. A logit passes about 16 roundings in a row (embedding, 2 layers of
    # q/k/v, attention, out and two maps, decoder); were they all to add up, 16 * 2^-9 = 3 % of the largest logit.
    error = (rounded.float() - exact).abs().max() / exact.abs().max()
    assert 0 < error < 16 * 2**-9
    rounded.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert sum(p.grad is not None for p in network.parameters()) == len(list(network.parameters()))
