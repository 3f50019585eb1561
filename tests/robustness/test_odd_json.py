"""Every entry of every JSON and YAML file that is read, odd in every way: what comes is a right value or a sentence."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from fixtures.mutations import mutations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg.benchmark.matrix import read_matrix
from nnunetv2_cfseg.data.pairing.sidecar import pairs_in, read_pairing
from nnunetv2_cfseg.files.schema import read_document
from nnunetv2_cfseg.inference.bundle import INDEX, Card, Index, load_bundle, write_bundle
from nnunetv2_cfseg.inference.inference_plan import read_inference_plan
from nnunetv2_cfseg.inference.load_models import load_models
from nnunetv2_cfseg.inference.model import load_model
from nnunetv2_cfseg.nnunet.classes import read_classes
from nnunetv2_cfseg.nnunet.dataset_json import read_raw_dataset_json
from nnunetv2_cfseg.nnunet.plans import read_plans
from nnunetv2_cfseg.nnunet.summary_json import read_mean_dice
from nnunetv2_cfseg.planners.splits import check_splits

Write = Callable[..., Path]
MOST_BYTES = 200 * 2**20
MOST_SECONDS = 2.0

REGIONS = {
    "channel_names": {"0": "CT"}, "labels": {"background": 0, "all": [1, 2], "core": 2, "ignore": 3},
    "regions_class_order": [1, 2], "numTraining": 4, "file_ending": ".nii.gz",
}  # fmt: skip
PAIRS = {"factor": 5, "threshold": 0.5, "cases": {"a": {"sources": {"x": "y"}, "outputs": {"x": "y"}, "values": [0]}}}
SPLITS = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a"]}]
SUMMARY = {"mean": {"1": {"Dice": 0.5}, "(1, 2)": {"Dice": float("nan")}}, "metric_per_case": []}
MATRIX = {
    "datasets": [501], "folds": [0, 1], "seeds": [1], "budget_s": 60, "reference": "ours",
    "rows": {
        "ours": {"trainer": "nnUNetTrainerCFSeg_timed", "planner": "CFSegPlanner", "changes": {"batch_size": 3}},
        "U-Net": {"trainer": "nnUNetTrainer_timed", "datasets": [501], "arguments": ["--disable_tta"]},
    },
}  # fmt: skip


@pytest.fixture
def model(write_model: Write) -> Path:
    return write_model()


@pytest.fixture
def bundle(model: Path, tmp_path: Path) -> Path:
    write_bundle(load_models(model, checkpoint="checkpoint_final.pth"), tmp_path / "bundle", Card("x", "y"), {})
    return tmp_path / "bundle"


def outcomes(file: Path, content: Any, read: Callable[[], object], *, only: str = "") -> tuple[int, int]:
    """How many mutations of a file were refused, in a sentence that names it or what does not fit it, and taken."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = taken = 0
    for what, changed in mutations(content):
        if only not in what:
            continue
        file.write_text(yaml.safe_dump(changed) if file.suffix == ".yaml" else json.dumps(changed))
        start = time.process_time()
        try:
            read()
        except (ValueError, OSError) as error:
            assert str(file.parent) in str(error), what  # noqa: PT017
            assert len(str(error)) < 1000, what  # noqa: PT017
            refused += 1
        else:
            taken += 1
        assert time.process_time() - start < MOST_SECONDS, what
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 < MOST_BYTES
    return refused, taken


def test_the_index_of_a_bundle(bundle: Path) -> None:
    content = json.loads((bundle / INDEX).read_text())
    refused, taken = outcomes(bundle / INDEX, content, lambda: read_document(bundle / INDEX, Index))
    assert refused > 150
    assert taken > 20  # an older version's number, and what is a right value


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_plans_and_dataset_json_of_a_model(model: Path, name: str) -> None:
    def read() -> None:
        plans, dataset = read_plans(model / "plans.json"), json.loads((model / "dataset.json").read_text())
        configuration = read_inference_plan(
            plans, dataset, "3d_thick", plans_file=str(model / name), dataset_file=str(model / name)
        )
        assert all(0.001 <= mm <= 1000 for mm in configuration.spacing_mm)
        assert configuration.heads <= 3
        assert configuration.file_ending.startswith(".")

    refused, taken = outcomes(model / name, json.loads((model / name).read_text()), read)
    assert refused > (1000 if name == "plans.json" else 150)
    assert taken > (200 if name == "plans.json" else 5)


