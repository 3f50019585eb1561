"""The joint loss: its terms, what plans may say, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from fixtures.slab_targets import thick_target
from torch import Tensor

from nnunetv2_cfseg.losses import LabelSpace, SegmentationLoss, ThinThickLoss, ThinThickSettings, thin_thick
from nnunetv2_cfseg.losses.adaptive_margin import AdaptiveLogitMargin
from nnunetv2_cfseg.losses.class_weights import make_class_weights
from nnunetv2_cfseg.losses.consistency import feature_loss, thin_entropy
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.slices import place_in_slabs
from nnunetv2_cfseg.losses.thin_thick import TERMS

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
            "slabs": with_neighbours,
            "offset": torch.tensor([0, 1, 0]),
            "thin_features": example(channels=5, shape=(FACTOR, 1, 1), seed=2)[0],
            "thick_features": example(channels=5, shape=(1, 1, 1), seed=3)[0],
        }

    return make


def all_terms(loss: ThinThickLoss, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of everything in a batch, and their total."""
    terms = {
        **loss.thick_terms(batch["thick_logits"], batch["thick_target"]),
        **loss.feature_terms(thick=batch["thick_features"], thin=batch["thin_features"]),
        **loss.thin_terms(batch["thin_logits"], batch["slabs"], offset=batch["offset"]),
    }
    return {**terms, "total": loss.total(terms)}


