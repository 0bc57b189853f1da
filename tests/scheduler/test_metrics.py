"""The pages of metrics: parsed by the reader that Prometheus' own client has, compared with the books."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hami_scheduler import metrics
from tests.core.fleet import MEMORY
from tests.scheduler.world import a_node, a_pod, a_quota, a_world, seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.scheduler.world import World

MIB = 1 << 20


def page_of(world: World, work: metrics.Work | None = None) -> bytes:
    return b"".join(asyncio.run(metrics.page(work or metrics.Work(), world.cluster)))


def devices_of(world: World) -> bytes:
    return b"".join(asyncio.run(metrics.devices(world.cluster)))


def samples(page: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Name -> labels -> value."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(page: bytes, name: str, labels: Mapping[str, str]) -> float | None:
    return samples(page).get(name, {}).get(tuple(sorted(labels.items())))


def bound(world: World, uid: str, node: str, memory: int = 2000, cores: int = 50) -> None:
    pod = a_pod(uid, memory=memory, cores=cores)
    world.filter(pod, node)
    begun = world.begin(pod, node)
    world.cluster.pods_changed([("MODIFIED", seen(pod, node, begun.annotations))])


def test_nodes_and_namespaces_are_summed_in_base_units_and_ratios_up_to_one() -> None:
    world = a_world(a_node("n0", 8000, 8000), a_node("n1", 4000))
    bound(world, "a", "n0")

    page = page_of(world)

    on = {"node": "n0", "kind": "acme", "splitting": "share"}
    assert value(page, "hami_gpu_memory_limit_bytes", on) == 16000 * MIB
    assert value(page, "hami_gpu_memory_allocated_bytes", on) == 2000 * MIB
    assert value(page, "hami_gpu_core_allocated_ratio", on) == 0.25
    assert value(page, "hami_gpu_shared_count", on) == 1
    assert value(page, "hami_vgpu_memory_allocated_bytes", {"namespace": "default", "kind": "acme"}) == 2000 * MIB
    assert value(page, "hami_vgpu_core_allocated_ratio", {"namespace": "default", "kind": "acme"}) == 0.5


def test_a_node_that_goes_is_gone_from_the_page() -> None:
    world = a_world(a_node("n0"), a_node("n1"))
    world.cluster.nodes_changed([("DELETED", a_node("n0"))])

    page = page_of(world)

    assert (b'node="n0"' in page, b'node="n1"' in page) == (False, True)


def test_devices_have_a_page_of_their_own() -> None:
    world = a_world(a_node("n0", 8000, 8000))
    bound(world, "a", "n0")

    page = devices_of(world)

    ratios = samples(page)["hami_node_gpu_memory_allocated_ratio"]
    assert sorted(ratios.values()) == [0.0, 0.25]
    assert {dict(labels)["device_uuid"] for labels in ratios} == {"n0-d0", "n0-d1"}


def test_while_a_page_is_written_decisions_have_their_turn_and_it_tells_what_was_before_them() -> None:
    world = a_world(*(a_node(f"n{n}", *[8000] * 8) for n in range(100)))
    before = devices_of(world)

    async def decided_meanwhile() -> tuple[int, bytes]:
        page = asyncio.create_task(metrics.devices(world.cluster))
        turns = 0
        while not page.done():
            await asyncio.sleep(0)
            bound(world, f"pod-{turns}", f"n{turns}")
            world.cluster.nodes_changed([("DELETED", a_node(f"n{99 - turns}"))])
            turns += 1
        return turns, b"".join(await page)

    turns, page = asyncio.run(decided_meanwhile())

    assert (turns >= before.count(b"\n") // metrics.LINES, page == before, devices_of(world) == before) == (True, True, False)


def test_a_quota_is_told_with_what_of_it_is_used() -> None:
    world = a_world(a_node("n0"), quotas=[a_quota("gold", limits_memory="6000")])
    bound(world, "a", "n0")

    page = page_of(world)

    labels = {"namespace": "default", "quota_name": "gold", "limit": f"limits.{MEMORY}"}
    assert value(page, "hami_resource_quota_limit", labels) == 6000
    assert value(page, "hami_resource_quota_used", labels) == 2000


def test_work_is_counted_by_outcome() -> None:
    work = metrics.Work()
    work.decisions.labels("fits").inc()
    work.wrote("binding", "done")
    work.requests.labels("filter", "200").observe(0.001)

    page = page_of(a_world(), work)

    assert value(page, "hami_scheduler_decisions_total", {"outcome": "fits"}) == 1
    assert value(page, "hami_scheduler_api_writes_total", {"what": "binding", "outcome": "done"}) == 1
    assert value(page, "hami_scheduler_request_duration_seconds_count", {"verb": "filter", "code": "200"}) == 1
    assert b"_created" not in page


@pytest.mark.slow
def test_the_page_of_a_large_cluster_is_small_and_soon_made() -> None:
    world = a_world(*(a_node(f"gpu-node-{n:05}.example", *[80000] * 8) for n in range(5000)))
    work = metrics.Work()
    page_of(world, work)

    began = time.process_time()
    page = page_of(world, work)

    assert (len(page) <= 2_000_000, time.process_time() - began <= 0.1) == (True, True)
