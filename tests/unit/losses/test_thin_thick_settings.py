"""What plans may say of the joint loss."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from nnunetv2_cfseg.losses import ThinThickSettings


class TestSettings:
    def test_default_is_the_design_and_survives_the_plans(self) -> None:
        settings = ThinThickSettings()
        assert settings.weights == {"thick": 0.5, "slab": 1, "feature": 0}
        assert (settings.operator, settings.stop_gradient) == ("transition", "thick")
        plans = json.loads(json.dumps(dataclasses.asdict(settings)))
        assert ThinThickSettings.from_plans(plans) == settings

    @pytest.mark.parametrize(
        ("section", "message"),
        [
            ({"lamda": 1}, "the thin-thick loss takes weights, operator, .*, got lamda"),
            ({"weights": {"thin": 1}}, "weights must be of thick, slab, feature, entropy, got thin"),
            ({"weights": {"thin_consistency": 1}}, "weights must be of .*, got thin_consistency"),
            ({"weights": {"slab": -1}}, r"weights must be finite, at least 0 and not all 0, got \{'slab': -1\}"),
            ({"weights": {"slab": float("nan")}}, "weights must be finite"),
            ({"weights": {"slab": 0}}, "not all 0"),
            ({"weights": {}}, "not all 0"),
            ({"operator": "max"}, "slab operator must be one of"),
            ({"operator_parameters": {"tau": 2}}, "tau must be above 0 and at most 1, got 2"),
            ({"operator_parameters": {"factor": 2}}, "must not set what comes from the dataset, got factor"),
            ({"feature": "l1"}, "feature must be one of mse, cosine, got 'l1'"),
            ({"stop_gradient": "both"}, "stop_gradient must be one of thick, thin, none, got 'both'"),
            ({"balance": "focal"}, "balance must be one of"),
            ({"balance_parameters": {"counts": [1]}}, "must not set what comes from the dataset, got counts"),
        ],
    )
    def test_refuse(self, section: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ThinThickSettings.from_plans(section)
