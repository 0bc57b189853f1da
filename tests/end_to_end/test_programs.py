"""Which programs a command may name, and which it may not."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HAMI = Path(sysconfig.get_path("scripts")) / "hami"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """``hami run`` of a command in this folder, on a machine of its own."""
    state = folder / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    env = {**os.environ, "HAMI_STATE_DIR": str(state), "HAMI_MACHINE": "t4-node"}
    words = [str(HAMI), "run", "--gpumem", "3000", "--", *command]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_a_program_of_this_folder_is_found_by_its_relative_path(tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)

    done = run(tmp_path, "./mine")

    assert (done.returncode, done.stdout) == (0, "mine\n")


def test_a_run_inside_a_run_is_refused_instead_of_waiting_for_itself(tmp_path: Path) -> None:
    done = run(tmp_path, str(HAMI), "run", "--gpumem", "1000", "--", "true")

    assert done.returncode == 125
    assert (
        "hami: HAMI_LIMITS: this process is inside a share already, and sees nothing but that share; "
        "start the program itself, or hami from outside\n"
    ) in done.stderr
