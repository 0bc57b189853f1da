"""How long a person waits: for ``hami --help``, and from ``hami play`` to the first instruction of the workload."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.interleave import Measured, Row, compare, ratio
from hami_core import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HAMI = str(Path(sysconfig.get_path("scripts")) / "hami")
ROUNDS = 15
POD = """
apiVersion: v1
kind: Pod
metadata: {name: clock}
spec:
  containers:
    - {name: clock, image: debian, command: [date, "+%s%N"], resources: {limits: {nvidia.com/gpumem: 3000}}}
  restartPolicy: Never
"""


def rows() -> list[Row]:
    """Both, beside the least that a Python program or the workload alone would take."""
    return [*_help(), *_play()]


def _help() -> list[Row]:
    bare = (f"python {sys.version_info.major}.{sys.version_info.minor}, nothing else", _runs([sys.executable, "-c", "pass"]))
    return compare("start-up", bare, {"hami --help": (_runs([HAMI, "--help"]), 0.150)}, rounds=ROUNDS)


def _play() -> list[Row]:
    subject, baseline = "to the workload's first instruction", "the workload alone"
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "pod.yaml"
        manifest.write_text(POD)
        environment = {**os.environ, names.ENV_STATE: folder, names.ENV_MACHINE: "t4-node"}
        play = [HAMI, "play", str(manifest)]
        _first_instruction(play, environment)  # makes the simulated machine
        pairs = [
            (_first_instruction(["date", "+%s%N"], environment), _first_instruction(play, environment)) for _ in range(ROUNDS)
        ]
    alone, played = (Measured(seconds) for seconds in zip(*pairs, strict=True))
    return [Row(subject, baseline, alone), Row(subject, "hami play", played, baseline, ratio(played, alone), 0.6)]


def _first_instruction(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Seconds until the program that ``command`` ends up in reads its clock."""
    start = time.time_ns()
    answer = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=True)
    return (int(answer.stdout) - start) * 1e-9


def _runs(command: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, capture_output=True, check=True)
