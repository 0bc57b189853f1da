"""The Makefile: what a newcomer types first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.workspace.projects import MEMBERS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

NEEDED = "make, git, and Python 3.11 or newer with venv"

pytestmark = [pytest.mark.needs("make"), pytest.mark.slow]


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that the set-up reads, in a folder without an environment."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for member in MEMBERS:
        (tmp_path / member).mkdir(parents=True)
    return tmp_path


def test_help_lists_every_command() -> None:
    commands = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"^  ([a-z-]+) ", make(ROOT, "help").stdout, re.MULTILINE)) == commands


def test_without_a_command_make_gives_its_help() -> None:
    assert make(ROOT).stdout == make(ROOT, "help").stdout


def test_help_says_what_the_machine_needs() -> None:
    assert NEEDED in make(ROOT, "help").stdout


@pytest.mark.parametrize("python", ["no-such-python", "false"], ids=["missing", "failing"])
def test_without_a_usable_python_the_error_says_what_is_needed(clone: Path, python: str) -> None:
    done = make(clone, "setup", f"PYTHON={python}")

    assert done.returncode == 2
    assert f"None of these is Python 3.11 or newer with venv: {python}." in done.stderr
    assert NEEDED in done.stderr


def change(path: Path, seconds: float = 3600) -> None:
    """As an editor does, so much later than the file's last change."""
    later = path.stat().st_mtime + seconds
    os.utime(path, (later, later))


@pytest.fixture
def ready(clone: Path) -> Path:
    """A clone whose set-up was done after its last change."""
    (clone / "native" / "region.c").touch()
    (clone / ".venv").mkdir()
    for seconds, stamp in enumerate((".python", ".locked", ".members"), 10):
        (clone / ".venv" / stamp).touch()
        change(clone / ".venv" / stamp, seconds)
    return clone


def steps(folder: Path, command: str) -> list[str]:
    """The steps of the set-up that ``make command`` would take."""
    return re.findall(r"set-up (\d)/3", make(folder, "--dry-run", command).stdout)


def test_a_second_call_installs_nothing(ready: Path) -> None:
    assert steps(ready, "check") == []


@pytest.mark.parametrize(
    ("path", "taken"), [("native/region.c", ["3"]), ("pyproject.toml", ["3"]), ("requirements.lock", ["2", "3"])]
)
def test_what_has_changed_is_installed_again(ready: Path, path: str, taken: list[str]) -> None:
    change(ready / path)

    assert steps(ready, "check") == taken


@pytest.mark.parametrize("command", ["demo", "cluster", "check", "test", "test-all", "bench", "lint", "type"])
def test_every_command_starts_with_the_set_up(clone: Path, command: str) -> None:
    assert steps(clone, command) == ["1", "2", "3"]
