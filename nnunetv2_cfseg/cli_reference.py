"""Make the page ``docs/reference/cli.md`` from the parsers of all commands.

``python -m nnunetv2_cfseg.cli_reference`` prints the page, and ``make cli-reference`` writes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from nnunetv2_cfseg.cli import COMMANDS

HEAD = """\
# Commands

This page is generated from the commands (`make cli-reference`); `cfseg COMMAND --help` prints the same. Flags are named
as in nnU-Net if nnU-Net has them. Flags in bold are required.

Every command exits with status 0, or with 2 and one sentence on stderr if something is wrong
([`CFSEG_TRACEBACK=1`](environment-variables.md#this-packages) also prints the traceback).
"""


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, in the order in which ``cfseg --help`` lists them."""
    parsers = argparse.ArgumentParser(prog="cfseg").add_subparsers()
    for command in COMMANDS:
        command.add(parsers)
    return dict(parsers.choices)


def cli_reference(parsers: Mapping[str, argparse.ArgumentParser] | None = None) -> str:
    """The page in Markdown.

    Args:
        parsers: parsers of commands by name; by default all commands of ``cfseg``.
    """
    parsers = command_parsers() if parsers is None else parsers
    return "\n".join([HEAD, *(_command(name, parser) for name, parser in parsers.items())])


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    lines = [f"## cfseg {name}", "", *_wrapped(parser.description or ""), ""]
    if actions:
        lines += ["| Argument | Meaning |", "|---|---|", *(_row(action) for action in actions), ""]
    return "\n".join(lines)


def _row(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    shown = f"`{' '.join(part for part in (names, _value(action)) if part)}`"
    required = action.required and action.nargs != "?"
    text = (action.help or "") % {**vars(action), "prog": "cfseg"}
    return f"| {f'**{shown}**' if required else shown} | {_cell(text)} |"


def _value(action: argparse.Action) -> str:
    """The placeholder of the value of a flag or positional argument."""
    if action.nargs == 0:
        return ""
    name = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest)
    if isinstance(name, tuple):
        return " ".join(name)
    if isinstance(action.nargs, int):
        return " ".join([name] * action.nargs)
    return {"+": f"{name} ...", "*": f"[{name} ...]", "?": f"[{name}]"}.get(str(action.nargs), name)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*")


def _wrapped(text: str, width: int = 120) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


if __name__ == "__main__":
    print(cli_reference(), end="")
