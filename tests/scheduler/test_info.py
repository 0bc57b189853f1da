"""The other port over real HTTP: what is asked of it wrongly, and what is answered in parts."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hami_scheduler.info import Info
from hami_scheduler.metrics import Work
from tests.scheduler.world import World, a_node, a_pod, a_world
from tests.serving.running import HOST, running


def asked(world: World, method: str, path: str, body: bytes = b"", *, complete: bool = True) -> tuple[int, bytes]:
    """Status and body of one answer."""
    follower, lists = cast("Any", None), cast("Any", SimpleNamespace(complete=complete))
    info = Info(follower, lists, lambda: (), Work(), world.cluster)
    with running(info.app()) as server, closing(http.client.HTTPConnection(HOST, server.port, timeout=10)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"{", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"metadata": "x"}', "Expected `object | null`, got `str` - at `$.metadata`"),
        (b'{"spec": {"containers": ["x"]}}', "Expected `object`, got `str` - at `$.spec.containers[0]`"),
        (b'{"a":' + b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_pod_is_not_explained_and_the_place_is_named(body: bytes, where: str) -> None:
    status, answer = asked(a_world(a_node()), "POST", "/explain", body)

    assert status == 400
    assert where.lower() in json.loads(answer)["error"].lower()


def test_a_pod_is_explained_when_everything_is_known() -> None:
    world, body = a_world(a_node()), json.dumps(a_pod()).encode()

    early, _ = asked(world, "POST", "/explain", body, complete=False)
    status, answer = asked(world, "POST", "/explain", body)

    assert (early, status, json.loads(answer)["answer"]) == (503, 200, "fits")


@pytest.mark.parametrize("path", ["/metrics", "/metrics/devices"])
def test_a_page_of_many_parts_is_one_answer(path: str) -> None:
    world = a_world(*(a_node(f"n{n}", *[8000] * 8) for n in range(300)))

    status, page = asked(world, "GET", path)

    assert (status, page.count(b"hami_gpu_memory_limit_bytes{") >= 300, page.endswith(b"\n")) == (200, True, True)
