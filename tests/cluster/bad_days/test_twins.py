"""Two extenders beside one kube-scheduler that lives on: a killed one whose last write is under way, and one too many.

Lease, holder and transitions are the same for both: what tells them apart is the word that each puts on the Lease.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from hami_core import names
from tests.cluster.faults.mischief import Hold
from tests.cluster.faults.proxy import Proxy
from tests.cluster.faults.scene import CLEAN, OURS, Behind, Scene, pair, upstream
from tests.cluster.scheduling import CORES, GPU, a_pod, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.testing.cluster import ControlPlane

WHOLE = {GPU: 2, CORES: 100}


@pytest.fixture
def node_count() -> int:
    """Room for one of our shares: all devices there are."""
    return 1


@pytest.fixture
def one(plane: ControlPlane) -> Iterator[Behind]:
    """A pair of the test's own; its kube-scheduler lives through all of this."""
    with pair(plane) as one:
        yield one


@pytest.fixture
def twin(plane: ControlPlane, one: Behind) -> Iterator[Behind]:
    """An extender that takes itself for the one beside that kube-scheduler. It is not started yet."""
    with Proxy(upstream(plane)) as proxy:
        twin = Behind(plane, "twin", f"scheduler.identity={one.host}", through=proxy)
        yield twin
        print("--- the twin, its last lines:", *twin.log().splitlines()[-40:], sep="\n")  # noqa: T201
        twin.stop()


def the_lease(plane: ControlPlane) -> dict[str, Any]:
    """kube-scheduler's."""
    lease: dict[str, Any] = plane.api().get(f"/apis/coordination.k8s.io/v1/namespaces/{OURS}/leases/{names.SCHEDULER}")
    return lease


def word(state: dict[str, Any]) -> str:
    """That an extender has put on the Lease."""
    return str(state["term"].rpartition("/")[2])


def asked_to_bind(extender: Behind, world: Scene, name: str) -> str:
    """What the extender says to one pod, from filter to bind; the kube-scheduler leaves it alone. Empty: it is bound."""
    pod = a_pod(name, WHOLE)
    world.create({**pod, "spec": {**pod["spec"], "schedulerName": "nobody"}})
    made: dict[str, Any] = world.api.get(f"{world.pods_path}/{name}")
    filtered = extender.ask("filter", {"Pod": made, "NodeNames": [world.there[0].name]})
    if not filtered["NodeNames"]:
        return str(filtered["FailedNodes"])
    named = {"PodName": name, "PodNamespace": world.namespace, "PodUID": made["metadata"]["uid"]}
    return str(extender.ask("bind", {**named, "Node": world.there[0].name})["Error"])


def test_kube_schedulers_renewals_leave_the_extenders_word_on_the_lease(plane: ControlPlane, one: Behind) -> None:
    """And the extender's write costs kube-scheduler no leadership: it has renewed its Lease since, under the same term."""
    before = the_lease(plane)
    renewals = set()

    def renewed() -> bool:
        renewals.add(the_lease(plane)["spec"]["renewTime"])
        return len(renewals) > 5

    wait_for(renewed, "renewed")
    after = the_lease(plane)

    assert after["metadata"]["annotations"] == before["metadata"]["annotations"] == {names.EXTENDER: word(one.state())}
    assert after["spec"]["holderIdentity"] == before["spec"]["holderIdentity"]
    assert after["spec"]["leaseTransitions"] == before["spec"]["leaseTransitions"]


def test_a_binding_of_a_killed_extender_that_arrives_when_the_next_one_has_decided_is_refused(
    world: Scene, one: Behind
) -> None:
    hold = Hold()
    one.proxy.when("POST", "/binding", hold, times=1)
    with ThreadPoolExecutor(1) as thread:
        cut_off = thread.submit(asked_to_bind, one, world, "late")
        assert hold.arrived.wait(30)
        (sent,) = [exchange for exchange in one.proxy.exchanges if "/binding?" in exchange.target]
        one.plane.kill(one.extender)
        one.start_extender()
        wait_for(one.leads, "leading again")
        told = asked_to_bind(one, world, "next")

        hold.let_go()
        wait_for(lambda: sent.answered, "the late Binding answered")

        assert cut_off.exception() is not None
    assert (told, world.verdict(one).doubles) == ("", CLEAN.doubles)
    assert (sent.answered, world.bound()) == (403, 1)


def test_a_claim_of_a_killed_extender_that_arrives_late_takes_the_lead_from_nobody(plane: ControlPlane, one: Behind) -> None:
    hold = Hold()
    one.plane.kill(one.extender)
    one.proxy.when("PATCH", "/leases/", hold, times=1)
    one.start_extender()
    assert hold.arrived.wait(30)
    (sent,) = [exchange for exchange in one.proxy.exchanges if "/leases/" in exchange.target and exchange.hit]
    one.plane.kill(one.extender)
    one.start_extender()
    wait_for(one.leads, "leading again")

    hold.let_go()
    wait_for(lambda: sent.answered, "the late claim answered")

    assert sent.answered == 409
    assert the_lease(plane)["metadata"]["annotations"] == {names.EXTENDER: word(one.state())}
    assert one.leads()


def test_of_two_extenders_of_one_identity_the_one_that_does_not_know_of_the_other_binds_nothing(
    world: Scene, one: Behind, twin: Behind
) -> None:
    """It sees neither the Lease nor what the other binds, and believes that it leads: the fence alone holds."""
    one.proxy.freeze_watches()
    twin.start_extender()
    wait_for(twin.leads, "the younger leads")
    assert asked_to_bind(twin, world, "first") == ""

    believes = one.leads()
    told = asked_to_bind(one, world, "second")

    assert believes
    assert f"the scheduler that leads is {twin.state()['term']}, and only it binds" in told
    assert (world.bound(), world.verdict(twin).doubles) == (1, CLEAN.doubles)


def test_of_two_extenders_of_one_identity_the_younger_leads_until_kube_scheduler_asks_the_elder(
    world: Scene, one: Behind, twin: Behind
) -> None:
    twin.start_extender()
    wait_for(twin.leads, "the younger leads")
    wait_for(lambda: one.state()["phase"] == "superseded", "the elder is superseded")
    superseded = one.state()

    world.burst(1, WHOLE)  # kube-scheduler asks its own
    world.all_bound(60)

    assert (superseded["ready"], twin.state()["phase"], one.state()["phase"]) == (False, "superseded", "leading")
    assert "superseded: another extender has put its word on the Lease" in one.log()
    assert world.pods()[0]["metadata"]["annotations"][names.TERM] == one.state()["term"]
    assert world.verdict(one) == CLEAN
