"""``hami config``: every setting, its value, where that came from, and what it does."""

from __future__ import annotations

import shutil
import sys
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

import click

from hami_core.cli.output import output, show_json

if TYPE_CHECKING:
    from hami_core.cli.session import Session
    from hami_core.settings import Entry

INDENT = "    "


@click.command()
@output
@click.pass_obj
def config(session: Session, output: str) -> None:
    """Show every setting in force and where it came from.

    Sources, later ones win: default, --config FILE, HAMI_SET, --set, a simulated machine.
    """
    entries = sorted(session.settings.entries, key=lambda entry: (entry.owner != "core", entry.owner))
    if output == "json":
        show_json({"settings": [_document(entry) for entry in entries]})
        return
    for owner, group in groupby(entries, key=lambda entry: entry.owner):
        click.echo(click.style(f"# {owner}", dim=True))
        for entry in group:
            click.echo(f"{click.style(entry.declaration.path, bold=True)} = {_shown(entry.value)}  ({entry.source})")
            click.echo(_wrapped(entry.declaration.doc))


def _document(entry: Entry) -> dict[str, object]:
    return {
        "path": entry.declaration.path,
        "value": entry.value,
        "default": entry.declaration.default,
        "source": entry.source,
        "owner": entry.owner,
        "doc": entry.declaration.doc,
    }


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrapped(text: str) -> str:
    if not sys.stdout.isatty():
        return f"{INDENT}{text}"
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width=max(width, 40), initial_indent=INDENT, subsequent_indent=INDENT)
