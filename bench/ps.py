"""How long a person waits for ``hami ps``: on an idle machine, and with 64 processes that use eight GPUs in eight shares."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
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
SHARES, EACH = 8, 8
GOAL = 0.2  # seconds
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: crowd-{number}}}
spec:
  containers:
    - name: crowd
      image: debian
      command: [sh, -c, "for i in $(seq {each}); do {probe} --barrier {meeting} {all} & done; wait"]
      resources: {{limits: {{nvidia.com/gpumem: 10000}}}}
  restartPolicy: Never
"""


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
                    f"with {SHARES * EACH} processes in {SHARES} shares": (_runs([HAMI, "ps"], environment), GOAL),
                },
                rounds=ROUNDS,
            )


@contextmanager
def _crowd(folder: Path) -> Iterator[Mapping[str, str]]:
    """All of them hold memory inside; the environment to look at them."""
    meeting, pods = folder / "meeting", folder / "pods.yaml"
    meeting.mkdir()
    everybody = SHARES * EACH + 1  # and one who never comes
    pod = {"each": EACH, "probe": hami_native.probe(), "meeting": meeting, "all": everybody}
    pods.write_text("---".join(POD.format(number=number, **pod) for number in range(SHARES)))
    environment = _environment(folder / "state")
    play = subprocess.Popen([HAMI, "play", str(pods)], env=environment, stderr=subprocess.DEVNULL)
    try:
        _await(meeting, SHARES * EACH)
        yield environment
    finally:
        subprocess.run([HAMI, "stop", "--all", "--grace", "0"], env=environment, capture_output=True, check=True)
        play.wait()


def _await(meeting: Path, count: int) -> None:
    """Until so many hold what they asked for: each leaves a file."""
    while len(list(meeting.iterdir())) < count:
        os.sched_yield()


def _environment(state: Path) -> dict[str, str]:
    return {**os.environ, names.ENV_STATE: str(state), names.ENV_MACHINE: "dgx-a100"}


def _runs(command: Sequence[str], environment: Mapping[str, str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, env=dict(environment), capture_output=True, check=True)
