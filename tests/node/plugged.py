"""Our side of the device plugin tests: what is offered, an agent that says what it is told, and the plugins that run."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from hami_core.model import Kind, Mounts, Resources
from hami_core.node.kubelet import Kubelet, Patience
from hami_core.node.offers import Advertised, Offer, Offers
from tests.node import kubelet as theirs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from hami_core.node.tokens import Token

CHIP, OTHER = "acme.example/chip", "other.example/chip"
ACME = Kind("acme", Resources(count=CHIP), visible_env="ACME_VISIBLE")
ELSE = Kind("other", Resources(count=OTHER), visible_env="OTHER_VISIBLE")


def an_offer(devices: int = 2, slots: int = 3, kind: Kind = ACME, sick: int = 0) -> Offer:
    """Devices a, b, ... on NUMA nodes 0 and 1 in turn; the first ``sick`` of them are so."""
    tokens = tuple(
        Advertised(f"{chr(ord('a') + number)}::{slot}", healthy=number >= sick, numa=number % 2)
        for number in range(devices)
        for slot in range(slots)
    )
    return Offer(kind.resources.count, kind.name, tokens)


@define(eq=False)
class Agent:
    """``asked``: the tokens of every Allocate. ``fault``: what is raised instead of an answer."""

    prepared: Mounts = field(factory=Mounts)
    granted: list[tuple[str, ...]] = field(factory=list)
    asked: list[tuple[str, ...]] = field(factory=list)
    fault: Exception | None = None
    held_up: float = 0.0

    def kind(self, name: str) -> Kind:
        return {"acme": ACME, "other": ELSE}[name]

    async def mounts(self, kind: Kind, taken: Sequence[Token]) -> Mounts:
        self.asked.append(tuple(map(str, taken)))
        await asyncio.sleep(self.held_up)
        if self.fault:
            raise self.fault
        return evolve(self.prepared, env=((kind.visible_env, kind.hidden),))

    def waiting(self, kind: Kind) -> Sequence[Sequence[str]]:
        return self.granted


@define(eq=False)
class Books:
    """What the kubelet has, as it says; None: it does not say."""

    told: Mapping[str, int] | None = None

    async def allocatable(self) -> Mapping[str, int] | None:
        return self.told


@define(eq=False)
class Node:
    """Both sides of one folder."""

    kubelet: theirs.Kubelet
    offers: Offers
    agent: Agent
    books: Books
    ours: Kubelet

    def sockets(self) -> list[str]:
        """Our sockets in the folder."""
        return sorted(path.name for path in self.kubelet.folder.glob("hami-*.sock"))


async def eventually(is_so: Callable[[], object], seconds: float = 10) -> None:
    """Wait until that is so of our own side, which wakes nobody when it changes."""
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.01)


QUICK = Patience(look=0.02, answer=5.0, watch=5.0, doubt=5.0)


@asynccontextmanager
async def a_node(folder: Path, *offered: Offer, patience: Patience = QUICK, started: bool = True) -> AsyncIterator[Node]:
    """A kubelet, and our plugins registered with it."""
    offers, agent, books = Offers(), Agent(), Books()
    node = Node(theirs.Kubelet(folder), offers, agent, books, Kubelet(folder, offers, agent, books, patience))
    for offer in offered:
        offers.put(offer)
    if started:
        await node.kubelet.start()
    ours = asyncio.create_task(node.ours.run())
    try:
        if started:
            await node.kubelet.until(lambda: all(node.kubelet.healthy(one.resource) for one in offered))
        yield node
    finally:
        ours.cancel()
        await asyncio.gather(ours, return_exceptions=True)
        await node.kubelet.kill()
