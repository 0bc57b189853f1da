"""Pods placed by a stock kube-scheduler through ``hami scheduler serve``, on a real API server; they come prepared by hand."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from hami_core import names
from hami_core.testing.cluster.nodes import publish, remove, update
from hami_scheduler import enquiry
from tests.cluster.scheduling import (
    CORES,
    GPU,
    MEMORY,
    MOCK,
    MOCK_MEMORY,
    USER,
    Pair,
    a_pod,
    granted,
    hami,
    placed,
    prepare,
    shares,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.audit import Entry
    from hami_core.testing.cluster.nodes import FakeNode, Simulated

T4 = 15360
ARTICLE = {GPU: 1, MEMORY: 3000, CORES: 30}


@pytest.fixture(scope="module")
def pair(control_plane: ControlPlane) -> Iterator[Pair]:
    prepare(control_plane)
    started = Pair(control_plane, "host-a").start()
    wait_for(started.leads, "leading")
    yield started
    started.stop()


@pytest.fixture
def cluster(pair: Pair, namespace: str, simulated: Simulated) -> Iterator[Cluster]:
    made = Cluster(pair, namespace, simulated)
    yield made
    made.clear()


class Cluster:
    """One test's nodes and pods."""

    def __init__(self, pair: Pair, namespace: str, simulated: Simulated) -> None:
        self.pair, self.plane, self.namespace, self.simulated = pair, pair.plane, namespace, simulated
        self.api = pair.plane.api()
        self._nodes: list[str] = []

    def node(self, name: str, **more: Any) -> FakeNode:
        made = self.simulated.node(name, **more)
        publish(self.api, self.simulated, [made])
        self._nodes.append(name)
        return made

    def both_kinds(self, name: str) -> FakeNode:
        """A node with GPUs and with mock devices."""
        from attrs import evolve

        inventories = [
            *self.simulated.node(name).inventories,
            *self.simulated.node(name, kind="mock", model="Mock", memory=16384, devices=2).inventories,
        ]
        inventories[1] = evolve(
            inventories[1], devices=tuple(evolve(one, id=f"mock-{name}-{one.index}") for one in inventories[1].devices)
        )
        made = evolve(self.simulated.node(name), inventories=tuple(inventories))
        publish(self.api, self.simulated, [made])
        self._nodes.append(name)
        return made

    def create(self, name: str, limits: dict[str, Any], **more: Any) -> None:
        self.api.create(f"/api/v1/namespaces/{self.namespace}/pods", a_pod(name, limits, **more))

    def delete(self, name: str) -> None:
        self.api.delete(f"/api/v1/namespaces/{self.namespace}/pods/{name}", gracePeriodSeconds="0")

    def pod(self, name: str) -> dict[str, Any]:
        return dict(self.api.get(f"/api/v1/namespaces/{self.namespace}/pods/{name}"))

    def placed(self, name: str, seconds: float = 30) -> dict[str, Any]:
        return placed(self.plane, self.namespace, name, seconds)

    def waiting(self, name: str) -> str:
        """What a pod that waits is told, as soon as it is."""
        return str(wait_for(lambda: self.pod(name)["metadata"].get("annotations", {}).get(names.WAITING), f"{name} told"))

    def requests(self, name: str) -> list[Entry]:
        """What hami itself asked of the API server about one pod, by the audit log."""
        mine = [one for one in self.plane.audited() if one.user == USER and one.agent.startswith("hami/")]
        return [one for one in mine if one.namespace == self.namespace and one.name.startswith(name)]

    def clear(self) -> None:
        self.api.delete(f"/api/v1/namespaces/{self.namespace}/pods", gracePeriodSeconds="0")
        remove(self.api, *self._nodes)
        for node in self._nodes:
            wait_for(lambda: f'node="{node}"'.encode() not in self.pair.get("/metrics"), f"{node} forgotten")  # noqa: B023


def test_the_articles_pod_is_bound_with_its_grant_in_one_write_and_no_read(cluster: Cluster) -> None:
    node = cluster.node("n1", devices=1)

    cluster.create("gpu-pod", ARTICLE)
    pod = cluster.placed("gpu-pod")

    told = pod["metadata"]["annotations"]
    assert pod["spec"]["nodeName"] == "n1"
    assert shares(pod) == [("main", node.devices[0], 3000, 30)]
    assert told[names.visible_key("nvidia", "main")] == node.devices[0]
    assert told[names.TERM] == cluster.pair.state()["term"]
    assert [(one.verb, one.resource, one.status) for one in cluster.requests("gpu-pod")] == [("create", "pods/binding", 201)]


