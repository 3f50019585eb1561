"""Two optimisers that behave as one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.trainers.optimization import MuonAdamW, build_optimizer


def small_network() -> BlockCenterTransformer:
    torch.manual_seed(0)
    return BlockCenterTransformer(
        1, 2, patch_size=2, block_patches=3, embed_dim=12, depth=2, num_heads=2, position="learned"
    )


def train(network: nn.Module, optimizer: MuonAdamW, steps: int) -> None:
    x = torch.randn(4, 1, 6, 6, 6, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        network(x, centers_only=True).square().mean().backward()
        optimizer.step()


class TestWhoTakesWhat:
    def test_every_weight_is_taken_once(self) -> None:
        network = small_network()
        optimizer = build_optimizer(network, lr=1e-3, weight_decay=1e-2)
        taken = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert sorted(taken) == sorted(id(p) for p in network.parameters())

    def test_muon_takes_the_matrices_of_embedding_and_encoder(self) -> None:
        network = small_network()
        optimizer = build_optimizer(network, lr=1e-3, weight_decay=1e-2)
        names = {id(p): name for name, p in network.named_parameters()}
        by_muon = {names[id(p)] for group in optimizer.muon.param_groups for p in group["params"]}
        assert by_muon == {
            name
            for name, p in network.named_parameters()
            if p.ndim == 2 and name.split(".")[0] in ("embedding", "encoder")
        }
        assert "encoder.layers.0.attention.query.weight" in by_muon


class TestStep:
    def test_changes_every_weight_that_has_a_gradient(self) -> None:
        network = small_network()
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        train(network, build_optimizer(network, lr=1e-3, weight_decay=0.0), steps=2)
        moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
        assert moved == {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}

    def test_a_matrix_moves_alike_in_all_directions(self) -> None:
        network = small_network()
        weight = network.encoder.layers[0].feed_forward[0].weight
        before = weight.detach().clone()
        train(network, build_optimizer(network, lr=1e-3, weight_decay=0.0), steps=1)
        of_update, of_gradient = (torch.linalg.svdvals(x.double()) for x in (weight.detach() - before, weight.grad))
        assert of_update.max() < 6 * of_update.min()  # five steps of Newton and Schulz come only near to orthogonal
        assert of_gradient.max() > 20 * of_gradient.min()

    def test_rates_are_set_in_the_groups(self) -> None:
        network = small_network()
        optimizer = build_optimizer(network, lr=1e-3, weight_decay=1e-2)
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        train(network, optimizer, steps=1)
        for name, p in network.named_parameters():
            assert torch.equal(p, before[name]), name

    def test_takes_no_closure(self) -> None:
        with pytest.raises(ValueError, match="takes no closure"):
            build_optimizer(small_network(), lr=1e-3, weight_decay=0.0).step(lambda: 0.0)


class TestState:
    def test_going_on_from_it_equals_never_stopping(self) -> None:
        whole, first = small_network(), small_network()
        of_whole, of_first = (build_optimizer(network, lr=1e-3, weight_decay=1e-2) for network in (whole, first))
        train(whole, of_whole, steps=4)
        train(first, of_first, steps=2)
        second = small_network()
        second.load_state_dict(first.state_dict())
        of_second = build_optimizer(second, lr=5.0, weight_decay=1e-2)
        of_second.load_state_dict(of_first.state_dict())
        assert {group["lr"] for group in of_second.param_groups} == {1e-3}
        train(second, of_second, steps=2)
        for (name, a), b in zip(whole.named_parameters(), second.parameters(), strict=True):
            torch.testing.assert_close(a, b, msg=name)

    def test_of_another_optimiser_is_refused(self) -> None:
        network = small_network()
        other = torch.optim.SGD(network.parameters(), lr=1.0).state_dict()
        with pytest.raises(ValueError, match="must be that of muon and adamw, got state, param_groups"):
            build_optimizer(network, lr=1e-3, weight_decay=0.0).load_state_dict(other)
