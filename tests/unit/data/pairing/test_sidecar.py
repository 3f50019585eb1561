"""What others read of ``thin_thick.json``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunetv2_cfseg.data.pairing.sidecar import read_pairing


@pytest.mark.parametrize(("text", "threshold"), [("{}", 0.5), ('{"threshold": null}', 0.5), ('{"threshold": 1}', 1.0)])
def test_factor_and_threshold_of_a_raw_dataset(tmp_path: Path, text: str, threshold: float) -> None:
    (tmp_path / "thin_thick.json").write_text(json.dumps({"factor": 5, **json.loads(text)}))
    assert read_pairing(tmp_path) == (5, threshold)


@pytest.mark.parametrize("threshold", ["0", "1.5", "true", '"half"'])
def test_a_share_that_is_none_is_refused(tmp_path: Path, threshold: str) -> None:
    (tmp_path / "thin_thick.json").write_text(f'{{"factor": 5, "threshold": {threshold}}}')
    with pytest.raises(ValueError, match=r"^threshold must be .*, got .*thin_thick\.json$"):
        read_pairing(tmp_path)


@pytest.mark.parametrize("factor", ["1", "2.5", '"four"', "null"])
def test_a_factor_that_is_none_is_refused(tmp_path: Path, factor: str) -> None:
    (tmp_path / "thin_thick.json").write_text(f'{{"factor": {factor}}}')
    with pytest.raises(ValueError, match=r"^factor must be .*, got .*thin_thick\.json$"):
        read_pairing(tmp_path)


def test_a_dataset_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a dataset of pairs \(cfseg make_pairs\) has a thin_thick.json, and"):
        read_pairing(tmp_path)
