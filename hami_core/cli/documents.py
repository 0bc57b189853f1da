"""Documents of Kubernetes that a command prints, for ``kubectl apply -f -`` and for the programs that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hami_core.cli.output import output_as

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

form = output_as("yaml", "json", meaning="Both are read by kubectl and kube-scheduler.")


def show_documents(found: Sequence[Mapping[str, Any]], output: str) -> None:
    """YAML documents one after the other, or one JSON object: a List where there are several."""
    if output == "yaml":
        import yaml

        click.echo(yaml.dump_all(found, Dumper=_dumper(), sort_keys=False, width=10_000), nl=False)
        return
    import json

    one = found[0] if len(found) == 1 else {"apiVersion": "v1", "kind": "List", "items": list(found)}
    click.echo(json.dumps(one, indent=2))


def _dumper() -> type[object]:
    """YAML without aliases: kubectl takes them, people do not."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
            return True

    return Plain
