"""How answers look: tables and colours for people, JSON for machines. Both are made from the same plain rows."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

output = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for machines (docs/json.md).",
)


def show_json(document: Mapping[str, Any]) -> None:
    """One JSON object with its version, as docs/json.md describes it."""
    click.echo(json.dumps({"v": 1, **document}, indent=2))


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """A table of texts; ``columns`` are (heading, "left" or "right")."""
    from rich import box
    from rich.table import Table

    made = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for heading, justify in columns:
        made.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def show(*parts: object) -> None:
    """Print tables and marked-up lines on stdout; plain where stdout is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=not _is_terminal())
    for part in parts:
        console.print(part)


def _is_terminal() -> bool:
    return sys.stdout.isatty()
