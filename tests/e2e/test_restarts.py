"""What goes on while a part of the node is away, and what is true when it is back: no share is lost, none is given twice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hami_core.testing.cluster.control_plane import APISERVER
from hami_core.testing.cluster.ours import BESIDE, EXTENDER
from tests.cli.command import room
from tests.cluster.admitting import wait_for
from tests.e2e.stage import container, limits, pod

if TYPE_CHECKING:
    from hami_core.testing.cluster.programs import Program
    from tests.e2e.stage import GpuNode, Work

PARTS = ("kubelet", "containerd", "agent")


def holding(work: Work, name: str, memory: int) -> str:
    """A pod whose program holds all of its share."""
    work.start(pod(name, container(script="exec hami-probe --hold 3600", asks=limits(memory))))
    wait_for(lambda: f"({room(memory)} bytes)" in work.kubectl("logs", name), f"held by {name}")
    return name


def container_of(work: Work, name: str) -> tuple[str, int]:
    pod = work.get(name)
    assert pod["status"]["phase"] != "Failed", pod["status"]
    (status,) = pod["status"]["containerStatuses"]
    return status["containerID"], status["restartCount"]


def shown(work: Work, name: str) -> list[str]:
    return re.findall(r"\d+MiB / +\d+MiB", work.bash(name, "nvidia-smi"))


def program(gpus: GpuNode, part: str) -> Program:
    return gpus.agent if part == "agent" else getattr(gpus.node, part)


def started_again(gpus: GpuNode, part: str) -> None:
    """A part that was killed, until the kubelet knows the agent again: a pod that it judges before that has failed for good."""
    before = gpus.registrations()
    program(gpus, part).start()
    gpus.node.wait_until_ready()
    if part != "containerd":
        wait_for(lambda: gpus.registrations() > before, "registered again")
        gpus.node.wait_until_told()


@pytest.mark.parametrize("part", PARTS)
def test_a_pod_keeps_its_share_while_a_part_is_killed_and_started_again(work: Work, t4: GpuNode, part: str) -> None:
    name = holding(work, "before", 3000)
    before = container_of(work, name)

    program(t4, part).kill()
    started_again(t4, part)

    second = holding(work, "after", 2000)
    assert container_of(work, name) == before
    assert (shown(work, name), shown(work, second)) == (["3000MiB /  3000MiB"], ["2000MiB /  2000MiB"])
    assert list(t4.held().values()) == [room(3000) + room(2000)]


@pytest.mark.parametrize("part", ["kubelet", "containerd"])
def test_a_pod_that_is_made_while_a_part_is_away_runs_when_it_is_back(work: Work, t4: GpuNode, part: str) -> None:
    program(t4, part).kill()
    work.make(pod("patient", container(asks=limits(1000))))
    wait_for(lambda: "patient" in work.kubectl("get", "events"), "tried")

    started_again(t4, part)

    work.until_ready("patient")
    assert shown(work, "patient") == ["0MiB /  1000MiB"]


def test_a_pod_keeps_its_share_while_the_api_server_is_away(work: Work, t4: GpuNode) -> None:
    name = holding(work, "before", 3000)
    before = container_of(work, name)

    work.stage.plane.kill(APISERVER)
    assert list(t4.held().values()) == [room(3000)]
    work.stage.plane.restart_apiserver()
    work.stage.plane.restart(BESIDE)  # kube-scheduler ends when it loses its Lease; a kubelet would start it again

    second = holding(work, "after", 2000)
    assert container_of(work, name) == before
    assert (shown(work, name), shown(work, second)) == (["3000MiB /  3000MiB"], ["2000MiB /  2000MiB"])


def test_a_pod_that_is_made_while_the_scheduler_is_away_runs_when_it_is_back(work: Work, t4: GpuNode) -> None:
    first = holding(work, "before", 3000)
    for part in (BESIDE, EXTENDER):
        work.stage.plane.kill(part)
    work.make(pod("patient", container(script="exec hami-probe --hold 3600", asks=limits(2000))))

    for part in (EXTENDER, BESIDE):
        work.stage.plane.restart(part)

    work.until_ready("patient")
    assert (shown(work, first), work.get("patient")["status"]["phase"]) == (["3000MiB /  3000MiB"], "Running")


def test_a_pod_whose_kubelet_was_away_when_it_was_deleted_holds_nothing_afterwards(work: Work, t4: GpuNode) -> None:
    name = holding(work, "goes", 3000)
    t4.node.kubelet.kill()
    work.kubectl("delete", "pod", name, "--wait=false")
    assert list(t4.held().values()) == [room(3000)]

    started_again(t4, "kubelet")

    wait_for(lambda: list(t4.held().values()) == [0], "let go")


def test_after_a_reboot_the_pods_are_back_with_their_shares(work: Work, t4: GpuNode) -> None:
    name = holding(work, "before", 3000)
    device, (_, restarts) = work.device(name), container_of(work, name)

    t4.node.reboot(t4.start_agent)

    wait_for(lambda: container_of(work, name)[1] > restarts, "started again")
    work.until_ready(name)
    wait_for(lambda: list(t4.held().values()) == [room(3000)], "held again")
    assert (work.device(name), shown(work, name)) == (device, ["3000MiB /  3000MiB"])


def test_what_a_kubelet_refuses_while_the_agent_is_not_there_yet_is_made_anew(work: Work, t4: GpuNode) -> None:
    """So it is after a reboot where the agent is a pod itself: the kubelet judges the others before it."""
    template = pod("many", container(script="exec hami-probe --hold 3600", asks=limits(3000)))
    labels = {"app": "many"}
    work.make(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "many"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {**template["spec"]}},
            },
        }
    )
    wait_for(lambda: list(t4.held().values()) == [room(3000)], "held", 60)

    t4.node.reboot()
    before = t4.registrations()
    t4.agent.start()
    wait_for(lambda: t4.registrations() > before, "registered")

    wait_for(lambda: list(t4.held().values()) == [room(3000)], "held again", 60)
    work.kubectl("delete", "deployment", "many")