def test_the_network_of_a_model_is_compared_with_its_weights_first(bundle: Path) -> None:
    """No plans of any size are built: these are loaded, weights and all."""
    file = bundle / "plans.json"
    refused, taken = outcomes(file, json.loads(file.read_text()), lambda: load_bundle(bundle), only="arch_kwargs.")
    assert refused > 200
    assert taken > 10


@pytest.mark.parametrize("size", ["embed_dim", "depth", "num_heads", "patch_size", "block_patches", "voxel_hidden"])
@pytest.mark.parametrize("value", [-1, 0, 7, 200, 4096, 2**22, 10**5, 10**18, 1e300])
def test_sizes_of_networks(bundle: Path, size: str, value: float) -> None:
    file = bundle / "plans.json"
    plans = json.loads(file.read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"][size] = value
    file.write_text(json.dumps(plans))
    start, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=str(bundle)):
        load_bundle(bundle)
    assert time.process_time() - start < MOST_SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 < MOST_BYTES


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"attention_radius": 9}, "attention_radius"),
        ({"attention_radius": 10**18}, "attention_radius"),
        ({"attention_radius": 0}, "attention_radius"),
        ({"attention_radius": True}, "attention_radius"),
        ({"attention_radius": 1, "block_patches": 17}, "product of block_patches must be at most 4096, got 4913"),
        ({"attention_radius": 1, "position": "sine"}, "attention_radius needs the position rotary or none"),
    ],
)
def test_reach_of_attention(bundle: Path, changes: dict[str, Any], sentence: str) -> None:
    file = bundle / "plans.json"
    plans = json.loads(file.read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update({"position": "none", **changes})
    file.write_text(json.dumps(plans))
    start, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=sentence):
        load_bundle(bundle)
    assert time.process_time() - start < MOST_SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 < MOST_BYTES


