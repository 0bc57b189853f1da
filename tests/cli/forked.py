"""The command in a process forked from one that has its modules loaded already. Imports no pytest: every such process would."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

STREAMS = ("stdin", "stdout", "stderr")
LOADED = multiprocessing.get_context("forkserver")
LOADED.set_forkserver_preload(
    [
        *("__main__", "hami_core.cli.app", "hami_core.local.play", "hami_core.local.manifest", "hami_core.local.view"),
        *("hami_mock.commands", "hami_mock.machine", "hami_native", "hami_nvidia.nvml", "rich.console", "rich.table", "yaml"),
    ]
)


def process(arguments: Sequence[str], env: Mapping[str, str], folder: Path, streams: Path) -> BaseProcess:
    """A ``hami`` process, not started yet, with this environment and folder; its three streams are files in ``streams``."""
    return LOADED.Process(target=_run, args=(list(arguments), dict(env), folder, streams))


def _run(arguments: Sequence[str], env: Mapping[str, str], folder: Path, streams: Path) -> None:
    from hami_core.cli.app import invoke

    for descriptor, name in enumerate(STREAMS):
        opened = os.open(streams / name, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # the interpreter's own, which was closed
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.exit(invoke(arguments))
