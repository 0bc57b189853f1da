from __future__ import annotations

from hami_core.node.comparing import Compared, compared
from hami_core.node.podresources import Held as Books
from hami_core.node.pods import Held

CARD = "acme.dev/card"
RESOURCES = {"acme": CARD}


def granted(*devices: str, container: str = "main") -> tuple[str, str, Held]:
    return "team", "pod", Held(container, "acme", devices)


def books(*tokens: str, container: str = "main", resource: str = CARD) -> Books:
    return Books("team", "pod", container, resource, tokens)


def test_tokens_of_the_devices_that_were_granted_are_alike_whatever_their_slots() -> None:
    found = compared([granted("a", "b")], [books("b::7", "a::0")], RESOURCES)

    assert found == {"acme": Compared(alike=1)}


def test_tokens_of_another_device_are_a_difference() -> None:
    several = [granted("a"), granted("a", "b", container="beside")]

    found = compared(several, [books("b::0"), books("a::0", "a::1", container="beside")], RESOURCES)

    assert found == {"acme": Compared(different=2)}


def test_who_is_in_one_of_the_books_alone_does_not_count() -> None:
    found = compared([granted("a")], [books("a::0", container="other"), books("x", resource="else.dev/nic")], RESOURCES)

    assert found == {"acme": Compared()}


def test_what_is_no_token_is_a_difference() -> None:
    assert compared([granted("a")], [books("a")], RESOURCES) == {"acme": Compared(alike=1)}
    assert compared([granted("a")], [books("a:0")], RESOURCES) == {"acme": Compared(different=1)}
