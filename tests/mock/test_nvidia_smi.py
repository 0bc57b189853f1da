"""The real nvidia-smi judges the simulated machine."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from hami_mock import description, machine
from tests import judges
from tests.mock.conftest import Program, debian, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_mock.machine import Machine
    from tests.conftest import Needs

    Smi = Callable[..., str]

MIB = 1 << 20

pytestmark = pytest.mark.slow


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


JOINT = {"t4-node": None, "t4x4": None, "dgx-a100": "NV12", "dgx-h100": "NV18"}
LINKS = {"dgx-a100": (12, "25 GB/s"), "dgx-h100": (18, "26.562 GB/s")}


@pytest.fixture(params=JOINT)
def on(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return machine.install(request.param, tmp_path / request.param)


def matrix(report: str) -> list[list[str]]:
    """The rows of `topo -m`: one cell for each GPU, then the processors near it."""
    return [line.split() for line in report.splitlines() if line.startswith("GPU")]


def test_the_topology_is_links_where_there_are_links_and_numa_nodes_elsewhere(smi: Smi, on: Machine) -> None:
    rows = matrix(smi(on, "topo", "-m"))

    count, joint = len(on.uuids), JOINT[on.name]
    far = {(0, 1): "NODE", (2, 3): "NODE"}
    expected = [
        ["X" if a == b else joint or far.get((min(a, b), max(a, b)), "SYS") for b in range(count)] for a in range(count)
    ]
    assert [row[1 : count + 1] for row in rows] == expected
    assert [row[count + 1] for row in rows] == [
        f"{gpu.numa * 16}-{gpu.numa * 16 + 15}" for gpu in description.load(on.name).gpus
    ]


@pytest.mark.parametrize("name", LINKS)
def test_the_links_have_their_speed(smi: Smi, tmp_path: Path, name: str) -> None:
    on = machine.install(name, tmp_path / name)

    links, speed = LINKS[name]
    assert re.findall(r"Link \d+: (.*)", smi(on, "nvlink", "-s")) == [speed] * links * 8


def test_the_long_report_tells_every_gpu(smi: Smi, on: Machine) -> None:
    report = smi(on, "-q")

    gpus = description.load(on.name).gpus
    assert re.findall(r"GPU UUID +: (\S+)", report) == list(on.uuids)
    assert re.findall(r"FB Memory Usage\n +Total +: (\d+) MiB", report) == [str(gpu.profile.memory) for gpu in gpus]
    assert re.findall(r"Product Name +: (.*)", report) == [gpu.profile.name for gpu in gpus]
    assert "Unknown Error" not in report


def test_the_monitors_have_a_row_for_every_gpu(smi: Smi, on: Machine) -> None:
    expected = [str(index) for index in range(len(on.uuids))]

    assert re.findall(r"^ +(\d+) ", smi(on, "dmon", "-c", "1"), re.MULTILINE) == expected
    assert re.findall(r"^ +(\d+) ", smi(on, "pmon", "-c", "1"), re.MULTILINE) == expected


def test_the_process_monitor_names_who_holds_memory(smi: Smi, node: Machine, program: Program) -> None:
    program.start().alloc(MIB)

    assert re.search(rf"^ +0 +{program.process.pid} +C ", smi(node, "pmon", "-c", "1"), re.MULTILINE)


def test_what_seldom_comes_together_is_shown_all_the_same(smi: Smi, tmp_path: Path) -> None:
    """No memory of its own, minor numbers with holes, another PCI domain, load of nobody."""
    weird = machine.install("weird", tmp_path / "weird")

    fields = "name,memory.total,memory.used,utilization.gpu,pci.bus_id"
    found = smi(weird, f"--query-gpu={fields}", "--format=csv,noheader,nounits")

    assert found.splitlines() == [
        "Tesla T4, 15360, 0, 0, 00000000:81:00.0",
        "Tesla T4, 15360, 8192, 35, 00000000:C1:00.0",
        "NVIDIA GB10, [N/A], [N/A], 0, 00010000:01:00.0",
    ]
    assert re.findall(r"Minor Number +: (\d+)", smi(weird, "-q")) == ["5", "2", "7"]


def test_a_machine_without_gpus_has_none(smi: Smi, tmp_path: Path) -> None:
    none = machine.install("no-gpus", tmp_path / "no-gpus")

    with pytest.raises(AssertionError, match="No devices were found"):
        smi(none)
