"""Tables for a terminal, all of one look."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text


def plain_table(title: str, caption: str | None = None) -> Table:
    """A table without lines, its title and caption at the left; nothing in them is markup."""
    return Table(
        title=Text(title),
        caption=None if caption is None else Text(caption),
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1),
    )
