"""What a plugin says of itself, wrongly: settings, kinds, splittings, and answers where it was not asked."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from attrs import evolve, frozen

from hami_core.model import Kind, Machine, Resources, Splitting
from hami_core.settings import setting
from tests.core.contract.plugins import Case, a_plugin, forgetful
from tests.core.fleet import ACME, a_kind

ALTERNATE = forgetful()
BARE = Resources(count="acme.example/card")


@frozen
class OutOfRange:
    slots: int = setting("acme.slots", 0, "Tasks per card.", low=1)


@frozen
class Silent:
    slots: int = setting("acme.slots", 4, "")


@frozen
class Plain:
    slots: int = 4


def settings_of_a_function() -> type[Any]:
    @frozen
    class Local:
        cards: int = setting("acme.cards", 1, "How many.")

    return Local


CASES: dict[str, Case] = {
    "misspelt hook": (
        "test_it_loads_and_has_a_hook",
        a_plugin(hami_kindz=lambda: [ACME]),
        "the plugin does not load",
    ),
    "no hook": (
        "test_it_loads_and_has_a_hook",
        ModuleType("empty"),
        "the plugin has no hook: decorate its functions with hami_core.hookimpl",
    ),
    "setting out of range": (
        "test_its_settings_are_declared_with_defaults_that_they_allow",
        a_plugin(hami_settings=lambda: OutOfRange, hami_split=lambda: None),
        "settings (acme.slots's own default): acme.slots: 0 is not a whole number of at least 1",
    ),
    "setting without words": (
        "test_its_settings_are_declared_with_defaults_that_they_allow",
        a_plugin(hami_settings=lambda: Silent, hami_split=lambda: None),
        "the setting acme.slots does not say what it does",
    ),
    "field that is no setting": (
        "test_its_settings_are_declared_with_defaults_that_they_allow",
        a_plugin(hami_settings=lambda: Plain, hami_split=lambda: None),
        "is not made by setting()",
    ),
    "resource name": (
        "test_its_kinds_are_well_formed",
        a_plugin(hami_kinds=lambda: [a_kind(resources=Resources(count="card"))]),
        "kind acme: 'card' is no extended resource; write domain/name",
    ),
    "variable": (
        "test_its_kinds_are_well_formed",
        a_plugin(hami_kinds=lambda: [Kind("acme", BARE, "ACME VISIBLE")]),
        "kind acme: 'ACME VISIBLE' is no name of a variable",
    ),
    "hidden": (
        "test_its_kinds_are_well_formed",
        a_plugin(hami_kinds=lambda: [a_kind(hidden="")]),
        "hidden is empty, which many programs read as every device",
    ),
    "name of a kind": (
        "test_its_kinds_are_well_formed",
        a_plugin(hami_kinds=lambda: [a_kind("Acme")]),
        "the plugin cannot say what it owns",
    ),
    "one name in two roles": (
        "test_its_kinds_are_well_formed",
        a_plugin(hami_kinds=lambda: [a_kind(resources=evolve(BARE, memory="acme.example/card"))]),
        'resource name "acme.example/card" is claimed by "yours" twice',
    ),
    "kinds that change": (
        "test_its_kinds_are_the_same_whenever_it_is_asked",
        a_plugin(hami_kinds=lambda: ALTERNATE([ACME], [a_kind(hidden="none")])),
        "hami_kinds gives another answer when it is asked again",
    ),
    "column type": (
        "test_its_splittings_have_columns_that_numpy_knows",
        a_plugin(hami_splittings=lambda: [Splitting("acme", "parts", (("slices", "tiny"),))]),
        "acme/parts: column slices has no numpy type",
    ),
    "split answers for all": (
        "test_it_has_no_answer_for_a_kind_of_somebody_else",
        a_plugin(hami_split=lambda inventory: []),
        "hami_split answers for a kind that is not its own: begin with a look at kind.name",
    ),
    "usage answers for all": (
        "test_it_has_no_answer_for_a_kind_of_somebody_else",
        a_plugin(hami_check_health=lambda devices: dict.fromkeys(devices, "")),
        "hami_check_health answers for a kind that is not its own",
    ),
    "raises for others": (
        "test_it_has_no_answer_for_a_kind_of_somebody_else",
        a_plugin(hami_usage=lambda kind: {"acme": None}[kind.name]),
        "hami_usage raised KeyError for a kind that is not its own",
    ),
    "machine for all": (
        "test_it_has_no_machine_that_it_was_not_asked_for",
        a_plugin(hami_machine=lambda name, state: Machine(name, str(state))),
        "hami_machine sets up a machine for a name that nobody has",
    ),
    "settings that cannot be sent": (
        "test_its_settings_can_be_sent_to_another_process",
        a_plugin(hami_settings=settings_of_a_function),
        "the settings of the plugin cannot be sent to another process",
    ),
}