@pytest.mark.parametrize("content", [REGIONS, {**REGIONS, "labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}])
@pytest.mark.parametrize("read", [read_classes, read_raw_dataset_json])
def test_dataset_json_of_raw_data(tmp_path: Path, content: dict[str, Any], read: Callable[[Path], object]) -> None:
    file = tmp_path / "dataset.json"
    refused, taken = outcomes(file, content, lambda: read(file))
    assert refused > 100
    assert taken > 5


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ({"background": 0, "a": 7}, None),
        ({"background": 0, "a": -1}, None),
        ({"background": 0, "a": 70000}, None),
        ({"background": 0, "a": 1, "b": 1}, None),
        ({"background": 0, "a": 1, "b": 3}, None),
        ({"background": 0, "a": 1.5}, None),
        ({"background": 0, "a": True, "b": 2}, None),
        ({"background": 1, "a": 0, "b": 2}, None),
        ({"a": 0, "b": 1, "c": 2}, None),
        ({"background": 0, "a": 1, "b": 2, "ignore": 5}, None),
        ({"background": 0, "a": 1, "b": 2, "c": 3}, None),
        ({"background": 0, "a": [1, 2], "b": 2}, None),
        ({"background": 0, "a": [1, 2], "b": 2}, [1]),
        ({"background": 0, "a": [1, 2], "b": 2}, [1, 2, 2]),
        ({"background": 0, "a": [1, 2], "b": 2, "c": 1}, [1, 2, 9]),
        ({"background": 0, "a": [1, 2], "b": 2, "c": 1}, [1, 2, -1]),
        ({"background": 0, "a": [1, 2], "b": 2, "c": 1}, [1, 2, 0]),
        ({"background": 0, "a": [1, 40000], "b": 2, "c": 1}, [1, 2, 40000]),
    ],
)
def test_labels_that_do_not_fit_the_outputs(model: Path, labels: dict[str, Any], order: list[int] | None) -> None:
    dataset = json.loads((model / "dataset.json").read_text())
    (model / "dataset.json").write_text(json.dumps({**dataset, "labels": labels, "regions_class_order": order}))
    with pytest.raises(ValueError, match=str(model)):
        load_model(model)


def begin_again(folder: Path) -> None:
    with pairs_in(folder).writing({}):
        pass


def test_thin_thick_json(tmp_path: Path) -> None:
    file = tmp_path / "thin_thick.json"
    refused, taken = outcomes(file, PAIRS, lambda: read_pairing(tmp_path))
    assert refused > 35
    assert taken > 20
    refused, _ = outcomes(file, PAIRS, lambda: begin_again(tmp_path))
    assert refused > 70


def test_splits(tmp_path: Path) -> None:
    file = tmp_path / "splits_final.json"
    refused, taken = outcomes(file, SPLITS, lambda: check_splits(tmp_path, tmp_path / "none", ["a", "b", "c", "x"]))
    assert refused > 150
    assert taken > 5


def test_summaries_for_the_model_card(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    refused, taken = outcomes(file, SUMMARY, lambda: read_mean_dice(file))
    assert refused > 80
    assert taken > 20


def test_a_benchmarks_yaml(tmp_path: Path) -> None:
    file = tmp_path / "matrix.yaml"
    refused, taken = outcomes(file, MATRIX, lambda: list(read_matrix(file).cells()))
    assert refused > 100
    assert taken > 20


LAUGHS = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}' if n else 'lol'] * 10)}]\n" for n in range(12))


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS, "a: &a [*a]", "a: &a {b: *a}", "[" * 5000, "{a: " * 5000, "- " * 5000, "a: 1\na: 2", "a: !!int ''",
        "a: 2020-99-99", "? [a]\n: 1", "a: !!python/object/apply:os.system [x]", "a: !!python/name:os.system",
        "a: " + "9" * 5000, "a: \x00", "--- 1\n--- 2", "a: *b", "%YAML 9\n---\na", "a: !!bool x", "x" * 200_000, "",
        "[]",
        "rows: {a: {trainer: " + "[" * 100 + "]" * 100 + "}}", "1", "a: !!float ''", "a: !!timestamp x", "<<: 1",
        "rows: 0x" + "f" * 9000, "rows: {a: 0x" + "f" * 9000 + "}", "rows: {0x" + "f" * 9000 + ": 1}",
    ],
)  # fmt: skip
def test_yaml_that_is_none_or_too_much(tmp_path: Path, text: str) -> None:
    file = tmp_path / "matrix.yaml"
    file.write_text(text)
    start = time.process_time()
    with pytest.raises(ValueError, match=str(file)) as error:
        read_matrix(file)
    assert len(str(error.value)) < 1000
    assert time.process_time() - start < MOST_SECONDS


JSON_READERS: dict[str, Callable[[Path], object]] = {
    "dataset.json": read_raw_dataset_json,
    "plans.json": read_plans,
    "bundle.json": lambda file: read_document(file, Index),
    "summary.json": read_mean_dice,
    "thin_thick.json": lambda file: read_pairing(file.parent),
    "splits_final.json": lambda file: check_splits(file.parent, file.parent / "none", []),
}


@pytest.mark.parametrize("name", JSON_READERS)
@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"null", b"3", b'"x"', b"[", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}", b"\x80", b"{}\x00",
        b'{"a": 1, "a": 2}', b"9" * 5000, b'{"labels": ' + b"9" * 5000 + b"}", b"{'a': 1}", b'{"a": \xc3\x28}', b"NaN",
        b'{"labels": {"background": 0, "a": 1, "a": 2}, "file_ending": ".nii.gz"}',
    ],
)  # fmt: skip
def test_json_that_is_none(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ValueError, match=str(file)):
        JSON_READERS[name](file)


def test_json_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "thin_thick.json").write_bytes(b'\xef\xbb\xbf{"factor": 4}')
    assert read_pairing(tmp_path) == (4, 0.5)


