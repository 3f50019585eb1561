"""Files that appear whole or not at all, and JSON that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_cfseg.files.atomic_files import atomic_write, write_bytes, write_json
from nnunetv2_cfseg.files.text_files import read_json


def test_json_comes_back(tmp_path: Path) -> None:
    content = {"a": [1, 2.5, None], "b": "Ä"}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert read_json(file) == {"a": 1}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (None, r"a.json must be a file, and there is none: .*a.json$"),
        ("{", r"a.json must be JSON \(.*\): .*a.json$"),
        ("[]", r"a.json must hold a JSON object, got a list: .*a.json$"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, text: str | None, rule: str) -> None:
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=rule):
        read_json(tmp_path / "a.json")


def test_what_is_being_written_is_hidden(tmp_path: Path) -> None:
    """Nobody takes it for part of a dataset."""
    with atomic_write(str(tmp_path / "a.json")) as temporary:
        assert Path(temporary).parent == tmp_path
        assert Path(temporary).name.startswith(".")
        Path(temporary).write_text("{}")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.csv"
    file.write_text("old")

    def fail(self: Path, content: bytes) -> None:
        self.touch()
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(file, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert file.read_text() == "old"
