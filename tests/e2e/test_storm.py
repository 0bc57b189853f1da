"""Many short pods on two nodes: each sees the device that it was granted and no other, and no device holds more than it has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import room
from tests.cluster.admitting import wait_for
from tests.e2e.stage import Work, container, limits, pod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.stage import Stage

pytestmark = pytest.mark.long

PODS, AT_ONCE = 200, 40
NODES = ("storm-1", "storm-2")
SECONDS = 900.0


@pytest.fixture
def storm(stage: Stage) -> Iterator[Work]:
    """A namespace, and two nodes of four GPUs that are the only ones its pods may use."""
    for name in NODES:
        stage.add(name, "t4x4")
        stage.plane.kubectl("label", "node", name, "storm=true")
    work = Work(stage, "storm")
    stage.plane.make_namespace(work.namespace)
    yield work
    work.clear()
    for name in NODES:
        stage.remove(name)


def test_two_hundred_pods_of_a_job_see_what_they_were_granted_and_no_more(storm: Work) -> None:
    template = pod(
        "template",
        container(script="hami-probe --json", asks=limits(1500)),
        restartPolicy="Never",
        nodeSelector={"storm": "true"},
    )
    spec = {"completions": PODS, "parallelism": AT_ONCE, "backoffLimit": 0, "template": {"spec": template["spec"]}}
    storm.make({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "storm"}, "spec": spec})

    wait_for(lambda: ended(storm), "ended", SECONDS)

    pods = json.loads(storm.kubectl("get", "pods", "-o", "json"))["items"]
    assert [one["status"]["phase"] for one in pods] == ["Succeeded"] * PODS
    seen = {one["metadata"]["name"]: json.loads(storm.kubectl("logs", one["metadata"]["name"])) for one in pods}
    wrong = {name: said for name, said in seen.items() if [one["uuid"] for one in said["cuda"]] != [storm.device(name)]}
    assert wrong == {}
    assert {one["held"] for said in seen.values() for one in said["filled"]} == {room(1500)}
    truth = [json.loads(storm.stage.nodes[name].mock("truth", "-o", "json")) for name in NODES]
    assert [one["uuid"] for each in truth for one in each["devices"] if one["physical_peak"] > one["total"]] == []
    assert [one["requested"] for each in truth for one in each["devices"]] == [0] * 8


def ended(storm: Work) -> bool:
    status = json.loads(storm.kubectl("get", "job", "storm", "-o", "json"))["status"]
    return any(one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in status.get("conditions", []))
