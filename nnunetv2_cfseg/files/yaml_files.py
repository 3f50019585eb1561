"""Reads YAML safely: no code runs, and size and nesting are limited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nnunetv2_cfseg.files.text_files import first_repeated, read_text

#: Largest file; PyYAML takes a second to read it.
LIMIT_BYTES = 2**17
#: Most values of a file, with every alias expanded.
MOST_NODES = 20_000


def read_yaml(file: Path) -> Any:
    """Read a YAML file of plain values, lists and mappings.

    Raises:
        ValueError: it is no regular file, too large, no YAML or nested too deeply, a mapping has a key twice, or
            aliases form a circle or expand to too many values.
        OSError: it cannot be read.
    """
    text = read_text(file, limit_bytes=LIMIT_BYTES)
    try:
        return _construct(yaml.SafeLoader(text))
    except RecursionError:
        raise ValueError(f"{file.name} is nested too deeply: {file}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file.name} must be YAML ({' '.join(str(error).split())}): {file}") from error
    except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError) as error:  # of odd tags and dates
        raise ValueError(f"{file.name} holds a value that cannot be read ({error}): {file}") from error


def _construct(loader: yaml.SafeLoader) -> Any:
    node = loader.get_single_node()
    if node is None:
        return None
    _count_expanded(node, {}, [])
    return loader.construct_document(node)


def _count_expanded(node: yaml.Node, known: dict[int, int], above: list[int]) -> int:
    """How many nodes there are with every alias expanded."""
    if id(node) in above:
        raise ValueError("an alias refers to itself")
    if id(node) not in known:
        above.append(id(node))
        known[id(node)] = 1 + sum(_count_expanded(child, known, above) for child in _children(node))
        above.pop()
    if known[id(node)] > MOST_NODES:
        raise ValueError(f"there are more than {MOST_NODES} values, with every alias expanded")
    return known[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if not isinstance(node, yaml.MappingNode):
        return []
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if (repeated := first_repeated(keys)) is not None:
        raise ValueError(f"a mapping has the key {repeated!r} twice")
    return [child for pair in node.value for child in pair]
