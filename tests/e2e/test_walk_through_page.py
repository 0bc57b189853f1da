"""docs/walkthrough.md: its commands are typed one after the other, and print what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hami_core

if TYPE_CHECKING:
    from tests.e2e.stage import GpuNode, Stage

ROOT = Path(hami_core.__file__).parents[1]
BLOCKS = re.findall(r"```console\n(.*?)```", (ROOT / "docs/walkthrough.md").read_text(), re.DOTALL)
STEPS = [step.partition("\n")[::2] for block in BLOCKS for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]

# What differs from run to run, and what stands for it.
VARYING = {
    r"\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4}": "TIME",
    r"grant [0-9a-f]{8}-[0-9a-f-]{27}/": "grant UID/",
    r"process \d+": "process PID",
    r"Msg\(\d+:\d+:(\w+\.c):\d+\)": r"Msg(PID:TID:\1:LINE)",
    r"exit handler \d+": "exit handler PID",
    r"  \d+m?\d*s?$": "  AGE",
    r" +$": "",
}


def masked(text: str) -> str:
    for pattern, word in VARYING.items():
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text.strip()


def test_every_command_prints_what_is_shown(stage: Stage, t4: GpuNode) -> None:
    stage.plane.make_namespace("default")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "KUBECONFIG": str(stage.plane.kubeconfig()), "PATH": path}

    for command, shown in STEPS:
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert masked(done.stdout + done.stderr) == masked(shown), command
    assert len(STEPS) == 9
