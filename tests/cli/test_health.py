"""What people see of devices that are sick: on simulated machines whose drivers go wrong on request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import a_container, a_pod

if TYPE_CHECKING:
    from tests.cli.command import Node, OnMachine, Running


@pytest.fixture
def four(on: OnMachine) -> Node:
    """One simulated machine with four Tesla T4."""
    return on("t4x4")


def fault(node: Node, *words: str) -> None:
    assert node.hami("mock", *words).status == 0


def sick(node: Node, *options: str) -> dict[int, str]:
    """Index -> reason, as `hami devices` has it."""
    done = node.hami(*options, "devices", "-o", "json")
    assert done.status == 0, done.stderr
    return {one["index"]: one["sick"] for one in done.document["devices"] if one["sick"]}


def test_a_sick_device_is_shown_with_its_reason_and_nothing_is_placed_on_it(four: Node) -> None:
    fault(four, "fault", "add", "error", "--code", "999", "--gpu", "1", "--call", "nvmlDeviceGetMemoryInfo*")

    shown = four.hami("devices").stdout
    three = four.play(a_pod(a_container(gpu=3, gpumem=1000)), options=("-o", "json"))
    refused = four.play(a_pod(a_container(gpu=4, gpumem=1000)))

    assert shown.splitlines()[-1].startswith("sick  GPU-")
    assert shown.splitlines()[-1].endswith(": does not answer: Unknown Error")
    assert shown.count("GPU-") == 5
    used = {share["device"] for share in three.document["pods"][0]["shares"]}
    assert len(used) == 3
    assert shown.splitlines()[-1].split()[1].rstrip(":") not in used
    assert refused.status == 125
    assert "4 devices asked, 3 of 4 are healthy (nvidia.com/gpu)" in refused.stderr


def test_a_gpu_that_is_lost_is_told_and_its_siblings_are_there(four: Node) -> None:
    fault(four, "lose", "2")

    shown = four.hami("health")

    assert (shown.status, shown.stderr) == (1, "hami: nvidia: GPU 2 cannot be described: GPU is lost\n")
    assert [line.split()[1] for line in shown.stdout.splitlines()[2:]] == ["0", "1", "3"]
    fault(four, "restore", "2")
    assert four.hami("health").status == 0


def test_the_only_gpu_of_a_machine_that_is_lost_is_no_missing_device(on: OnMachine) -> None:
    node = on("t4-node")
    fault(node, "lose", "0")

    shown = node.hami("health", "-o", "json")

    assert (shown.status, shown.document["devices"]) == (1, [])
    assert shown.document["faults"] == ["GPU 0 cannot be described: GPU is lost"]
    assert shown.stderr == "hami: nvidia: GPU 0 cannot be described: GPU is lost\n"


@pytest.mark.parametrize("call", ["nvmlDeviceGetMemoryInfo*", "nvmlDeviceGetName"])
def test_a_gpu_that_hangs_costs_its_time_and_hides_no_sibling(four: Node, call: str) -> None:
    fault(four, "fault", "add", "hang", "--gpu", "1", "--call", call)

    assert sick(four, "--set", "driver.deadlineSeconds=2") == {1: "an earlier call to it still hangs"}


def test_a_driver_that_hangs_as_a_whole_costs_its_deadline(four: Node) -> None:
    fault(four, "fault", "add", "hang", "--call", "nvmlInit*")

    done = four.hami("--set", "driver.deadlineSeconds=0.5", "--set", "mock.devices=1", "devices", "-o", "json")

    assert [one["kind"] for one in done.document["devices"]] == ["mock"]
    assert done.stderr == "hami: nvidia: hami_discover gave no answer within 0.5 s, and was given up\n"


def test_a_row_of_memory_that_waits_to_be_remapped_is_seen_without_an_event(on: OnMachine) -> None:
    a30 = on("a30-node")
    fault(a30, "fault", "add", "ecc", "--gpu", "0", "--uncorrected", "1")

    reasons = sick(a30)

    assert reasons == {0: "rows of memory wait to be remapped by a reset; the driver asks for a reset of the GPU"}
    fault(a30, "restore", "0")
    assert sick(a30) == {}


@pytest.mark.slow
def test_a_driver_that_is_slow_is_waited_for(four: Node) -> None:
    fault(four, "fault", "add", "slow", "--ms", "20", "--call", "nvml*")

    assert sick(four) == {}
    assert len(four.ask("topology")["kinds"][0]["links"]) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "call", ["nvmlDeviceGetTopologyCommonAncestor", "nvmlDeviceGetP2PStatus", "nvmlDeviceGetNvLink*", "nvmlEventSet*"]
)
def test_what_a_driver_does_not_have_is_done_without(four: Node, call: str) -> None:
    fault(four, "fault", "add", "error", "--code", "13", "--call", call)

    assert sick(four) == {}
    assert four.hami("topology").status == 0


def next_change(running: Running, device: int) -> dict[str, Any]:
    """The next thing that `hami health --watch` tells of a device."""
    found: dict[str, Any] = json.loads(running.until(f'"index": {device},'))
    return found


@pytest.mark.slow
def test_an_xid_is_heard_by_who_listens_and_forgotten_after_the_recovery(four: Node) -> None:
    recovery = ("--set", "devicePlugin.healthRecoverySeconds=2")
    watching = four.start(*recovery, "health", "--watch", "--every", "0.2", "-o", "json")
    for device in range(4):
        next_change(watching, device)

    fault(four, "xid", "1", "13")
    fault(four, "xid", "1", "48")
    told, well = next_change(watching, 1), next_change(watching, 1)
    fault(four, "lose", "3")
    lost = next_change(watching, 3)
    fault(four, "restore", "3")

    assert told["sick"] == "Xid 48: double-bit ECC error"
    assert "GPU is lost" in lost["sick"]
    assert well["sick"] == next_change(watching, 3)["sick"] == ""
