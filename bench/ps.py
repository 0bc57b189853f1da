"""How long a person waits for ``hami ps``: on an idle machine, and with 64 processes in 64 shares of eight GPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import hami_native
from bench.interleave import Row, compare
from hami_core import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HAMI = str(Path(sysconfig.get_path("scripts")) / "hami")
ROUNDS = 15
PATIENCE = 60  # seconds
PODS, EACH = 8, 8  # a container and a process each
GOAL = 0.2  # seconds


def rows() -> list[Row]:
    """Beside the least that a Python program takes."""
    with tempfile.TemporaryDirectory() as idle, tempfile.TemporaryDirectory() as crowded:
        baseline = f"python {sys.version_info.major}.{sys.version_info.minor}, nothing else"
        with _crowd(Path(crowded)) as environment:
            return compare(
                "hami ps",
                (baseline, _runs([sys.executable, "-c", "pass"], os.environ)),
                {
                    "on an idle machine": (_runs([HAMI, "ps"], _environment(Path(idle))), GOAL),
                    f"with {PODS * EACH} processes in as many shares": (_runs([HAMI, "ps"], environment), GOAL),
                },
                rounds=ROUNDS,
            )


@contextmanager
def _crowd(folder: Path) -> Iterator[Mapping[str, str]]:
    """All of them hold memory inside; the environment to look at them."""
    meeting, pods = folder / "meeting", folder / "pods.yaml"
    meeting.mkdir()
    one_never_comes = PODS * EACH + 1
    command = [str(hami_native.probe()), "--barrier", str(meeting), str(one_never_comes)]
    pods.write_text("\n---\n".join(json.dumps(_pod(f"crowd-{number}", command)) for number in range(PODS)))
    environment = _environment(folder / "state")
    play = subprocess.Popen([HAMI, "play", str(pods)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(meeting, PODS * EACH)
        yield environment
    finally:
        subprocess.run([HAMI, "stop", "--all", "--grace", "0"], env=environment, capture_output=True, check=True)
        play.wait()


def _pod(name: str, command: Sequence[str]) -> dict[str, object]:
    limits = {"limits": {"nvidia.com/gpumem": 5000}}
    containers = [{"name": f"c{number}", "command": command, "resources": limits} for number in range(EACH)]
    spec = {"containers": containers, "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _await(meeting: Path, count: int) -> None:
    """Until so many hold what they asked for: each leaves a file."""
    until = time.monotonic() + PATIENCE
    while len(list(meeting.iterdir())) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{count} processes did not hold memory after {PATIENCE} s")
        time.sleep(0.01)


def _environment(state: Path) -> dict[str, str]:
    return {**os.environ, names.ENV_STATE: str(state), names.ENV_MACHINE: "dgx-a100"}


def _runs(command: Sequence[str], environment: Mapping[str, str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, env=dict(environment), capture_output=True, check=True)
