"""Mounts and grants that show too much, or the wrong thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hami_core.model import Grant, Mounts
from tests.core.contract.plugins import Case, a_plugin, forgetful

if TYPE_CHECKING:
    from collections.abc import Callable

ALTERNATE = forgetful()


def own_grant(answer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda kind, shares: answer(shares) if kind.name == "acme" else None


CASES: dict[str, Case] = {
    "open mounts": (
        "test_without_a_grant_its_containers_see_no_device",
        a_plugin(hami_mounts=lambda kind: Mounts(env=(("ACME_VISIBLE", "all"),)) if kind.name == "acme" else None),
        "hami_mounts must set ACME_VISIBLE=void (fail closed), not 'all'",
    ),
    "forgotten variable": (
        "test_without_a_grant_its_containers_see_no_device",
        a_plugin(hami_mounts=lambda kind: Mounts() if kind.name == "acme" else None),
        "hami_mounts must set ACME_VISIBLE=void (fail closed), not None",
    ),
    "mounts by token": (
        "test_without_a_grant_its_containers_see_no_device",
        a_plugin(hami_mounts=lambda kind, tokens: Mounts(devices=tuple(tokens)) if kind.name == "acme" else None),
        "hami_mounts depends on the tokens",
    ),
    "relative path": (
        "test_without_a_grant_its_containers_see_no_device",
        a_plugin(
            hami_mounts=lambda kind: (
                Mounts(env=(("ACME_VISIBLE", "void"),), devices=("dev/acme0",)) if kind.name == "acme" else None
            )
        ),
        "hami_mounts names a path that is not absolute: 'dev/acme0'",
    ),
    "a grant of all": (
        "test_a_grant_names_the_devices_of_its_shares_and_no_other",
        a_plugin(hami_grant=own_grant(lambda shares: Grant(shares[0].container, "acme", "all"))),
        "hami_grant must show the shares' devices, not 'all'",
    ),
    "a grant for another": (
        "test_a_grant_names_the_devices_of_its_shares_and_no_other",
        a_plugin(hami_grant=own_grant(lambda shares: Grant("other", "acme", shares[0].device))),
        "hami_grant is for (container, kind) ('other', 'acme')",
    ),
    "a grant of too many": (
        "test_a_grant_names_the_devices_of_its_shares_and_no_other",
        a_plugin(hami_grant=own_grant(lambda shares: Grant(shares[0].container, "acme", "invented-0,invented-1,invented-2"))),
        "which the container has no share of",
    ),
    "a section of too many": (
        "test_a_grant_names_the_devices_of_its_shares_and_no_other",
        a_plugin(
            hami_grant=own_grant(
                lambda shares: Grant(shares[0].container, "acme", "mine", "".join(f"device invented-{n}\n" for n in range(4)))
            )
        ),
        "hami_grant's section names",
    ),
    "a section without an end": (
        "test_a_grant_names_the_devices_of_its_shares_and_no_other",
        a_plugin(hami_grant=own_grant(lambda shares: Grant(shares[0].container, "acme", "mine", "device d0"))),
        "hami_grant raised ValueError: a section of the limits file is whole lines",
    ),
    "a grant by chance": (
        "test_a_grant_names_the_devices_of_its_shares_and_no_other",
        a_plugin(hami_grant=own_grant(lambda shares: Grant(shares[0].container, "acme", ALTERNATE("a", "b")))),
        "hami_grant gives another answer when it is asked again",
    ),
}
