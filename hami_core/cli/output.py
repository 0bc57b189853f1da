"""How answers look: tables and colours for people, JSON for machines. Both are made from the same plain rows.

On a terminal a table fits its width and has colours (unless NO_COLOR is set); elsewhere it is as wide as its rows are, so that
no word is cut in two and ``grep`` finds whole lines.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

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


def show_json(document: Mapping[str, Any], one_line: bool = False) -> None:
    """One JSON object with its version, as docs/json.md describes it; on one line, where it is one of many."""
    import json

    click.echo(json.dumps({"v": 1, **document}, indent=None if one_line else 2))


def plain(text: str) -> str:
    """A text of somebody else's in one line: control characters could draw over the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], title: str = "", cut: str = "") -> Table:
    """A table of plain texts; ``columns`` are (heading, "left" or "right").

    What is too wide for a terminal wraps, but not in a column without blanks (UUIDs, numbers): people copy from it. The column
    ``cut`` is cut off instead: its end is the least that one looks for.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title) if title else None, box=None, title_justify="left", title_style="bold", pad_edge=False)
    for number, (heading, justify) in enumerate(columns):
        whole = heading == cut or not any(" " in row[number] for row in rows)
        overflow: Literal["ellipsis", "fold"] = "ellipsis" if heading == cut else "fold"
        made.add_column(Text(heading), justify="right" if justify == "right" else "left", no_wrap=whole, overflow=overflow)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))  # not the bare text: rich would read square brackets as markup
    return made


def show(*tables: Table) -> None:
    """Print tables on stdout, without blanks at the ends of lines."""
    if not sys.stdout.isatty():
        for one in tables:
            click.echo("\n".join(_plain_lines(one)))
        return
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        for one in tables:
            console.print(one)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=True)  # rich has left out what NO_COLOR does not want


def _plain_lines(shown: Table) -> list[str]:
    """The table as rich would print it without colours on a terminal that has no end; in a tenth of the time."""
    columns = [[str(column.header), *map(str, column.cells)] for column in shown.columns]
    justified = []
    for column, cells in zip(shown.columns, columns, strict=True):
        width = max(map(len, cells))
        justified.append([cell.rjust(width) if column.justify == "right" else cell.ljust(width) for cell in cells])
    lines = ["  ".join(row).rstrip() for row in zip(*justified, strict=True)]
    return [str(shown.title), *lines] if shown.title else lines


def no_colour_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the user forbids colours everywhere. Source: https://no-color.org"""
    return bool(environment.get("NO_COLOR"))