def test_a_pod_that_finds_a_full_node_waits_with_a_sentence_and_is_placed_when_room_comes(cluster: Cluster) -> None:
    cluster.node("n1", devices=1)
    cluster.create("first", {GPU: 1, MEMORY: 12000})
    cluster.placed("first")

    cluster.create("second", {GPU: 1, MEMORY: 12000})
    sentence = cluster.waiting("second")
    cluster.delete("first")
    pod = cluster.placed("second")

    assert sentence.startswith("0/1 nodes: ")
    assert "3360" in sentence  # what is left of the card
    assert pod["metadata"]["annotations"][names.WAITING] == ""
    events = cluster.plane.get("events", f"-n={cluster.namespace}", "--field-selector=reason=FilteringFailed")["items"]
    assert [(one["involvedObject"]["name"], one["message"]) for one in events] == [("second", sentence)]


def test_a_pod_that_waits_costs_no_stream_of_writes(cluster: Cluster) -> None:
    cluster.node("n1", devices=1)
    cluster.create("big", {GPU: 1, MEMORY: 99000})
    sentence = cluster.waiting("big")

    tried = _tried(cluster)
    cluster.create("small", {GPU: 1, MEMORY: 1000})  # its Binding makes kube-scheduler try the other again
    cluster.placed("small")
    wait_for(lambda: _tried(cluster) > tried, "tried again")

    assert Counter(one.resource for one in cluster.requests("big")) == {"pods": 1, "events": 1}
    assert cluster.waiting("big") == sentence


def _tried(cluster: Cluster) -> float:
    lines = cluster.pair.get("/metrics").decode().splitlines()
    return float(next(line for line in lines if 'decisions_total{outcome="waits"}' in line).split()[-1])


def test_two_kinds_in_one_pod_are_granted_on_one_node(cluster: Cluster) -> None:
    cluster.node("gpus-only")
    cluster.both_kinds("both")

    cluster.create("mixed", {GPU: 1, MEMORY: 2000, MOCK: 1, MOCK_MEMORY: 512})
    pod = cluster.placed("mixed")

    assert pod["spec"]["nodeName"] == "both"
    assert sorted((one.kind, one.memory) for one in granted(pod)) == [("mock", 512), ("nvidia", 2000)]
    assert {names.visible_key("nvidia", "main"), names.visible_key("mock", "main")} <= pod["metadata"]["annotations"].keys()


@pytest.mark.parametrize(("policy", "used"), [("binpack", 1), ("spread", 3)])
def test_a_pods_node_policy_packs_or_spreads(cluster: Cluster, policy: str, used: int) -> None:
    for n in range(3):
        cluster.node(f"n{n}", devices=2)

    found = []
    for n in range(3):
        cluster.create(f"p{n}", {GPU: 1, MEMORY: 1000}, annotations={names.NODE_POLICY: policy})
        found.append(cluster.placed(f"p{n}")["spec"]["nodeName"])

    assert len(set(found)) == used


def test_a_burst_oversells_nothing(cluster: Cluster) -> None:
    for n in range(4):
        cluster.node(f"n{n}", devices=2)  # eight cards, three such pods on each

    for n in range(30):
        cluster.create(f"p{n}", {GPU: 1, MEMORY: 5000})
    wait_for(lambda: len(_bound(cluster)) == 24, "24 placed")
    for name in {f"p{n}" for n in range(30)} - {pod["metadata"]["name"] for pod in _bound(cluster)}:
        cluster.waiting(name)

    by_device = Counter(device for pod in _bound(cluster) for _, device, _, _ in shares(pod))
    assert sorted(by_device.values()) == [3] * 8


def _bound(cluster: Cluster) -> list[dict[str, Any]]:
    pods = cluster.api.get(f"/api/v1/namespaces/{cluster.namespace}/pods")["items"]
    return [pod for pod in pods if pod["spec"].get("nodeName")]


def test_an_init_containers_larger_share_is_what_the_pod_holds(cluster: Cluster) -> None:
    cluster.node("n1", devices=1)
    cluster.create("staged", {GPU: 1, MEMORY: 2000}, init={GPU: 1, MEMORY: 12000})
    staged = cluster.placed("staged")

    cluster.create("other", {GPU: 1, MEMORY: 5000})
    cluster.waiting("other")

    assert [(container, memory) for container, _, memory, _ in shares(staged)] == [("first", 12000), ("main", 2000)]


def test_a_scheduler_that_starts_anew_knows_what_is_granted(cluster: Cluster) -> None:
    cluster.node("n1", devices=1)
    cluster.create("before", {GPU: 1, MEMORY: 12000})
    cluster.placed("before")

    cluster.pair.restart_extender()
    wait_for(cluster.pair.leads, "leading again")
    cluster.create("too-much", {GPU: 1, MEMORY: 12000})
    cluster.create("fits", {GPU: 1, MEMORY: 3000})

    assert cluster.placed("fits")["spec"]["nodeName"] == "n1"
    assert "3360" in cluster.waiting("too-much") or "360" in cluster.waiting("too-much")
    assert not cluster.pod("too-much")["spec"].get("nodeName")


