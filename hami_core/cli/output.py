"""How answers look: tables and colours for people, JSON for machines. Both are made from the same plain rows.

On a terminal a table fits its width and has colours (unless NO_COLOR is set); elsewhere it is as wide as its rows are, so that
no word is cut in two and ``grep`` finds whole lines.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

import click
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from click.decorators import FC
    from rich.table import Table as Drawn


def output_as(*forms: str, meaning: str) -> Callable[[FC], FC]:
    """``-o``: the form of an answer, the first of these where nobody says."""
    return click.option("-o", "--output", type=click.Choice(forms), default=forms[0], show_default=True, help=meaning)


output = output_as("table", "json", meaning="For people, or for machines (docs/json.md).")


def show_json(document: Mapping[str, Any], one_line: bool = False) -> None:
    """One JSON object with its version, as docs/json.md describes it; on one line, where it is one of many."""
    import json

    click.echo(json.dumps({"v": 1, **document}, indent=None if one_line else 2))


def plain(text: str) -> str:
    """A text of somebody else's in one line: control characters could draw over the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


@frozen
class Table:
    """Plain texts in columns; ``columns`` are (heading, "left" or "right").

    What is too wide for a terminal wraps, but not in a column without blanks (UUIDs, numbers): people copy from it. The column
    ``cut`` is cut off instead: its end is the least that one looks for.
    """

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]
    title: str = ""
    cut: str = ""

    def drawn(self) -> Drawn:
        """As rich draws it on a terminal."""
        from rich.table import Table as Drawn
        from rich.text import Text

        title = Text(self.title) if self.title else None
        made = Drawn(title=title, box=None, title_justify="left", title_style="bold", pad_edge=False)
        for number, (heading, justify) in enumerate(self.columns):
            whole = heading == self.cut or not any(" " in row[number] for row in self.rows)
            overflow: Literal["ellipsis", "fold"] = "ellipsis" if heading == self.cut else "fold"
            made.add_column(Text(heading), justify="right" if justify == "right" else "left", no_wrap=whole, overflow=overflow)
        for row in self.rows:
            made.add_row(*(Text(cell) for cell in row))  # not the bare text: rich would read square brackets as markup
        return made

    def lines(self) -> list[str]:
        """As rich would draw it without colours on a terminal that has no end, without rich: it is slow to import."""
        justified = []
        for number, (heading, justify) in enumerate(self.columns):
            cells = [heading, *(row[number] for row in self.rows)]
            width = max(map(len, cells))
            justified.append([cell.rjust(width) if justify == "right" else cell.ljust(width) for cell in cells])
        lines = ["  ".join(row).rstrip() for row in zip(*justified, strict=True)]
        return [self.title, *lines] if self.title else lines


def show(*tables: Table) -> None:
    """Print tables on stdout, without blanks at the ends of lines."""
    if not sys.stdout.isatty():
        for one in tables:
            click.echo("\n".join(one.lines()))
        return
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        for one in tables:
            console.print(one.drawn())
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=True)  # rich has left out what NO_COLOR does not want


def no_colour_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the user forbids colours everywhere. Source: https://no-color.org"""
    return bool(environment.get("NO_COLOR"))
