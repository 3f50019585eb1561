"""The joint loss: its terms, what plans may say, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from nnunetv2_cfseg.losses import SegmentationLoss, ThinThickLoss, ThinThickSettings
from nnunetv2_cfseg.losses.adaptive_margin import AdaptiveLogitMargin
from nnunetv2_cfseg.losses.class_weights import class_balance
from nnunetv2_cfseg.losses.consistency import feature_loss, thin_entropy
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.slices import place_in_slabs
from nnunetv2_cfseg.losses.targets import read_target
from nnunetv2_cfseg.losses.thin_thick import TERMS, THIN_TERMS

Example = Callable[..., tuple[Tensor, Tensor]]
FACTOR = 2
EVERY_TERM = dict(zip(TERMS, (1.0, 0.5, 2.0, 4.0), strict=True))


@pytest.fixture
def batch(example: Example) -> Callable[..., dict[str, Tensor]]:
    """A function that makes everything the loss may ask for."""

    def make(**kind: Any) -> dict[str, Tensor]:
        thick, target = example(shape=(2, 2, 2), **kind)
        thin, _ = example(n=3, shape=(2 * FACTOR, 4, 4), seed=1)  # other blocks than the thick ones
        _, with_neighbours = example(n=3, shape=(5, 4, 4), seed=2, **kind)
        return {
            "thick_logits": thick,
            "thick_target": target,
            "thin_logits": thin,
            "slab_target": with_neighbours,
            "slab_offset": torch.tensor([0, 1, 0]),
            "thin_features": example(channels=5, shape=(FACTOR, 1, 1), seed=2)[0],
            "thick_features": example(channels=5, shape=(1, 1, 1), seed=3)[0],
        }

    return make


class TestTerms:
    @pytest.mark.parametrize(("regions", "ignore_label"), [(False, None), (False, 7), (True, None), (True, 7)])
    def test_are_those_of_the_functions_and_total_is_their_weighted_sum(
        self, batch: Callable[..., dict[str, Tensor]], regions: bool, ignore_label: int | None
    ) -> None:
        kind: dict[str, Any] = {"regions": regions, "ignore_label": ignore_label}
        given = batch(**kind)
        with_neighbours = given["slab_target"]
        thin, seen = place_in_slabs(given["thin_logits"], given["slab_offset"], FACTOR)
        loss = ThinThickLoss(ThinThickSettings(weights=EVERY_TERM), factor=FACTOR, **kind)
        segmentation = SegmentationLoss(**kind)
        operator = slab_operator(ThinThickSettings().operator, factor=FACTOR, **kind)
        slabs, annotation = operator(thin, with_neighbours, seen=seen)
        terms = {
            "thick": segmentation(given["thick_logits"], given["thick_target"]),
            "feature": feature_loss(given["thin_features"], given["thick_features"], factor=FACTOR),
            "slab": segmentation(AdaptiveLogitMargin()(slabs, annotation.only(seen)), annotation.only(seen)),
            "thin_consistency": thin_entropy(thin, with_neighbours[:, :, 1:-1], factor=FACTOR, seen=seen, **kind),
        }
        terms["total"] = sum(weight * terms[name] for name, weight in EVERY_TERM.items())
        torch.testing.assert_close(loss(**given), terms)

    @pytest.mark.parametrize("name", TERMS)
    def test_of_weight_zero_are_not_computed(
        self, batch: Callable[..., dict[str, Tensor]], name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needed = {"thick": "thick_[lt]", "feature": ".*features", **dict.fromkeys(THIN_TERMS, "thin_logits|slab_")}
        given = {key: value for key, value in batch().items() if re.match(needed[name], key)}
        weights = {**dict.fromkeys(TERMS, 0.0), name: 3.0}
        loss = ThinThickLoss(ThinThickSettings(weights=weights), factor=FACTOR)
        if name != "slab":
            monkeypatch.setattr(loss.slab, "forward", None)
        if name not in ("thick", "slab"):
            monkeypatch.setattr(loss.segmentation, "forward", None)
        terms = loss(**given)
        assert list(terms) == [name, "total"]
        torch.testing.assert_close(terms["total"], 3 * terms[name])

    def test_each_side_learns_from_its_own(self, batch: Callable[..., dict[str, Tensor]]) -> None:
        given = {
            name: value.requires_grad_() if value.is_floating_point() else value for name, value in batch().items()
        }
        ThinThickLoss(ThinThickSettings(weights=EVERY_TERM), factor=FACTOR)(**given)["total"].backward()
        learns = {name for name, value in given.items() if value.grad is not None and value.grad.any()}
        assert learns == {"thin_logits", "thick_logits", "thin_features"}

    def test_gradient_stops_where_the_settings_say(self, batch: Callable[..., dict[str, Tensor]]) -> None:
        given = batch()
        thick = given["thick_features"].requires_grad_()
        ThinThickLoss(ThinThickSettings(weights=EVERY_TERM, stop_gradient="none"), factor=FACTOR)(**given)[
            "total"
        ].backward()
        assert thick.grad.any()

    @pytest.mark.parametrize(
        ("operator", "given", "tau"),
        [("annotator", {}, 0.25), ("annotator", {"tau": 0.3}, 0.3), ("transition", {}, 0.25), ("copy", {}, None)],
    )
    def test_operators_that_ask_for_it_have_the_pairs_threshold(
        self, operator: str, given: dict[str, float], tau: float | None
    ) -> None:
        settings = ThinThickSettings(operator=operator, operator_parameters=given)
        slab = ThinThickLoss(settings, factor=8, threshold=0.25).slab
        expected = slab_operator(operator, factor=8, **({} if tau is None else {"tau": tau}))
        assert type(slab) is type(expected)
        for one, other in zip(slab.buffers(), expected.buffers(), strict=True):
            torch.testing.assert_close(one, other)

    @pytest.mark.parametrize(("operator", "parameters"), [("mean", {}), ("annotator", {"tau": 0.3})])
    def test_settings_reach_the_terms(
        self, batch: Callable[..., dict[str, Tensor]], operator: str, parameters: dict[str, float]
    ) -> None:
        given = batch()
        settings = ThinThickSettings(
            weights={"thick": 1.0, "slab": 1.0, "feature": 1.0},
            operator=operator,
            operator_parameters=parameters,
            feature="cosine",
            balance="dynamic",
            balance_parameters={"calibration": 0.5},
        )
        terms = ThinThickLoss(settings, factor=FACTOR, batch_dice=True, class_counts=[80, 15, 5])(**given)
        balance = class_balance("dynamic", [80, 15, 5], calibration=0.5)
        segmentation = SegmentationLoss(batch_dice=True, balance=balance)
        whole, of_slabs = given["thin_logits"][[0, 2]], given["slab_target"][[0, 2], :, 1:-2]
        slabs, _ = slab_operator(operator, factor=FACTOR, **parameters)(whole, of_slabs)
        # The second block begins within a slab, and of its three slabs the one between is whole.
        between, _ = slab_operator(operator, factor=FACTOR, **parameters)(
            given["thin_logits"][[1], :, 1:3], given["slab_target"][[1], :, 2:3]
        )
        nothing = torch.zeros_like(between)
        every = torch.cat(
            [torch.cat([slabs, nothing.expand(2, -1, -1, -1, -1)], 2), torch.cat([nothing, between, nothing], 2)]
        )
        known = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 1, 0]], dtype=torch.bool).view(3, 1, 3, 1, 1)
        target = given["slab_target"][[0, 2, 1], :, 1:-1]
        annotation = read_target(target, every.shape, regions=False, ignore_label=None).only(known)
        features = (given["thin_features"], given["thick_features"])
        torch.testing.assert_close(terms["thick"], segmentation(given["thick_logits"], given["thick_target"]))
        torch.testing.assert_close(terms["slab"], segmentation(every, annotation))
        torch.testing.assert_close(terms["feature"], feature_loss(*features, factor=FACTOR, kind="cosine"))

    @pytest.mark.parametrize("operator", ["mean", "annotator", "copy", "transition", "count"])
    def test_half_precision(self, batch: Callable[..., dict[str, Tensor]], operator: str) -> None:
        given = {name: value.bfloat16() if value.is_floating_point() else value for name, value in batch().items()}
        leaves = [value.requires_grad_() for name, value in given.items() if "logits" in name]
        loss = ThinThickLoss(ThinThickSettings(weights=EVERY_TERM, operator=operator), factor=FACTOR)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = loss(**given)
        terms["total"].backward()
        assert {value.dtype for value in terms.values()} == {torch.float32}
        assert all(leaf.grad.isfinite().all() for leaf in leaves)

    @pytest.mark.parametrize("operator", ["mean", "annotator", "copy", "transition"])
    @pytest.mark.parametrize(("regions", "ignore_label"), [(False, 7), (True, 7)])
    def test_compile_to_one_graph(
        self, batch: Callable[..., dict[str, Tensor]], operator: str, regions: bool, ignore_label: int
    ) -> None:
        kind: dict[str, Any] = {"regions": regions, "ignore_label": ignore_label}
        given = batch(**kind)
        settings = ThinThickSettings(weights=EVERY_TERM, operator=operator)
        loss = ThinThickLoss(settings, factor=FACTOR, **kind)
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=False)
        terms = compiled(**given)
        loss.volume.margin.zero_()  # each call moves it
        torch.testing.assert_close(terms, loss(**given))

    @pytest.mark.gpu
    @pytest.mark.parametrize(("regions", "ignore_label"), [(False, None), (True, 7)])
    @pytest.mark.parametrize("operator", ["count", "transition", "annotator", "mean", "copy"])
    def test_is_the_same_on_a_gpu(
        self, batch: Callable[..., dict[str, Tensor]], operator: str, regions: bool, ignore_label: int | None
    ) -> None:
        kind: dict[str, Any] = {"regions": regions, "ignore_label": ignore_label}
        given = batch(**kind)
        loss = ThinThickLoss(ThinThickSettings(weights=EVERY_TERM, operator=operator), factor=FACTOR, **kind)
        on_gpu = deepcopy(loss).cuda()  # each call moves the margin and the shift
        terms = on_gpu(**{name: tensor.cuda() for name, tensor in given.items()})
        torch.testing.assert_close({name: term.cpu() for name, term in terms.items()}, loss(**given))

    def test_no_parameter_and_to_store_only_what_moves(self) -> None:
        settings = ThinThickSettings(operator="annotator", operator_parameters={"tau": [0.3, 0.4]}, balance="dynamic")
        loss = ThinThickLoss(settings, factor=FACTOR, class_counts=[5, 3, 2])
        assert not list(loss.parameters())
        assert set(loss.state_dict()) == {"volume.margin"}
        assert {buffer.device.type for buffer in loss.to("meta").buffers()} == {"meta"}


class TestRefuses:
    def test_a_missing_tensor(self, batch: Callable[..., dict[str, Tensor]]) -> None:
        given = batch()
        loss = ThinThickLoss(ThinThickSettings(weights={"feature": 1.0}), factor=FACTOR)
        with pytest.raises(ValueError, match="the feature term needs thin_features and thick_features, got None"):
            loss(**{**given, "thick_features": None})
        loss = ThinThickLoss(ThinThickSettings(weights={"slab": 1.0}), factor=FACTOR)
        with pytest.raises(
            ValueError, match="the thin term needs thin_logits and slab_target and slab_offset, got None"
        ):
            loss(**{**given, "slab_target": None})

    def test_another_factor(self, batch: Callable[..., dict[str, Tensor]]) -> None:
        loss = ThinThickLoss(ThinThickSettings(weights={"slab": 1.0}), factor=4)
        with pytest.raises(ValueError, match="a target must have the shape"):
            loss(**batch())

    def test_counts_that_do_not_fit(self) -> None:
        settings = ThinThickSettings(balance="inverse_frequency")
        with pytest.raises(ValueError, match="needs the voxels of each class in the training cases, got none"):
            ThinThickLoss(settings, factor=FACTOR)
        with pytest.raises(ValueError, match=r"shape \(R, 2\), outside and inside of each region, got \(3,\)"):
            ThinThickLoss(settings, factor=FACTOR, regions=True, class_counts=[3, 2, 1])
