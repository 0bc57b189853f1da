"""Every way of asking for a share, checked by what the program then sees and can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.command import MIB, PROBE, a_container, a_pod, room, seen

if TYPE_CHECKING:
    from tests.cli.command import Node, OnMachine

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("machine", "options", "expected"),
    [
        pytest.param("t4-node", [], [5000], id="nothing: one GPU with the default of 5000 MiB"),
        pytest.param("t4-node", ["--gpumem", "104"], [104], id="one MiB beside its context"),
        pytest.param("t4-node", ["--gpumem-percentage", "50"], [7680], id="half of one"),
        pytest.param("t4x4", ["--gpus", "2", "--gpumem-percentage", "33"], [5068, 5068], id="a third of two"),
        pytest.param("dgx-a100", ["--gpus", "8", "--gpumem", "10000"], [10000] * 8, id="a part of each of eight"),
        pytest.param("t4-node", ["--limit", "nvidia.com/gpumem=3k"], [3000], id="any limit, in Kubernetes' forms"),
    ],
)
def test_a_program_sees_and_can_hold_what_was_asked_for(
    on: OnMachine, machine: str, options: list[str], expected: list[int]
) -> None:
    done = on(machine).hami("run", *options, "--", PROBE, "--json")

    assert done.status == 0, done.stderr
    (probe,) = seen(done.stdout)
    assert probe["coherent"]
    sizes = [mib * MIB for mib in expected]
    assert [one["total"] for one in probe["cuda"]] == sizes
    assert [one["total"] for one in probe["nvml"]] == sizes
    assert [one["held"] for one in probe["filled"]] == [room(mib, probe["cuda"][0]["name"]) for mib in expected]
    assert {one["refusal_name"] for one in probe["filled"]} == {"CUDA_ERROR_OUT_OF_MEMORY"}


@pytest.mark.parametrize(("policy", "devices"), [("binpack", 1), ("spread", 2)])
def test_the_pods_policy_chooses_where_a_second_share_goes(on: OnMachine, policy: str, devices: int) -> None:
    pod = a_pod(a_container("a", gpumem=3000), a_container("b", gpumem=3000))
    pod["metadata"]["annotations"] = {"hami.io/gpu-scheduler-policy": policy}

    played = on("t4x4").play(pod, options=["-o", "json"]).document

    assert len({share["device"] for share in played["pods"][0]["shares"]}) == devices


def test_two_containers_of_a_pod_have_different_shares(t4: Node) -> None:
    pod = a_pod(*(a_container(name, [PROBE, "--json"], gpumem=size) for name, size in (("small", 1000), ("large", 2000))))

    done = t4.play(pod)

    assert done.status == 0, done.stderr
    found = {line.split(" | ")[0]: seen(line)[0]["filled"][0]["held"] for line in done.stdout.splitlines()}
    assert found == {"small": room(1000), "large": room(2000)}


def test_a_container_that_asks_for_nothing_sees_no_gpu_beside_one_that_does(t4: Node) -> None:
    pod = a_pod(a_container("with", gpumem=1000), a_container("without", [PROBE]))

    done = t4.play(pod)

    assert done.status == 1, done.stderr
    assert "without |   CUDA: no device" in done.stdout
    assert "without |   NVML: no device" in done.stdout


def test_init_containers_reuse_the_room_that_the_main_ones_have_later(t4: Node) -> None:
    """12000 MiB for each of three, of 15360: they run one after the other."""
    pod = a_pod(
        a_container("main", [PROBE, "--json"], gpumem=12000),
        initContainers=[a_container(name, [PROBE, "--json"], gpumem=12000) for name in ("first", "second")],
    )

    done = t4.play(pod)

    assert done.status == 0, done.stderr
    assert [line.split(" | ")[0] for line in done.stdout.splitlines()] == ["first", "second", "main"]
    assert {one["filled"][0]["held"] for one in seen(done.stdout)} == {room(12000)}


def test_cores_are_reserved_and_it_is_said_once_that_nothing_enforces_them(t4: Node) -> None:
    words = "cores reserved, not enforced by this build"

    told = t4.hami("run", "--gpucores", "30", "-o", "json", "--", "true")

    assert told.stderr.count(words) == 1
    assert told.document["pods"][0]["notes"] == [f"nvidia.com/gpucores: {words}"]
    assert told.document["pods"][0]["shares"][0]["cores"] == 30


def test_a_whole_device_is_given_as_it_is(t4: Node) -> None:
    """CUDA and NVML differ by what the driver keeps for itself: nobody stands between."""
    done = t4.hami("run", "--gpumem-percentage", "100", "--", PROBE, "--json")

    assert done.status == 0, done.stderr
    (probe,) = seen(done.stdout)
    assert probe["nvml"][0]["total"] == 15360 * MIB
    assert 0 < probe["nvml"][0]["total"] - probe["cuda"][0]["total"] < 512 * MIB
    assert t4.truth()[0]["physical_peak"] <= 15360 * MIB
