"""What mkdocs does to pages beside Markdown."""

from __future__ import annotations

import re
from typing import Any

INTERVAL = re.compile(r"\[([+-]?\d[\d.]*), ([+-]?\d[\d.]*)\]")
ROLE = re.compile(r":(?:class|data|func|meth|mod):<code>~?\.*([\w.]+)</code>")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Keep intervals of figures on one line."""
    return INTERVAL.sub("[\\1,\N{NO-BREAK SPACE}\\2]", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Show the names that docstrings refer to, without their modules."""
    return ROLE.sub(lambda role: f"<code>{role[1].rpartition('.')[2]}</code>", html)
