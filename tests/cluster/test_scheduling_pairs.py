"""Two scheduler pairs, one of which leads: who takes over, how soon, and that nobody binds who was deposed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from hami_core import names, plugins, settings
from hami_core.testing.cluster import Options
from hami_core.testing.cluster.api import ApiRefused
from hami_core.testing.cluster.nodes import publish
from hami_webhook import guard
from tests.cluster.scheduling import GPU, GROUPS, MEMORY, USER, Pair, a_pod, placed, prepare, shares, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.nodes import Simulated
    from hami_core.testing.cluster.pytest_plugin import StartsControlPlanes

PODS = "/api/v1/namespaces/default/pods"
TAKEN_OVER = 5.0


@pytest.fixture
def plane(a_control_plane: StartsControlPlanes, simulated: Simulated) -> ControlPlane:
    """A control plane of its own: its policies concern everybody."""
    plane = a_control_plane(options=Options(kwok=False))
    prepare(plane)
    publish(plane.api(), simulated, [simulated.node("n1", devices=2)])
    fenced(plane)
    return plane


@pytest.fixture
def pairs(plane: ControlPlane) -> Iterator[tuple[Pair, Pair]]:
    """The first leads."""
    first, second = Pair(plane, "host-a"), Pair(plane, "host-b")
    first.start()
    wait_for(first.leads, "leading")
    second.start()
    wait_for(lambda: second.state().get("ready"), "warm")
    yield first, second
    for pair in (first, second):
        pair.stop()


def fenced(plane: ControlPlane) -> None:
    """The policies, in force."""
    found = plugins.load()
    decided = settings.resolve(plugins.settings_classes(found), ())
    plane.apply(*guard.policies(plugins.catalogue(found, decided), decided))
    api = plane.api(USER, *GROUPS)

    def refused() -> bool:
        """A Binding of nobody's leadership."""
        try:
            api.create(f"{PODS}/nobody/binding", a_binding("nobody", {names.TERM: "nobody_1/0"}))
        except ApiRefused as error:
            return guard.FENCE in error.text
        return False

    wait_for(refused, "fenced")


def a_binding(name: str, annotations: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "annotations": annotations},
        "target": {"kind": "Node", "name": "n1"},
    }


def create(plane: ControlPlane, name: str, memory: int = 1000) -> None:
    plane.api().create(PODS, a_pod(name, {GPU: 1, MEMORY: memory}))


def test_a_standby_is_ready_and_does_not_decide(pairs: tuple[Pair, Pair]) -> None:
    _, second = pairs

    state = second.state()

    assert (state["ready"], state["phase"], state["term"]) == (True, "standby", "")
    assert state["holder"].startswith("host-a_")


def test_a_standby_takes_over_within_five_seconds_of_the_leaders_death_and_knows_what_was_granted(
    pairs: tuple[Pair, Pair], plane: ControlPlane
) -> None:
    first, second = pairs
    create(plane, "before", 12000)
    before = placed(plane, "default", "before")

    first.kill()
    died = time.monotonic()
    create(plane, "during", 12000)
    wait_for(second.leads, "leading", 15)
    seconds = time.monotonic() - died
    during = placed(plane, "default", "during")

    assert seconds <= TAKEN_OVER
    assert {device for pod in (before, during) for _, device, _, _ in shares(pod)} == {*_devices(plane)}
    assert during["metadata"]["annotations"][names.TERM].startswith("host-b_")


def _devices(plane: ControlPlane) -> set[str]:
    from hami_core import wire
    from hami_core.model import NodeDevices

    text = plane.api().get("/api/v1/nodes/n1")["metadata"]["annotations"][names.inventory_key("nvidia")]
    return {device.id for device in wire.decode(NodeDevices, text, "n1").inventory.devices}


def test_a_leader_that_was_deposed_without_knowing_it_binds_nothing(pairs: tuple[Pair, Pair], plane: ControlPlane) -> None:
    first, second = pairs
    old = first.state()["term"]
    create(plane, "p")
    placed(plane, "default", "p")

    first.kill()
    wait_for(second.leads, "leading", 15)
    late = a_pod("late", {GPU: 1, MEMORY: 1000})
    late["spec"]["schedulerName"] = "nobody"
    plane.api().create(PODS, late)
    with pytest.raises(ApiRefused) as refused:
        plane.api(USER, *GROUPS).create(f"{PODS}/late/binding", a_binding("late", {names.TERM: old}))

    assert refused.value.status == 403
    assert second.state()["term"] in refused.value.text


def test_a_pod_without_a_share_is_bound_behind_the_fence_too(pairs: tuple[Pair, Pair], plane: ControlPlane) -> None:
    plane.api().create(PODS, a_pod("plain", {"cpu": "1"}))

    assert placed(plane, "default", "plain")["spec"]["nodeName"] == "n1"


def test_an_extender_that_is_killed_comes_back_under_a_term_of_its_own_beside_the_same_kube_scheduler(
    pairs: tuple[Pair, Pair], plane: ControlPlane
) -> None:
    first, second = pairs
    reign, _, word = first.state()["term"].rpartition("/")

    first.restart_extender()
    create(plane, "p")
    now = placed(plane, "default", "p")["metadata"]["annotations"][names.TERM].rpartition("/")

    assert (now[0], now[2] != word) == (reign, True)
    assert second.state()["phase"] == "standby"


def test_a_kube_scheduler_that_starts_anew_leads_under_another_term(pairs: tuple[Pair, Pair], plane: ControlPlane) -> None:
    first, second = pairs
    second.kill()
    term = first.state()["term"]

    plane.restart(first.scheduler)
    create(plane, "p")

    assert placed(plane, "default", "p")["metadata"]["annotations"][names.TERM] != term