class TestTerms:
    @pytest.mark.parametrize(("regions", "ignore_label"), [(False, None), (False, 7), (True, None), (True, 7)])
    def test_are_those_of_the_functions_and_total_is_their_weighted_sum(
        self, batch: Callable[..., dict[str, Tensor]], regions: bool, ignore_label: int | None
    ) -> None:
        labels = LabelSpace(regions, ignore_label)
        given = batch(regions=regions, ignore_label=ignore_label)
        thin, seen = place_in_slabs(given["thin_logits"], given["offset"], FACTOR)
        with_neighbours = thick_target(thin, given["slabs"], labels)
        loss = ThinThickLoss(ThinThickSettings(weights=EVERY_TERM), factor=FACTOR, labels=labels)
        segmentation = SegmentationLoss(labels)
        slabs, target = slab_operator(ThinThickSettings().operator, factor=FACTOR)(thin, with_neighbours, seen=seen)
        target = target.only(seen)
        valid = thick_target(thin, given["slabs"][:, :, 1:-1], labels).repeat(FACTOR).only(seen).valid
        terms = {
            "thick": segmentation(given["thick_logits"], given["thick_target"]),
            "feature": feature_loss(given["thin_features"], given["thick_features"], factor=FACTOR),
            "slab": segmentation(AdaptiveLogitMargin()(slabs, target), target),
            "entropy": thin_entropy(thin, labels, valid=valid),
        }
        terms["total"] = sum(weight * terms[name] for name, weight in EVERY_TERM.items())
        torch.testing.assert_close(all_terms(loss, given), terms)

    @pytest.mark.parametrize("name", TERMS)
    def test_of_weight_zero_are_not_computed(
        self, batch: Callable[..., dict[str, Tensor]], name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weights = {**dict.fromkeys(TERMS, 0.0), name: 3.0}
        loss = ThinThickLoss(ThinThickSettings(weights=weights), factor=FACTOR)
        if name != "slab":
            monkeypatch.setattr(loss.slab, "forward", None)
        if name not in ("thick", "slab"):
            monkeypatch.setattr(loss.segmentation, "forward", None)
        if name != "feature":
            monkeypatch.setattr(thin_thick, "feature_loss", None)
        if name != "entropy":
            monkeypatch.setattr(thin_thick, "thin_entropy", None)
        terms = all_terms(loss, batch())
        assert list(terms) == [name, "total"]
        torch.testing.assert_close(terms["total"], 3 * terms[name])

    def test_each_side_learns_from_its_own(self, batch: Callable[..., dict[str, Tensor]]) -> None:
        given = {
            name: value.requires_grad_() if value.is_floating_point() else value for name, value in batch().items()
        }
        all_terms(ThinThickLoss(ThinThickSettings(weights=EVERY_TERM), factor=FACTOR), given)["total"].backward()
        learns = {name for name, value in given.items() if value.grad is not None and value.grad.any()}
        assert learns == {"thin_logits", "thick_logits", "thin_features"}

    def test_gradient_stops_where_the_settings_say(self, batch: Callable[..., dict[str, Tensor]]) -> None:
        given = batch()
        thick = given["thick_features"].requires_grad_()
        loss = ThinThickLoss(ThinThickSettings(weights=EVERY_TERM, stop_gradient="none"), factor=FACTOR)
        all_terms(loss, given)["total"].backward()
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
        torch.testing.assert_close(list(slab.buffers()), list(expected.buffers()))

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
        loss = ThinThickLoss(settings, factor=FACTOR, batch_dice=True, class_counts=[80, 15, 5])
        terms = all_terms(loss, given)
        class_weights = make_class_weights("dynamic", [80, 15, 5], calibration=0.5)
        segmentation = SegmentationLoss(batch_dice=True, class_weights=class_weights)
        compare = slab_operator(operator, factor=FACTOR, **parameters)
        whole = given["thin_logits"][[0, 2]]
        slabs, _ = compare(whole, thick_target(whole, given["slabs"][[0, 2], :, 1:-2]))
        # The second block begins within a slab, and of its three slabs the one between is whole.
        inner = given["thin_logits"][[1], :, 1:3]
        between, _ = compare(inner, thick_target(inner, given["slabs"][[1], :, 2:3]))
        nothing = torch.zeros_like(between)
        every = torch.cat(
            [torch.cat([slabs, nothing.expand(2, -1, -1, -1, -1)], 2), torch.cat([nothing, between, nothing], 2)]
        )
        valid = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 1, 0]], dtype=torch.bool).view(3, 1, 3, 1, 1)
        target = thick_target(every, given["slabs"][[0, 2, 1], :, 1:-1]).only(valid)
        features = (given["thin_features"], given["thick_features"])
        torch.testing.assert_close(terms["thick"], segmentation(given["thick_logits"], given["thick_target"]))
        torch.testing.assert_close(terms["slab"], segmentation(every, target))
        torch.testing.assert_close(terms["feature"], feature_loss(*features, factor=FACTOR, kind="cosine"))

    @pytest.mark.parametrize("operator", ["mean", "annotator", "copy", "transition", "count"])
    def test_half_precision(self, batch: Callable[..., dict[str, Tensor]], operator: str) -> None:
        given = {name: value.bfloat16() if value.is_floating_point() else value for name, value in batch().items()}
        leaves = [value.requires_grad_() for name, value in given.items() if "logits" in name]
        loss = ThinThickLoss(ThinThickSettings(weights=EVERY_TERM, operator=operator), factor=FACTOR)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = all_terms(loss, given)
        terms["total"].backward()
        assert {value.dtype for value in terms.values()} == {torch.float32}
        assert all(leaf.grad.isfinite().all() for leaf in leaves)

    @pytest.mark.parametrize("operator", ["mean", "annotator", "copy", "transition"])
    @pytest.mark.parametrize(("regions", "ignore_label"), [(False, 7), (True, 7)])
    def test_compile_to_one_graph(
        self, batch: Callable[..., dict[str, Tensor]], operator: str, regions: bool, ignore_label: int
    ) -> None:
        given = batch(regions=regions, ignore_label=ignore_label)
        settings = ThinThickSettings(weights=EVERY_TERM, operator=operator)
        loss = ThinThickLoss(settings, factor=FACTOR, labels=LabelSpace(regions, ignore_label))
        compiled = torch.compile(all_terms, fullgraph=True, backend="aot_eager", dynamic=False)
        terms = compiled(loss, given)
        loss.volume.margin.zero_()  # each call moves it
        torch.testing.assert_close(terms, all_terms(loss, given))

    @pytest.mark.gpu
    @pytest.mark.parametrize(("regions", "ignore_label"), [(False, None), (True, 7)])
    @pytest.mark.parametrize("operator", ["count", "transition", "annotator", "mean", "copy"])
    def test_is_the_same_on_a_gpu(
        self, batch: Callable[..., dict[str, Tensor]], operator: str, regions: bool, ignore_label: int | None
    ) -> None:
        given = batch(regions=regions, ignore_label=ignore_label)
        settings = ThinThickSettings(weights=EVERY_TERM, operator=operator)
        loss = ThinThickLoss(settings, factor=FACTOR, labels=LabelSpace(regions, ignore_label))
        on_gpu = deepcopy(loss).cuda()  # each call moves the margin and the shift
        terms = all_terms(on_gpu, {name: tensor.cuda() for name, tensor in given.items()})
        torch.testing.assert_close({name: term.cpu() for name, term in terms.items()}, all_terms(loss, given))

    def test_no_parameter_and_to_store_only_what_moves(self) -> None:
        settings = ThinThickSettings(operator="annotator", operator_parameters={"tau": [0.3, 0.4]}, balance="dynamic")
        loss = ThinThickLoss(settings, factor=FACTOR, class_counts=[5, 3, 2])
        assert not list(loss.parameters())
        assert set(loss.state_dict()) == {"volume.margin"}
        assert {buffer.device.type for buffer in loss.to("meta").buffers()} == {"meta"}


class TestRefuses:
    def test_another_factor(self, batch: Callable[..., dict[str, Tensor]]) -> None:
        loss = ThinThickLoss(ThinThickSettings(weights={"slab": 1.0}), factor=4)
        given = batch()
        with pytest.raises(ValueError, match="a target must have the shape"):
            loss.thin_terms(given["thin_logits"], given["slabs"], offset=given["offset"])

    def test_counts_that_do_not_fit(self) -> None:
        settings = ThinThickSettings(balance="inverse_frequency")
        with pytest.raises(ValueError, match="needs the voxels of each class in the training cases, got none"):
            ThinThickLoss(settings, factor=FACTOR)
        with pytest.raises(ValueError, match=r"shape \(R, 2\), outside and inside of each region, got \(3,\)"):
            ThinThickLoss(settings, factor=FACTOR, labels=LabelSpace(regions=True), class_counts=[3, 2, 1])
