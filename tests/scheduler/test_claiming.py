"""Our word on the Lease: one write at a time, one for each Lease that is seen, whatever becomes of it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field

from hami_core.kube.errors import Unavailable
from hami_scheduler.claiming import Claims
from tests.scheduler.test_following import until
from tests.scheduler.test_leadership import MINE, a_lease

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hami_core.kube.objects import Lease


@define(eq=False)
class Server:
    """Answers as scripted, when it may."""

    faults: list[Exception | None] = field(factory=list)
    seen: list[Lease] = field(factory=list)
    may: threading.Event = field(factory=threading.Event)

    def write(self, lease: Lease, word: str) -> None:
        assert word == MINE
        self.seen.append(lease)
        assert self.may.wait(5)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault


def run(server: Server, act: Callable[[Claims], Coroutine[Any, Any, None]]) -> list[str]:
    """What was said to have failed."""
    failures: list[str] = []

    async def acting() -> None:
        with ThreadPoolExecutor(4) as threads:
            await act(Claims(server.write, threads, failures.append))

    asyncio.run(acting())
    return failures


def _answered(server: Server, times: int) -> bool:
    return (len(server.seen), len(server.faults)) == (times, max(0, 3 - times))


def answering(*faults: Exception) -> Server:
    server = Server([*faults])
    server.may.set()
    return server


def test_leases_that_are_seen_during_a_write_wait_and_only_the_last_is_written_on() -> None:
    server, (first, second, third) = Server(), (a_lease(), a_lease(), a_lease())

    async def act(claims: Claims) -> None:
        claims.want(first, MINE)
        await until(lambda: server.seen)
        claims.want(second, MINE)
        claims.want(third, MINE)
        await asyncio.sleep(0)
        assert server.seen == [first]
        server.may.set()
        await until(lambda: len(server.seen) > 1)

    run(server, act)

    assert [id(one) for one in server.seen] == [id(first), id(third)]


def test_one_lease_is_written_on_once_however_often_it_is_wanted() -> None:
    server, lease = answering(), a_lease()

    async def act(claims: Claims) -> None:
        claims.want(lease, MINE)
        await until(lambda: server.seen)
        await asyncio.sleep(0.01)
        claims.want(lease, MINE)
        await asyncio.sleep(0.01)

    run(server, act)

    assert len(server.seen) == 1


def test_a_lease_that_is_not_ours_any_more_is_left_alone() -> None:
    server = Server()

    async def act(claims: Claims) -> None:
        claims.want(a_lease(), MINE)
        await until(lambda: server.seen)
        claims.want(a_lease(), MINE)
        claims.want(None)
        server.may.set()
        await asyncio.sleep(0.01)

    run(server, act)

    assert len(server.seen) == 1


def test_a_write_that_failed_is_followed_by_one_for_the_next_lease_and_is_told_once_for_each_reason() -> None:
    server = answering(Unavailable("gone"), Unavailable("gone"), ValueError("what nobody thought of"))
    told: list[str] = []

    async def act(claims: Claims) -> None:
        for number in range(1, 5):
            claims.want(a_lease(), MINE)
            await until(partial(_answered, server, number))
            await asyncio.sleep(0.01)
            told.append(claims.failure)

    failures = run(server, act)

    assert failures == ["API server: gone", "what nobody thought of"]
    assert told == ["API server: gone", "API server: gone", "what nobody thought of", ""]
