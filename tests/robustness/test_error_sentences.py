"""However a command fails, it says one sentence and ends with exit status 2; stopped from outside it ends quietly."""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.errors.error_sentence import error_sentence

BYTES = os.fsdecode(b"caf\xe9")


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


#: What is raised, and words that are said of it.
ERRORS = [
    (ValueError("a rule, got 3: a.json"), "a rule, got 3: a.json"),
    (ValueError(), "this is a bug in cfseg (ValueError)"),
    (KeyError("spacing"), "this is a bug in cfseg (KeyError: 'spacing')"),
    (IndexError("list index out of range"), "this is a bug"),
    (TypeError("x"), "this is a bug"),
    (AttributeError("x"), "CFSEG_TRACEBACK=1"),
    (AssertionError(), "this is a bug in cfseg (AssertionError)"),
    (ZeroDivisionError("division by zero"), "this is a bug in cfseg (ZeroDivisionError: division by zero)"),
    (OverflowError("too large"), "this is a bug"),
    (RecursionError("maximum recursion depth exceeded"), "this is a bug"),
    (RuntimeError("x"), "this is a bug in cfseg (RuntimeError: x)"),
    (ImportError("no module"), "this is a bug in cfseg (ImportError: no module)"),
    (StopIteration(), "this is a bug"),
    (MemoryError(), "there is not enough memory"),
    (MemoryError("Unable to allocate 8 GiB"), "there is not enough memory (Unable to allocate 8 GiB)"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "there is not enough memory"),
    (RuntimeError("CUDA out of memory. Tried\nto allocate"), "there is not enough memory (CUDA out of memory. Tried)"),
    (RuntimeError("std::bad_alloc"), "there is not enough memory"),
    (ImportError("libx.so: failed to map segment from shared object"), "there is not enough memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "there is not enough memory"),
    (caused(ValueError("it is truncated: a"), RuntimeError("Failed to allocate memory for image.")), "enough memory"),
    (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
    (OSError(errno.ENOSPC, "No space left on device"), ": the/output"),
    (OSError(errno.ENOSPC, "No space left on device", "a.nii.gz"), ": a.nii.gz"),
    (OSError(errno.EFBIG, "File too large"), "the disk is full, or a limit"),
    (PermissionError(errno.EACCES, "Permission denied", "a.json"), "Permission denied: a.json"),
    (FileNotFoundError(errno.ENOENT, "No such file", b"a\xff.json"), "No such file: a\\xff.json"),
    (OSError(errno.ELOOP, "Too many levels of symbolic links", "a"), "Too many levels of symbolic links: a"),
    (OSError("words"), "words"),
    (ChildProcessError("one of 4 was killed"), "one of 4 was killed"),
    (UnicodeDecodeError("utf-8", b"caf\xe9", 3, 4, "unexpected end"), "is not UTF-8 (UnicodeDecodeError): b'caf\\xe9'"),
    (UnicodeEncodeError("utf-8", BYTES, 3, 4, "surrogates"), "is not UTF-8 (UnicodeEncodeError): 'caf\\udce9'"),
    (ValueError(f"no such file: {BYTES}"), "no such file: caf\\udce9"),
    (ValueError("a\x1b[31mred\x07\r: \u202efdp.exe"), "a\\x1b[31mred\\x07\\r: \\u202efdp.exe"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words"), ERRORS)
def test_every_error_is_one_sentence(
    error: BaseException, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: argparse.Namespace) -> None:
        raise error

    parsed = argparse.Namespace(command="predict", run=fail, o=Path("the/output"))
    monkeypatch.setattr(cli, "_parser", lambda: SimpleNamespace(parse_args=lambda arguments: parsed))
    assert cli.main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith("cfseg predict: ")
    assert words in said
    assert len(said.splitlines()) == 1
    monkeypatch.setenv("CFSEG_TRACEBACK", "1")
    assert cli.main([]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_circle_of_causes_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert error_sentence(one) == "one"


@pytest.mark.parametrize("flag", ["-np", "-npfp"])
@pytest.mark.parametrize("number", ["0", "-3", "257", "1000000000000"])
def test_numbers_of_processes(flag: str, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan_and_preprocess", "-d", "1", flag, number]) == 2
    assert f"{flag} must be from 1 to 256 processes, got {number}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", ".hidden", "", "..", "a\nb", "x" * 300, BYTES + "/"])
def test_names_lead_nowhere_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, str(tmp_path))
    predict = ["predict", "-i", "x", "-o", "y"]
    commands = [[*predict, "-d", "1", flag, name] for flag in ("-tr", "-p", "-chk", "-f")]
    commands += [[*predict, "-m", str(tmp_path), flag, name] for flag in ("-chk", "-f")]
    commands += [[*predict, "-d", name], ["plan_and_preprocess", "-d", "1", "-overwrite_plans_name", name]]
    for command in commands:
        assert cli.main(command) == 2, command
        assert command[-2] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def run(script: str, *arguments: str, **kwargs: object) -> subprocess.Popen[str]:
    """The command line with a command that is a script."""
    program = f"""
import sys, time
from nnunetv2_cfseg import cli
from nnunetv2_cfseg.commands import env
def run(args):
{script}
env._run = run
cli._parser = lambda: __import__('types').SimpleNamespace(
    parse_args=lambda _: __import__('argparse').Namespace(command='env', run=run))
sys.exit(cli.main())
"""
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs
    )  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_signals_end_a_command_after_what_cleans_up(number: int, status: int) -> None:
    waiting = "        print('begun', flush=True); time.sleep(30)"
    process = run(f"    try:\n{waiting}\n    finally:\n        print('cleaned', flush=True)")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == status
    assert out == "cleaned\n"
    assert "Traceback" not in err


def test_nobody_who_reads_is_no_error() -> None:
    process = run("    for _ in range(100000): print('line')")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(20) == 141


def test_names_that_are_not_utf8_are_printed() -> None:
    process = run("    print('caf\\udce9'); raise ValueError('caf\\udce9')", env={**os.environ, "PYTHONUTF8": "1"})
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "caf\\udce9\n")
    assert "caf\\udce9" in err


def test_an_export_that_fails_leaves_nothing(
    write_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from nnunetv2_cfseg.inference import bundle

    flags = ["-m", str(write_model()), "-o", str(tmp_path / "bundle"), "--licence", "x", "--training_data", "x"]
    full = bundle.SafetensorError("Error while serializing: No space left on device (os error 28)")
    for error in (OSError(errno.ENOSPC, "No space left on device"), MemoryError(), KeyboardInterrupt(), full):

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(bundle, "save_file", fail)
        assert cli.main(["export", *flags]) in (2, 130)
        assert "Traceback" not in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


def test_a_bundle_names_no_files_and_can_be_read_by_others(write_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_model()
    dataset = json.loads((folder / "dataset.json").read_text())
    dataset["training"] = [{"image": "/home/doctor/Jane_Doe_0000.nii.gz", "label": "./labelsTr/Jane_Doe.nii.gz"}]
    dataset.update(test=["/home/doctor/John.nii.gz"], dataset={"Jane": {"images": ["/home/x"]}}, author="Jane Doe")
    (folder / "dataset.json").write_text(json.dumps(dataset))
    before = os.umask(0o022)
    try:
        flags = ["-m", str(folder), "-o", str(tmp_path / "bundle"), "--licence", "x", "--training_data", "x"]
        assert cli.main(["export", *flags]) == 0
    finally:
        os.umask(before)
    for file in (tmp_path / "bundle").iterdir():
        assert file.stat().st_mode & 0o777 == 0o644
        assert not any(name in file.read_bytes() for name in (b"Jane", b"John", b"/home"))


@pytest.mark.parametrize("output", [".", "..", "/"])
def test_an_export_into_a_folder_that_is_there(
    output: str, write_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["-m", str(write_model()), "-o", output, "--licence", "x", "--training_data", "x"]
    assert cli.main(["export", *flags]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