def test_a_scheduler_that_is_asked_to_end_ends_and_the_next_goes_on(cluster: Cluster) -> None:
    cluster.node("n1", devices=1)

    cluster.plane[cluster.pair.extender].stop()
    cluster.create("later", {GPU: 1, MEMORY: 1000})
    cluster.plane[cluster.pair.extender].start()

    assert cluster.placed("later")["spec"]["nodeName"] == "n1"
    assert '"message":"ending"' in cluster.pair.log().replace('": "', '":"')


def test_a_pod_refused_by_a_quota_is_placed_when_the_quota_grows(cluster: Cluster) -> None:
    cluster.node("n1", devices=1)
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {f"limits.{MEMORY}": "1000"}}}
    cluster.api.create(f"/api/v1/namespaces/{cluster.namespace}/resourcequotas", quota)
    wait_for(lambda: b'quota_name="small"' in cluster.pair.get("/metrics"), "the quota seen")
    cluster.create("p", {GPU: 1, MEMORY: 3000})
    sentence = cluster.waiting("p")

    grown = {"spec": {"hard": {f"limits.{MEMORY}": "4000"}}}
    cluster.api.merge(f"/api/v1/namespaces/{cluster.namespace}/resourcequotas/small", grown)

    assert cluster.placed("p")["spec"]["nodeName"] == "n1"
    assert "small" in sentence


def test_a_device_that_is_taken_out_of_service_gets_nothing_new(cluster: Cluster) -> None:
    node = cluster.node("n1", devices=2)
    update(cluster.api, cluster.simulated, node.cordoned(node.devices[0]))
    wait_for(lambda: b'kind="nvidia"' in cluster.pair.get("/metrics"), "seen")

    cluster.create("p", {GPU: 1, MEMORY: 1000})

    assert [device for _, device, _, _ in shares(cluster.placed("p"))] == [node.devices[1]]


def test_a_pod_that_went_past_admission_is_granted_nothing_and_told(cluster: Cluster) -> None:
    cluster.node("n0")
    pod = a_pod("past", {GPU: 1})
    pod["metadata"]["labels"] = {names.WEBHOOK: names.WEBHOOK_IGNORE}

    cluster.api.create(f"/api/v1/namespaces/{cluster.namespace}/pods", pod)

    wait_for(lambda: "has not prepared the pod" in cluster.plane.kubectl("get", "events", "-n", cluster.namespace), "told")
    assert "nodeName" not in cluster.pod("past")["spec"]


def test_a_pod_that_asks_for_no_share_is_kube_schedulers_own(cluster: Cluster) -> None:
    cluster.node("n1")

    cluster.create("plain", {"cpu": "1"})

    assert cluster.placed("plain")["spec"]["nodeName"] == "n1"
    assert cluster.requests("plain") == []


def test_the_scheduler_has_the_rights_that_it_needs_and_not_more(pair: Pair) -> None:
    asked = ["get secrets", "delete pods", "create pods", "patch nodes", "update pods", "list configmaps", "create nodes"]

    allowed = [
        words
        for words in asked
        if pair.plane.kubectl("auth", "can-i", *words.split(), "-A", user=USER, check=False).strip().endswith("yes")
    ]

    assert allowed == ["delete pods"]  # kube-scheduler's own role: preemption


def test_health_and_readiness_are_told(pair: Pair) -> None:
    state = pair.state()

    assert (state["ready"], state["phase"]) == (True, "leading")
    assert {name for name, one in state["watches"].items() if one["synced"]} == {"lease", "nodes", "pods", "resourcequotas"}
    assert pair.get("/healthz") == b'{"dead":[]}'


def test_the_configuration_names_every_resource_of_every_plugin() -> None:
    printed = hami("scheduler", "config", "-o", "json")

    assert all(f'"{name}"' in printed for name in (GPU, MEMORY, CORES, MOCK, MOCK_MEMORY))


def test_the_manifests_have_the_service_by_which_hami_explain_finds_the_scheduler() -> None:
    printed = json.loads(hami("scheduler", "manifests", "-o", "json", sets="scheduler.metricsBindAddress=:1234"))

    (service,) = (one for one in printed["items"] if one["kind"] == "Service")

    assert (service["metadata"]["name"], service["metadata"]["namespace"]) == (enquiry.SERVICE, "hami-system")
    assert service["spec"]["ports"] == [{"name": enquiry.PORT, "port": 1234, "targetPort": 1234}]
