"""What users and logs see of each scripted fault: in `hami devices`, in a workload, in nvidia-smi."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import judges
from tests.cli.command import PROBE, a_container, a_pod

if TYPE_CHECKING:
    from tests.cli.command import Node, OnMachine
    from tests.conftest import Needs

pytestmark = pytest.mark.slow
OUT_OF_MEMORY, LAUNCH_FAILED = 2, 719


@pytest.fixture
def node(on: OnMachine) -> Node:
    return on("t4x4")


@pytest.fixture
def smi(needs: Needs) -> str:
    try:
        return str(judges.program(judges.SMI, "nvidia-smi"))
    except judges.Missing as missing:
        needs(f"Debian's nvidia-smi ({missing})", here=False)
        raise


def driver(node: Node) -> dict[str, str]:
    """The machine's driver for a program outside any share."""
    node.ask("mock", "truth")
    return {**os.environ, "LD_LIBRARY_PATH": f"{node.env['HAMI_STATE_DIR']}/t4x4/driver/lib"}


def shown(node: Node, smi: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([smi, *arguments], env=driver(node), capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def indices(node: Node) -> list[int]:
    return [device["index"] for device in node.ask("devices")["devices"]]


def test_a_lost_gpu_is_named_and_its_siblings_are_offered(node: Node, smi: str) -> None:
    node.ask("mock", "lose", "2")

    listed = node.hami("devices")
    status, table = shown(node, smi)

    assert indices(node) == [0, 1, 3]
    assert "nvidia: GPU 2 cannot be described: GPU is lost" in listed.stderr
    assert (status, "handle for GPU2: GPU is lost.  Reboot the system to recover this GPU" in table) == (15, True)
    assert node.hami("run", "--gpumem", "3000", "--", PROBE).status == 0

    node.ask("mock", "restore", "2")
    assert indices(node) == [0, 1, 2, 3]
    assert shown(node, smi)[0] == 0


def test_a_gpu_in_want_of_a_reset_is_named(node: Node, smi: str) -> None:
    node.ask("mock", "fault", "add", "reset_required", "--gpu", "0")

    assert "nvidia: GPU 0 cannot be described: GPU requires restart" in node.hami("devices").stderr
    assert "A GPU reset must occur before this GPU can be used again" in shown(node, smi, "-L")[1]


def test_while_the_driver_is_reloaded_there_is_none(node: Node, smi: str) -> None:
    node.ask("mock", "fault", "add", "driver_reload", "--ms", "3600000")

    done = node.hami("run", "--gpumem", "3000", "--", PROBE)

    assert done.status != 0
    assert "nvidia: nvmlInit: Driver Not Loaded" in done.stderr
    assert "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver" in shown(node, smi)[1]


def test_memory_that_cannot_be_read_makes_a_gpu_sick(node: Node) -> None:
    node.ask("mock", "fault", "add", "error", "--gpu", "1", "--call", "nvmlDeviceGetMemoryInfo*")

    listed = node.hami("devices")

    assert ": does not answer: Unknown Error" in listed.stdout


def test_memory_errors_are_in_nvidia_smis_table(node: Node, smi: str) -> None:
    node.ask("mock", "fault", "add", "ecc", "--gpu", "3", "--corrected", "7", "--uncorrected", "2")

    _, found = shown(
        node,
        smi,
        "--query-gpu=ecc.errors.corrected.volatile.total,ecc.errors.uncorrected.volatile.total",
        "--format=csv,noheader",
    )

    assert found.splitlines() == ["0, 0", "0, 0", "0, 0", "7, 2"]


def test_an_allocation_that_the_driver_refuses_is_the_programs_error(node: Node) -> None:
    node.ask("mock", "fault", "add", "error", "--code", str(OUT_OF_MEMORY), "--call", "cuMemAlloc*", "--nth", "2")

    done = node.hami("run", "--gpumem", "3000", "--", PROBE)

    assert "CUDA_ERROR_OUT_OF_MEMORY" in done.stdout
    assert node.ask("mock", "fault", "list")["faults"][0]["fired"] == 1
    assert [device["requested"] for device in node.truth()] == [0] * 4, "and nothing is left behind"


def test_a_gpu_that_is_lost_under_a_program_ends_it_and_leaves_nothing_behind(node: Node) -> None:
    node.ask("mock", "fault", "add", "lost", "--gpu", "0", "--call", "cuMemAlloc*", "--nth", "3")

    done = node.hami("run", "--gpumem", "3000", "--", PROBE)

    assert done.status == 1
    assert "CUDA_ERROR_UNKNOWN (999)" in done.stderr
    assert [device["physical"] for device in node.truth()] == [0] * 4
    assert node.ask("ps")["holdings"] == []
    assert indices(node) == [1, 2, 3]


def test_a_pod_that_meets_a_fault_fails_and_its_log_says_why(node: Node) -> None:
    node.ask("mock", "fault", "add", "error", "--code", str(LAUNCH_FAILED), "--call", "cuMemAlloc*")

    done = node.play(a_pod(a_container(command=[PROBE], gpumem=3000)), options=["-o", "json"])

    (pod,) = done.document["pods"]
    log = Path(pod["containers"][0]["log"]).read_text()
    assert done.status != 0
    assert f"({LAUNCH_FAILED})" in log or "CUDA_ERROR_LAUNCH_FAILED" in log


def test_what_hangs_is_released_by_a_command_that_asks_no_driver(node: Node) -> None:
    node.ask("mock", "fault", "add", "hang", "--call", "cuInit")
    stuck = node.start("run", "--gpumem", "3000", "--", PROBE)
    while not node.ask("mock", "fault", "list")["faults"][0]["fired"]:
        pass

    assert node.hami("mock", "fault", "release").stdout == "released: 0\n"
    assert stuck.end().status == 0


def test_an_xid_is_in_the_list_of_what_happened(node: Node) -> None:
    uuid = node.ask("devices")["devices"][1]["device"]
    node.ask("mock", "xid", uuid, "31")

    listed = node.hami("mock", "fault", "list").stdout.splitlines()

    assert [line.split()[:5] for line in listed[2:3]] == [["0", "xid", "1", "code", "31"]]
    assert listed[-1].split() == ["1", uuid, "well", "31", "0", "0"]


OLD = """
schema = "hami-mock/v1"
machine = "old"
defaults = {profile = "t4"}
gpus = [{index = 0, bus = "0000:3B:00.0"}]
[driver]
version = "450.80.02"
nvml = "11.450.80.02"
cuda = 11000
missing = ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetComputeRunningProcesses_v3",
           "cuMemAllocAsync", "cuMemAllocAsync_ptsz", "cuGetProcAddress", "cuGetProcAddress_v2"]
"""


def test_an_older_driver_serves_shares_all_the_same(on: OnMachine) -> None:
    node = on("old.toml")
    node.write("old.toml", OLD)

    done = node.hami("run", "--gpumem", "3000", "--", PROBE)

    assert done.status == 0, done.stderr
    assert "device 0: held 2897 MiB" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("xid", "7", "48"), "GPU 7: the machine has no such GPU; name one by index (0 to 3) or UUID"),
        (("fault", "add", "hangs"), "kind: hangs: is no kind of fault; did you mean hang?"),
        (("fault", "add", "hang"), "when.call: is missing: the functions that meet this hang"),
        (("fault", "add", "lost", "--gpu", "1", "--in", "later"), "at: 'later': should be a time such as 5s, 250ms or 2min"),
        (("fault", "release", "5"), "has no fault number 5 (`hami mock fault list` shows those there are)"),
        (("kernel", "5"), "duration: '5': should be a time such as 5s, 250ms or 2min"),
    ],
)
def test_a_mistake_is_answered_with_what_would_be_right(node: Node, arguments: tuple[str, ...], message: str) -> None:
    done = node.hami("mock", *arguments)

    assert done.status in {1, 2}
    assert message in done.stderr


def test_faults_need_a_simulated_machine(on: OnMachine) -> None:
    done = on(None).hami("mock", "fault", "list")

    assert "faults happen on simulated machines only: name one by --machine" in done.stderr