@pytest.mark.parametrize("name", JSON_READERS)
def test_files_that_are_too_large(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.touch()
    os.truncate(file, 2**40)
    with pytest.raises(ValueError, match=f"too large.*{file}"):
        JSON_READERS[name](file)


def _fifo(file: Path) -> None:
    os.mkfifo(file)


def _socket(file: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    os.chdir(file.parent)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(file.name)
    os.fchdir(here)
    os.close(here)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "pipe": _fifo,
    "socket": _socket,
    "folder": Path.mkdir,
    "endless device": lambda file: file.symlink_to("/dev/zero"),
    "empty device": lambda file: file.symlink_to("/dev/null"),
    "link to itself": lambda file: file.symlink_to(file),
    "link to nothing": lambda file: file.symlink_to("nothing"),
    "link through a file": lambda file: file.symlink_to(f"{__file__}/below"),
    "link to a long name": lambda file: file.symlink_to("x" * 300),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", [*JSON_READERS, "matrix.yaml"])
def test_what_is_no_file_is_never_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    file = tmp_path / name
    SPECIAL[kind](file)
    if name == "splits_final.json":  # a raw dataset need not have any
        with suppress(OSError):
            check_splits(tmp_path, tmp_path / "none", [])
        return
    with pytest.raises((ValueError, OSError), match=str(file)):
        {**JSON_READERS, "matrix.yaml": read_matrix}[name](file)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", ["fold_0.safetensors", "plans.json", "dataset.json", INDEX])
def test_no_part_of_a_bundle_is_waited_for(bundle: Path, name: str, kind: str) -> None:
    (bundle / name).unlink()
    SPECIAL[kind](bundle / name)
    with pytest.raises(ValueError, match=str(bundle)):
        load_models(bundle, checkpoint="checkpoint_final.pth")


@pytest.mark.parametrize("kind", SPECIAL)
def test_no_checkpoint_is_waited_for(model: Path, kind: str) -> None:
    file = model / "fold_0" / "checkpoint_final.pth"
    file.unlink()
    SPECIAL[kind](file)
    for trust in (False, True):
        with pytest.raises(ValueError, match=str(file)):
            load_model(model, ["0"], trust_checkpoint=trust)


@pytest.mark.parametrize(
    "inherits",
    [
        {"3d_fullres": "3d_fullres"}, {"3d_fullres": "3d_thick", "3d_thick": "3d_fullres"}, {"3d_thick": "none"},
        {"3d_thick": 3}, {"3d_thick": ["3d_fullres"]}, {"3d_thick": {}}, {"3d_thick": ""}, {"3d_thick": "../plans"},
    ],
)  # fmt: skip
def test_inheritance_that_ends_nowhere(model: Path, inherits: dict[str, Any]) -> None:
    plans = json.loads((model / "plans.json").read_text())
    for name, parent in inherits.items():
        plans["configurations"][name]["inherits_from"] = parent
    (model / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ValueError, match=r"inherit.*plans\.json"):
        read_inference_plan(plans, json.loads((model / "dataset.json").read_text()), "3d_thick")


def test_inheritance_without_end(model: Path) -> None:
    plans = json.loads((model / "plans.json").read_text())
    for number in range(5000):
        plans["configurations"][f"c{number}"] = {"inherits_from": f"c{number + 1}"}
    with pytest.raises(ValueError, match=r"inherit.*plans\.json"):
        read_inference_plan(plans, json.loads((model / "dataset.json").read_text()), "c0")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["labels", "file_ending", "channel_names", "configurations", "mean", "factor", "format", "folds",
                        "mirror_axes", "trainer", "cases", "regions_class_order", "transpose_forward"])  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=JSON | st.dictionaries(KEYS, JSON, max_size=6), name=st.sampled_from(sorted(JSON_READERS)))
def test_any_json(tmp_path: Path, content: Any, name: str) -> None:
    file = tmp_path / name
    file.write_text(json.dumps(content))
    try:
        JSON_READERS[name](file)
    except ValueError as error:
        assert str(file) in str(error)  # noqa: PT017


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_as_yaml(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "matrix.yaml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=str(file)):
        read_matrix(file)
