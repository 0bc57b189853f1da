"""What is offered, and who is told of it when."""

from __future__ import annotations

import asyncio

import pytest

from hami_core.node.offers import Advertised, Offer, Offers

CHIP = "acme.example/chip"


def an_offer(*tokens: str, resource: str = CHIP) -> Offer:
    return Offer(resource, "acme", tuple(map(Advertised, tokens)))


def test_whoever_asks_first_is_told_at_once() -> None:
    async def story() -> tuple[int, Offer]:
        offers = Offers()
        offers.put(an_offer("a::0"))
        return await offers.changed(CHIP)

    assert asyncio.run(story()) == (1, an_offer("a::0"))


def test_who_waits_is_told_the_newest_when_it_changes() -> None:
    async def story() -> tuple[int, Offer]:
        offers = Offers()
        offers.put(an_offer("a::0"))
        waiting = asyncio.create_task(offers.changed(CHIP, version=1))
        await asyncio.sleep(0)
        offers.put(an_offer("a::0"))  # the same again: nobody wakes
        offers.put(an_offer(resource="acme.example/other"))  # another's
        await asyncio.sleep(0)
        assert not waiting.done()
        offers.put(an_offer("b::0"))
        offers.put(an_offer("c::0"))
        return await waiting

    assert asyncio.run(story()) == (3, an_offer("c::0"))


def test_a_retired_resource_is_an_empty_list() -> None:
    async def story() -> Offers:
        offers = Offers()
        offers.put(an_offer("a::0"))
        offers.retire(CHIP)
        return offers

    offers = asyncio.run(story())
    assert (offers.current(CHIP), offers.resources()) == (an_offer(), (CHIP,))


def test_a_resource_that_never_was_is_nobodys() -> None:
    with pytest.raises(KeyError):
        asyncio.run(asyncio.to_thread(Offers().retire, CHIP))


def test_a_new_resource_is_noticed() -> None:
    async def story() -> tuple[str, ...]:
        offers = Offers()
        waiting = asyncio.create_task(offers.joined(0))
        await asyncio.sleep(0)
        offers.put(an_offer())
        return await waiting

    assert asyncio.run(story()) == (CHIP,)
