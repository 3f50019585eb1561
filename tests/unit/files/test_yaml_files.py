"""YAML of plain values; what is refused is tried in tests/robustness."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_cfseg.files.yaml_files import read_yaml


def test_aliases_and_merged_keys_are_written_out(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: &one {x: 1, y: [1.5, two]}\nb:\n  <<: *one\n  x: 3\nc: *one\n", encoding="utf-8-sig")
    one = {"x": 1, "y": [1.5, "two"]}
    assert read_yaml(file) == {"a": one, "b": {**one, "x": 3}, "c": one}


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    assert read_yaml(tmp_path / "a.yaml") is None


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: &a [*a]\n", "a: !!python/object/apply:os.getcwd []\n"])
def test_refusals_name_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=str(tmp_path / "a.yaml")):
        read_yaml(tmp_path / "a.yaml")
