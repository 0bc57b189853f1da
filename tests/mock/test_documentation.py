"""docs/simulated.md: its machine is one, its commands run, its tables are what the code says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

from hami_mock import description, faults

PAGE = (Path(__file__).parents[2] / "docs/simulated.md").read_text()
BIN = sysconfig.get_path("scripts")


def blocks(language: str) -> list[str]:
    """The page's blocks in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def rows(heading: str) -> list[list[str]]:
    """The table whose first column has this heading."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]


def commands() -> list[list[str]]:
    """Those of each block in turn."""
    return [[line.removeprefix("$ ") for line in block.splitlines()] for block in blocks("console")]


def test_the_machine_of_the_page_is_described_rightly() -> None:
    (text,) = blocks("toml")
    found = description.parse(text, "docs/simulated.md")

    assert [(gpu.profile.name, gpu.profile.memory) for gpu in found.gpus] == [("Tesla T4", 15360), ("Tesla T4, one half", 7680)]
    assert [fault.kind for fault in found.faults] == ["error", "xid"]


def test_the_page_names_every_profile() -> None:
    profiles = {path.stem for path in (description.HERE / "profiles").glob("*.toml")} - {"common"}
    (text,) = blocks("toml")
    named = re.findall(r"[a-z0-9-]+", "".join(re.findall(r"#(.*(?:, ?$|or one of your own))", text, re.MULTILINE)))

    assert profiles - set(named) == set()


def test_the_page_lists_every_machine_as_it_is() -> None:
    expected = [
        [found.machine, str(number or "-"), model, str(memory or "-"), found.joint]
        for found in map(description.load, description.shipped())
        for model, memory, number in found.models or (("-", 0, 0),)
    ]

    assert rows("machine") == expected


def test_the_page_lists_every_kind_of_fault_with_its_keys() -> None:
    found = {kind.strip("`"): set(re.findall(r"`(\w+)`", keys)) for kind, _, keys in rows("kind")}

    assert found == {kind: set(keys) for kind, keys in faults.KEYS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("session", commands())
def test_the_commands_of_a_block_run_one_after_another(session: list[str], tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    environment = {**os.environ, "HAMI_STATE_DIR": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"}

    for command in session:
        done = subprocess.run(shlex.split(command), env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, (command, done.stdout + done.stderr)


def test_the_page_has_a_session_of_each_subject() -> None:
    assert [len(session) > 3 for session in commands()] == [True, True]
