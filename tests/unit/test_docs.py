"""The docs: links lead somewhere, commands are ones that exist, and what is made from the code is current."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from nnunetv2_cfseg import __version__, cli_reference
from nnunetv2_cfseg.files.schema import Document
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection, ThinThickSection

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*([^)\s]+)[^)]*\)")


def pages() -> list[Path]:
    """Every Markdown file of the repository that is tracked or could be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    try:
        listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        return [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
    return [file for line in listed.stdout.splitlines() if (file := REPOSITORY / line).is_file()]


def name(file: Path) -> str:
    return file.relative_to(REPOSITORY).as_posix()


#: Without the model card, which is a template for the folder of a bundle.
BY_NAME = {name(file): file for file in pages() if not name(file).startswith("nnunetv2_cfseg/")}


def links(text: str) -> list[str]:
    """Targets of links and pictures outside of code."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    return LINK.findall(prose)


@cache
def anchors(file: Path) -> frozenset[str]:
    """Of the headings, as mkdocs and GitHub make them."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", file.read_text()), re.MULTILINE)
    slugs: list[str] = []
    for heading in headings:
        plain = re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", heading)).strip().lower()
        slugs.append(re.sub(r"[-\s]+", "-", plain))
    return frozenset(slugs)


@pytest.mark.parametrize("page", BY_NAME)
def test_relative_links_lead_to_files_and_headings(page: str) -> None:
    file = BY_NAME[page]
    broken = []
    for target in links(file.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (file.parent / path).resolve() if path else file
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert not broken


def shell_lines(text: str) -> Iterator[str]:
    """Commands of bash blocks, one a line."""
    for language, block in FENCE.findall(text):
        if language == "bash":
            yield from block.replace("\\\n", " ").splitlines()


def cfseg_commands(text: str) -> list[list[str]]:
    """Arguments of each call of cfseg that stands at the start of a line, after variables."""
    commands = []
    for line in shell_lines(text):
        words = shlex.split(line, comments=True) if re.match(r"\s*(\w+=\S+\s+)*cfseg\s", line) else []
        while words and words[0] != "cfseg":
            words.pop(0)
        if words:
            commands.append(words[1:])
    return commands


@cache
def parser() -> argparse.ArgumentParser:
    """All commands of cfseg, without abbreviations."""
    whole = argparse.ArgumentParser(prog="cfseg", allow_abbrev=False)
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(dest="command", required=True)
    for command in cli_reference.COMMANDS:
        command.add(commands)
    for subparser in commands.choices.values():
        subparser.allow_abbrev = False
    return whole


WITH_COMMANDS = [page for page, file in BY_NAME.items() if cfseg_commands(file.read_text())]


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_parse(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [command for command in cfseg_commands(BY_NAME[page].read_text()) if not parses(command)]
    assert not wrong, capsys.readouterr().err


def parses(arguments: list[str]) -> bool:
    try:
        parser().parse_args(arguments)
    except SystemExit as end:  # of --help and --version as well
        return end.code == 0
    return True


def test_pages_with_commands_are_found() -> None:
    assert {"README.md", "docs/how-to/thin-from-thick.md", "docs/how-to/predict.md"} <= set(WITH_COMMANDS)


def test_command_reference_is_current() -> None:
    page = (REPOSITORY / "docs/reference/cli.md").read_text()
    assert page == cli_reference.cli_reference(), "run make cli-reference"


def test_command_reference_shows_what_a_flag_takes() -> None:
    command = argparse.ArgumentParser(description="Does it.")
    command.add_argument("file", nargs="?", metavar="FILE", help="an optional | file")
    command.add_argument("-o", "--out", required=True, nargs=2, metavar=("A", "B"), help="(default: %(default)s)")
    command.add_argument("--kind", choices=("x", "y"), nargs="+")
    command.add_argument("--flag", action="store_true")
    page = cli_reference.cli_reference({"it": command})
    assert page.endswith(
        "## cfseg it\n\nDoes it.\n\n| Argument | Meaning |\n|---|---|\n"
        "| `[FILE]` | an optional \\| file |\n"
        "| **`-o, --out A B`** | (default: None) |\n"
        "| `--kind {x,y} ...` |  |\n"
        "| `--flag` |  |\n"
    )


@pytest.mark.parametrize("section", [CFSegSection, ThinThickSection])
def test_every_key_of_the_plans_is_described(section: type[Document]) -> None:
    page = (REPOSITORY / "docs" / "reference" / "plans-keys.md").read_text()
    rows = {row.split("|")[1].strip().strip("`").split(".")[0] for row in page.splitlines() if row.startswith("| `")}
    assert section.model_fields.keys() - {"thin_thick"} <= rows


def test_every_page_of_the_docs_is_in_the_navigation() -> None:
    navigation = re.findall(r"[\w./-]+\.md", (REPOSITORY / "mkdocs.yml").read_text())
    assert sorted(navigation) == sorted(page.removeprefix("docs/") for page in BY_NAME if page.startswith("docs/"))


def test_code_names_pages_that_exist() -> None:
    files = [file for folder in ("nnunetv2_cfseg", "experiments", "benchmarks")
             for file in (REPOSITORY / folder).rglob("*") if file.suffix in (".py", ".j2", ".yaml")]  # fmt: skip
    named = {(name(file), page) for file in files for page in re.findall(r"docs/[\w/-]+\.md", file.read_text())}
    assert named
    assert not [(file, page) for file, page in named if not (REPOSITORY / page).is_file()]


def test_docs_name_experiments_that_exist() -> None:
    folder = next(path for name in ("experiments", "benchmarks") if (path := REPOSITORY / name).is_dir())
    named = {(page, path) for page, file in BY_NAME.items()
             for path in re.findall(r"experiments/([\w/.-]+\.\w+)", file.read_text())}  # fmt: skip
    assert named
    assert not [(page, path) for page, path in named if not (folder / path).is_file()]


def test_the_version_is_the_same_everywhere() -> None:
    citation = re.search(r"^version: (\S+)$", (REPOSITORY / "CITATION.cff").read_text(), re.MULTILINE)
    changelog = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert citation is not None
    assert changelog is not None
    assert {citation[1], changelog[1]} == {__version__}
