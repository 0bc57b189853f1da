"""The real nvidia-smi judges the simulated machine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from tests import judges
from tests.mock.conftest import Program, debian, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_mock.machine import Machine
    from tests.conftest import Needs

    Smi = Callable[..., str]

MIB = 1 << 20


@pytest.fixture
def smi(needs: Needs) -> Smi:
    """Runs it on a machine and returns what it prints."""
    program = debian(needs, judges.SMI, "nvidia-smi")

    def smi(on: Machine, *arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments], env=environment(on), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return smi


def test_the_bare_table_shows_one_t4_and_its_memory(smi: Smi, node: Machine) -> None:
    table = smi(node)

    assert table.count("Tesla T4") == 1
    assert "0MiB / 15360MiB" in table
    assert "Driver Version: 580.65.06" in table
    assert "CUDA Version: 13.0" in table
    assert "No running processes found" in table


def test_the_table_shows_a_process_and_what_it_holds(smi: Smi, node: Machine, program: Program) -> None:
    program.start().alloc(3000 * MIB)

    table = smi(node)

    assert "3103MiB / 15360MiB" in table
    row = next(line for line in table.splitlines() if f" {program.process.pid} " in line)
    assert row.split()[-2] == "3103MiB"


def test_devices_are_listed_with_their_uuids(smi: Smi, tmp_path: Path) -> None:
    on = machine.install("dgx-h100", tmp_path / "dgx-h100")

    assert smi(on, "-L").splitlines() == [
        f"GPU {index}: NVIDIA H100 80GB HBM3 (UUID: {uuid})" for index, uuid in enumerate(on.uuids)
    ]


def test_queries_answer(smi: Smi, node: Machine, program: Program) -> None:
    program.start().alloc(3000 * MIB)

    fields = "index,name,uuid,memory.total,memory.used,memory.free,utilization.gpu,compute_cap,pci.bus_id"
    found = smi(node, f"--query-gpu={fields}", "--format=csv,noheader,nounits")

    assert found.strip() == f"0, Tesla T4, {node.uuids[0]}, 15360, 3103, 11992, 0, 7.5, 00000000:3B:00.0"
    apps = smi(node, "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
    assert apps.strip() == f"{program.process.pid}, 3103"


def test_the_long_report_is_complete(smi: Smi, node: Machine) -> None:
    report = smi(node, "-q")

    assert "Attached GPUs                             : 1" in report
    assert node.uuids[0] in report
