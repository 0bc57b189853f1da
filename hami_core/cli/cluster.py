"""Which API server a command talks to, as its options."""

from __future__ import annotations

from pathlib import Path

import click

kubeconfig = click.option(
    "--kubeconfig",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The way to the API server. Otherwise KUBECONFIG, ~/.kube/config, or that of the pod it runs in.",
)
context = click.option("--context", metavar="NAME", help="Which context of the kubeconfig.")
