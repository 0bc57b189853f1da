"""``hami config``: every setting, its value, where that came from, and what it does; or the reference of them all."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

import click

from hami_core.cli.output import output_as, show_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hami_core.cli.session import Session
    from hami_core.settings import Declaration, Entry

INDENT = "    "
HEADINGS = ("setting", "type", "default", "may be", "by node", "effect")


@click.command()
@output_as(
    "table",
    "json",
    "markdown",
    meaning="For people, for machines (docs/json.md), or the reference of all settings (docs/settings.md).",
)
@click.pass_obj
def config(session: Session, output: str) -> None:
    """Show every setting in force and where it came from.

    Sources, later ones win: default, --config FILE, HAMI_SET, --set, the entries of nodes that match, a simulated machine.
    """
    entries = sorted(session.settings.entries, key=lambda entry: (entry.owner != "core", entry.owner))
    if output == "json":
        show_json({"settings": [_document(entry) for entry in entries]})
    elif output == "markdown":
        click.echo("\n".join(reference(entries)).lstrip())
    else:
        for owner, group in groupby(entries, key=lambda entry: entry.owner):
            click.echo(click.style(f"# {owner}", dim=True))
            for entry in group:
                path = click.style(entry.declaration.path, bold=True)
                click.echo(f"{path} = {_shown(entry.value)}  ({_origin(entry)})")
                click.echo(_wrapped(entry.declaration.doc))


def _document(entry: Entry) -> dict[str, object]:
    from hami_core.sources import type_words

    return {
        "path": entry.declaration.path,
        "value": entry.value,
        "default": entry.declaration.default,
        "source": entry.source,
        "owner": entry.owner,
        "type": type_words(entry.declaration),
        "per_node": entry.declaration.per_node,
        "doc": entry.declaration.doc,
    }


def _origin(entry: Entry) -> str:
    """Where a value comes from, and what it would be without."""
    return entry.source if entry.source == "default" else f"{entry.source}; default {_shown(entry.declaration.default)}"


def _shown(value: object) -> str:
    """As it would be written in YAML on one line."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _wrapped(text: str) -> str:
    if not sys.stdout.isatty():
        return f"{INDENT}{text}"
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width=max(width, 40), initial_indent=INDENT, subsequent_indent=INDENT)


# --- The reference: what is declared, whatever is in force. -----------------------------------------------------------


def reference(entries: Iterable[Entry]) -> Iterator[str]:
    """A Markdown table of the settings of each owner, line by line."""
    for owner, group in groupby(entries, key=lambda entry: entry.owner):
        yield f"\n### {owner}\n"
        yield _line(HEADINGS)
        yield _line(["---"] * len(HEADINGS))
        yield from (_line(_cells(entry.declaration)) for entry in group)


def _cells(one: Declaration) -> Sequence[str]:
    from hami_core.sources import allowed_words, type_words

    default = f"`{_shown(one.default)}`"
    return f"`{one.path}`", type_words(one), default, allowed_words(one), "yes" if one.per_node else "", one.doc


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
