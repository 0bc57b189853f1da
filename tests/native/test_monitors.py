"""Real monitors under the interposer: nvidia-smi in all its forms, gpustat, nvitop. They see the grant's devices and processes.

Beside the share, somebody else holds memory of the same GPU: nobody may see him.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import hami_native
from hami_mock import description, machine
from tests import judges
from tests.mock import monitors
from tests.mock.conftest import Program
from tests.mock.monitors import Seen
from tests.native.harness import Frame, device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hami_mock.machine import Machine
    from tests.conftest import Needs

MIB = 1 << 20
MEMORY = 3000
GRANTED = {"t4-node": (0,), "t4x4": (2,), "dgx-a100": (1, 6), "dgx-h100": (0, 3)}

pytestmark = pytest.mark.slow


@pytest.fixture(params=GRANTED)
def on(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return machine.install(request.param, tmp_path / "machine")


@pytest.fixture
def granted(on: Machine) -> list[str]:
    return [on.uuids[index] for index in GRANTED[on.name]]


@pytest.fixture
def share(on: Machine, granted: list[str], tmp_path: Path) -> Frame:
    """3,000 MiB of each granted GPU."""
    folder = tmp_path / "grant"
    folder.mkdir()
    return Frame(on.libraries, folder).grants(*(device(name=uuid, memory=MEMORY * MIB) for uuid in granted))


@pytest.fixture
def stranger(on: Machine) -> Iterator[Program]:
    """Holds memory of the first granted GPU, outside the share."""
    program = Program(on)
    program.start(GRANTED[on.name][0]).alloc(500 * MIB)
    yield program
    program.end()


@contextmanager
def holder(share: Frame) -> Iterator[int]:
    """The pid of a process that holds all of the share."""
    with share.start(hami_native.probe(), "--hold") as process:
        assert process.stdout is not None
        for _ in range(share.limits.read_text().count("device ")):
            while "one byte more" not in process.stdout.readline():
                pass
        yield process.pid
        process.communicate("")


@pytest.fixture
def smi(needs: Needs) -> str:
    try:
        return str(judges.program(judges.SMI, "nvidia-smi"))
    except judges.Missing as missing:
        needs(f"Debian's nvidia-smi ({missing})", here=False)
        raise


def run(share: Frame, *command: str) -> str:
    return monitors.run(command, share.environment())


def truth(on: Machine, pid: int) -> list[Seen]:
    """What there is to see: the share, wholly held by one process."""
    gpus = [description.load(on.name).gpus[index] for index in GRANTED[on.name]]
    return [Seen(gpu.profile.name, gpu.uuid, MEMORY, MEMORY, {pid: MEMORY}) for gpu in gpus]


@pytest.mark.usefixtures("stranger")
def test_gpustat_sees_the_share_and_its_holder(on: Machine, share: Frame) -> None:
    with holder(share) as pid:
        assert monitors.by_gpustat(run(share, *monitors.GPUSTAT)) == truth(on, pid)


@pytest.mark.usefixtures("stranger")
def test_nvitops_python_api_sees_the_share_and_its_holder(on: Machine, share: Frame) -> None:
    with holder(share) as pid:
        assert monitors.by_nvitop(run(share, *monitors.NVITOP_API)) == truth(on, pid)


def test_nvitop_sees_the_share_and_its_holder(share: Frame, stranger: Program, granted: list[str]) -> None:
    with holder(share) as pid:
        screen = run(share, *monitors.NVITOP)

    assert screen.count(f"{MEMORY}MiB / {MEMORY}MiB") == len(granted)
    assert re.search(rf"\b{pid} C +\w+ +{MEMORY}MiB\b", screen)
    assert f" {stranger.process.pid} " not in screen


def test_nvidia_smi_shows_the_share_in_its_table_and_lists(
    share: Frame, stranger: Program, smi: str, granted: list[str]
) -> None:
    with holder(share) as pid:
        table = run(share, smi)
        gpus = run(share, smi, "--query-gpu=uuid,memory.total,memory.used", "--format=csv,noheader,nounits")
        apps = run(share, smi, "--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits")
        pmon = run(share, smi, "pmon", "-c", "1")

    assert re.findall(r"\d+MiB / +\d+MiB", table) == [f"{MEMORY}MiB /  {MEMORY}MiB"] * len(granted)
    assert gpus.splitlines() == [f"{uuid}, {MEMORY}, {MEMORY}" for uuid in granted]
    assert apps.splitlines() == [f"{uuid}, {pid}, {MEMORY}" for uuid in granted]
    assert re.findall(r"^ +\d+ +(\d+|-) +[C-]", pmon, re.MULTILINE) == [str(pid)] * len(granted)
    assert str(stranger.process.pid) not in (table + pmon)


def test_nvidia_smis_long_report_names_granted_devices_only(on: Machine, share: Frame, smi: str, granted: list[str]) -> None:
    report = run(share, smi, "-q")
    listed = run(share, smi, "-L")

    assert re.findall(r"GPU UUID +: (\S+)", report) == granted
    assert re.findall(r"FB Memory Usage\n +Total +: (\d+) MiB", report) == [str(MEMORY)] * len(granted)
    assert re.findall(r"UUID: (\S+)\)", listed) == granted
    assert not any(uuid in report + listed for uuid in set(on.uuids) - set(granted))


@pytest.mark.parametrize(
    ("on", "joint"), [("t4-node", None), ("t4x4", None), ("dgx-a100", "NV12"), ("dgx-h100", "NV18")], indirect=["on"]
)
def test_nvidia_smis_topology_has_granted_devices_only(share: Frame, smi: str, joint: str | None) -> None:
    rows = [line.split() for line in run(share, smi, "topo", "-m").splitlines() if line.startswith("GPU")]

    assert [row[:3] if joint else row[:2] for row in rows] == (
        [["GPU0", "X", joint], ["GPU1", joint, "X"]] if joint else [["GPU0", "X"]]
    )


HAUNTED = """
schema = "hami-mock/v1"
machine = "haunted"
driver = {version = "580.65.06", nvml = "13.580.65.06", cuda = 13000}
defaults = {profile = "t4"}
gpus = [{index = 0, bus = "0000:01:00.0", numa = 0}, {index = 1, bus = "0000:02:00.0", numa = 0}]
ghosts = [{gpu = 0, mib = 500, pid = 4242, sm = 35}]
"""
ASK = """
from pynvml import *
nvmlInit()
gpu = nvmlDeviceGetHandleByIndex(0)
def pids(call):
    try:
        return [one.pid for one in call()]
    except NVMLError_NotFound:
        return []
print(pids(lambda: nvmlDeviceGetProcessUtilization(gpu, 0)))
print(pids(lambda: nvmlDeviceGetProcessesUtilizationInfo(gpu, 0)))
print([nvmlDeviceGetIndex(one) for one in nvmlDeviceGetTopologyNearestGpus(gpu, NVML_TOPOLOGY_SYSTEM)])
print([nvmlDeviceGetIndex(one) for one in nvmlSystemGetTopologyGpuSet(0)])
"""


def test_what_strangers_and_other_gpus_do_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "haunted.toml").write_text(HAUNTED)
    on = machine.install(str(tmp_path / "haunted.toml"), tmp_path / "machine")
    share = Frame(on.libraries, tmp_path).grants(device(name=on.uuids[0], memory=MEMORY * MIB))

    bare = run(share.without_interposer(), sys.executable, "-c", ASK)
    shared = run(share, sys.executable, "-c", ASK)

    assert bare.splitlines() == ["[4242]", "[4242]", "[1]", "[0, 1]"]
    assert shared.splitlines() == ["[]", "[]", "[]", "[0]"]
