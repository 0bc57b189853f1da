from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core import names
from hami_core.kube.backoff import Backoff, Pace
from hami_core.kube.errors import Unavailable
from hami_core.kube.objects import Meta
from hami_core.node.publishing import NOTHING, Marks, Publisher, changes
from tests.node.agents import NODE, PATH, World, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from hami_core.kube.connection import Connection

KEY, LABEL = names.inventory_key("acme"), names.device_label("acme", "count")
WANTED = Marks({KEY: "devices"}, {LABEL: "2"})
TEXTS = st.dictionaries(
    st.sampled_from([KEY, LABEL, names.inventory_key("other"), names.DEVICE_CORDON, "theirs"]), st.text(max_size=2)
)


def test_what_is_missing_or_different_is_written() -> None:
    seen = Meta(annotations={KEY: "old"})

    assert changes(WANTED, seen) == WANTED


def test_nothing_is_written_where_everything_is_said() -> None:
    seen = Meta(annotations={KEY: "devices", "theirs": "x"}, labels={LABEL: "2", "zone": "a"})

    assert changes(WANTED, seen) == NOTHING


def test_of_ours_nothing_else_stays_and_of_others_everything() -> None:
    stale = names.inventory_key("other")
    seen = Meta(
        annotations={KEY: "devices", stale: "x", names.DEVICE_CORDON: "a", "theirs": "x"},
        labels={LABEL: "2", names.device_label("other", "model"): "x", "acme.hami.io/own": "x", "zone": "a"},
    )

    assert changes(WANTED, seen) == Marks({stale: None}, {names.device_label("other", "model"): None})


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_after_the_changes_there_is_nothing_to_change(
    annotations: dict[str, str], labels: dict[str, str], seen_annotations: dict[str, str], seen_labels: dict[str, str]
) -> None:
    wanted = Marks(annotations, labels)
    wrong = changes(wanted, Meta(annotations=seen_annotations, labels=seen_labels))

    def after(seen: dict[str, str], change: Any) -> dict[str, str]:
        return {key: value for key, value in {**seen, **change}.items() if value is not None}

    now = Meta(annotations=after(seen_annotations, wrong.annotations), labels=after(seen_labels, wrong.labels))
    assert changes(wanted, now) == NOTHING


# --- Writing. ---


@pytest.fixture
def world(folder: Path) -> World:
    return World(folder)


def at(world: World, act: Callable[[Publisher], Coroutine[Any, Any, None]]) -> list[str]:
    """The outcomes of the writes."""
    outcomes: list[str] = []

    async def acting() -> None:
        with ThreadPoolExecutor(1) as writing:
            publisher = Publisher(NODE, writing, outcomes.append, Backoff(Pace(first=0.01, cap=0.02)))
            running = asyncio.create_task(publisher.run(cast("Connection", world.cluster)))
            await act(publisher)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(acting())
    return outcomes


def meta(world: World) -> Meta:
    found = world.cluster.objects[PATH]["metadata"]
    return Meta(NODE, uid=found["uid"], resource_version=found["resourceVersion"], annotations=dict(found["annotations"]))


def test_what_is_older_than_our_own_write_is_no_news(world: World) -> None:
    async def act(publisher: Publisher) -> None:
        before = meta(world)
        publisher.seen(before)
        publisher.want(WANTED)
        await eventually(lambda: publisher.published)
        publisher.seen(before)  # a watch is behind
        assert publisher.published

    assert at(world, act) == ["ok"]


def test_another_node_of_the_name_is_news_whatever_its_version(world: World) -> None:
    async def act(publisher: Publisher) -> None:
        publisher.seen(meta(world))
        publisher.want(WANTED)
        await eventually(lambda: publisher.published)
        publisher.seen(Meta(NODE, uid="another", resource_version="1"))
        assert not publisher.published

    at(world, act)


def test_nothing_is_written_before_the_object_was_seen(world: World) -> None:
    async def act(publisher: Publisher) -> None:
        publisher.want(WANTED)
        assert not publisher.published

    assert (at(world, act), world.node_writes()) == ([], 0)


def test_a_failure_is_told_and_tried_again(world: World) -> None:
    world.cluster.refusal = Unavailable("gone")

    async def act(publisher: Publisher) -> None:
        publisher.seen(meta(world))
        publisher.want(WANTED)
        await eventually(lambda: "gone" in publisher.failure)
        world.cluster.refusal = None
        await eventually(lambda: publisher.published)
        assert publisher.failure == ""

    outcomes = at(world, act)
    assert (set(outcomes[:-1]), outcomes[-1]) == ({"Unavailable"}, "ok")
