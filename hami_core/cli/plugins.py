"""``hami plugins``: what is loaded, what is left out and why, and which names belong to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import asdict, frozen

from hami_core.cli.output import Table, output, show, show_json

if TYPE_CHECKING:
    from hami_core.cli.session import Session
    from hami_core.plugins import Loaded


@click.command()
@output
@click.pass_obj
def plugins(session: Session, output: str) -> None:
    """Show the plugins in use, their kinds, and those left out."""
    rows = [_row(session, plugin) for plugin in session.plugins.loaded]
    failures = [*session.plugins.failures, *session.catalogue.failures]
    if output == "json":
        told = [{"name": failure.plugin, "reason": str(failure)} for failure in failures]
        show_json({"plugins": [asdict(row) for row in rows], "failures": told, "blocked": list(session.plugins.blocked)})
        return
    columns = [("PLUGIN", "left"), ("DISTRIBUTION", "left"), ("KINDS", "left"), ("REQUEST NAMES", "left")]
    show(Table(columns, [row.texts() for row in rows]))
    for failure in failures:
        click.echo(f"{click.style('left out', fg='red')}  {failure}")
    for name in session.plugins.blocked:
        click.echo(f"{click.style('blocked', fg='yellow')}  {name}")


@frozen
class Row:
    """One plugin in use and what it owns."""

    name: str
    distribution: str
    version: str
    kinds: tuple[str, ...]
    resources: tuple[str, ...]
    hooks: tuple[str, ...]

    def texts(self) -> tuple[str, ...]:
        """The cells of the table."""
        owned, named = ", ".join(self.kinds), ", ".join(self.resources)
        return self.name, f"{self.distribution} {self.version}", owned or "-", named or "-"


def _row(session: Session, plugin: Loaded) -> Row:
    catalogue = session.catalogue
    kinds = [kind for kind in catalogue.kinds if catalogue.owners[kind.name] == plugin.name]
    return Row(
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        kinds=tuple(kind.name for kind in kinds),
        resources=tuple(name for kind in kinds for name in kind.resources.names()),
        hooks=plugin.hooks,
    )
