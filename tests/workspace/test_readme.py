"""The README: its commands run as they are written, and what it shows of the demo is what the demo prints."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = sysconfig.get_path("scripts")
COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith(".venv/bin/hami")]


def environment(state: Path) -> dict[str, str]:
    """Ours, with a state folder of its own and the installed commands first."""
    state.chmod(0o700)
    return {**os.environ, "HAMI_STATE_DIR": str(state), "PATH": f"{BIN}:{os.environ['PATH']}"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command: str, tmp_path: Path) -> None:
    words = command.replace(".venv/bin/hami", f"{BIN}/hami", 1).split()

    subprocess.run(words, cwd=ROOT, env=environment(tmp_path), check=True, capture_output=True)


def test_the_readme_names_every_page_that_there_is() -> None:
    linked = set(re.findall(r"\]\((docs/[a-z]+\.md)\)", README))

    assert linked == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    answer = subprocess.run(
        ["sh", "examples/demo.sh"], cwd=ROOT, env=environment(tmp_path), check=True, capture_output=True, text=True
    )

    told = answer.stdout + answer.stderr
    missing = [line for line in _shown() if _pattern(line).search(told) is None]
    assert missing == []


def _shown() -> list[str]:
    (block,) = re.findall(r"really gave:\n\n```\n(.*?)```", README, re.DOTALL)
    return [line for line in block.splitlines() if line.strip()]


def _pattern(line: str) -> re.Pattern[str]:
    """A shown line with any process number and any spacing."""
    return re.compile(r"\s+".join(re.sub(r"process \d+", r"process \\d+", re.escape(word)) for word in line.split()))
