"""``hami config``: every setting, its value, where that came from, and what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hami_core.cli.output import output, show, show_json, table

if TYPE_CHECKING:
    from hami_core.cli.session import Session
    from hami_core.settings import Entry


@click.command()
@output
@click.pass_obj
def config(session: Session, output: str) -> None:
    """Show every setting in force and where it came from."""
    entries = sorted(session.settings.entries, key=lambda entry: (entry.owner != "core", entry.owner))
    if output == "json":
        show_json({"settings": [_document(entry) for entry in entries]})
        return
    columns = [("SETTING", "left"), ("VALUE", "left"), ("FROM", "left"), ("OWNER", "left"), ("EFFECT", "left")]
    rows = [
        (entry.declaration.path, _shown(entry.value), entry.source, entry.owner, entry.declaration.doc) for entry in entries
    ]
    show(table(columns, rows))


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
