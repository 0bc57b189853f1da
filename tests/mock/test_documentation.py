"""docs/simulated.md: its machine is one, and its commands run on it."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from hami_mock import description

PAGE = (Path(__file__).parents[2] / "docs/simulated.md").read_text()
BIN = sysconfig.get_path("scripts")


def block(language: str) -> str:
    """The page's one block in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_machine_of_the_page_is_described_rightly() -> None:
    found = description.parse(block("toml"), "docs/simulated.md")

    assert [(gpu.profile.name, gpu.profile.memory) for gpu in found.gpus] == [("Tesla T4", 15360), ("Tesla T4, one half", 7680)]


@pytest.mark.parametrize("command", [line.removeprefix("$ ") for line in block("console").splitlines()])
def test_a_command_of_the_page_runs(command: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    environment = {**os.environ, "HAMI_STATE_DIR": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"}

    subprocess.run(command.split(), env=environment, check=True, capture_output=True)
