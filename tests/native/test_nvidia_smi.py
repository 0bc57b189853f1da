"""The real nvidia-smi under the interposer, as a user sees the limit in a shell."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

import hami_native
from hami_mock import machine
from tests import judges
from tests.native.harness import Frame, device

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Needs

MEMORY = 3000 << 20


@pytest.fixture
def nvidia_smi(needs: Needs) -> Path:
    try:
        return judges.program("nvidia-smi", "nvidia-smi")
    except judges.Missing as missing:
        needs(f"Debian's nvidia-smi ({missing})", here=False)
        raise


@pytest.fixture
def share(tmp_path: Path) -> Frame:
    """3,000 MiB of the third of four T4."""
    made = machine.install("t4x4", tmp_path / "machine")
    folder = tmp_path / "grant"
    folder.mkdir()
    return Frame(made.libraries, folder).grants(device(name=made.uuids[2], memory=MEMORY))


def run(share: Frame, nvidia_smi: Path, *arguments: str) -> str:
    command = [str(nvidia_smi), *arguments]
    return subprocess.run(command, env=share.environment(), capture_output=True, text=True, check=True, timeout=60).stdout


def test_it_shows_one_gpu_with_the_share_for_its_memory(share: Frame, nvidia_smi: Path) -> None:
    table = run(share, nvidia_smi)

    assert re.findall(r"\d+MiB / +\d+MiB", table) == ["0MiB /  3000MiB"]
    assert "No running processes found" in table


def test_it_lists_the_process_that_holds_the_share(share: Frame, nvidia_smi: Path) -> None:
    with share.start(hami_native.probe(), "--hold") as process:
        assert process.stdout is not None
        while "one byte more" not in process.stdout.readline():
            pass
        table = run(share, nvidia_smi)
        rows = run(share, nvidia_smi, "--query-compute-apps=pid,used_memory", "--format=csv,noheader")
        process.communicate("")

    assert re.findall(r"\d+MiB / +\d+MiB", table) == ["3000MiB /  3000MiB"]
    assert rows.splitlines() == [f"{process.pid}, 3000 MiB"]


def test_without_limits_it_shows_no_device(share: Frame, nvidia_smi: Path) -> None:
    share.limits.write_text("")

    done = subprocess.run([nvidia_smi], env=share.environment(), capture_output=True, text=True, check=False, timeout=60)

    assert "No devices were found" in done.stdout + done.stderr
