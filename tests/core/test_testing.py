"""The contract suite itself: a sound plugin passes, and each rule, broken once, is noticed in one sentence."""

from __future__ import annotations

from copy import copy
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import pytest
from attrs import evolve, frozen

from hami_core import hookimpl, placement, requests
from hami_core.errors import DriverError, HamiError, UserError
from hami_core.model import (
    Capacity,
    DeviceInventory,
    Fit,
    Grant,
    Kind,
    Link,
    Machine,
    Mounts,
    Policy,
    Reason,
    Resources,
    Score,
    Splitting,
)
from hami_core.settings import setting
from hami_core.testing import PluginContract
from tests.core.fleet import ACME, a_device, a_kind, an_inventory

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = [name for name in dir(PluginContract) if name.startswith("test_")]


@frozen
class Sound:
    """Settings as they should be."""

    slots: int = setting("acme.slots", 4, "Tasks per card.", low=1)


def split(kind: Kind, inventory: DeviceInventory, settings: Any) -> list[Capacity] | None:
    """Cards of several slots, each with memory to spare."""
    if kind.name != "acme":
        return None
    slots = settings[Sound].slots
    return [
        Capacity(one.id, one.model, slots, one.memory, one.memory, numa=one.numa, healthy=not one.sick)
        for one in inventory.devices
    ]


def a_plugin(**hooks: Callable[..., Any]) -> Any:
    module = SimpleNamespace()
    sound = {"hami_settings": lambda: Sound, "hami_kinds": lambda: [ACME], "hami_split": split}
    for name, function in (sound | hooks).items():
        setattr(module, name, hookimpl(cast("Any", function)))
    return module


def broken_rules(plugin: object, **attributes: object) -> dict[str, str]:
    """Rule -> sentence, for all that fail."""
    suite = type("TestAcme", (PluginContract,), {"plugin": plugin, **attributes})
    broken = {}
    for rule in RULES:
        try:
            getattr(suite(), rule)()
        except (AssertionError, HamiError) as error:
            broken[rule] = str(error).splitlines()[0]
    return broken


# --- What is sound ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sound_plugin_keeps_every_rule() -> None:
    assert broken_rules(a_plugin()) == {}


@pytest.mark.slow
def test_its_own_devices_and_settings_are_used() -> None:
    seen: set[tuple[str, int]] = set()

    def watch(kind: Kind, inventory: DeviceInventory, settings: Any) -> list[Capacity] | None:
        seen.update((device.id, settings[Sound].slots) for device in inventory.devices)
        return split(kind, inventory, settings)

    inventory = an_inventory(a_device(0), a_device(1))

    assert broken_rules(a_plugin(hami_split=watch), inventory=inventory, settings={"acme.slots": 2}) == {}
    assert seen == {("d0", 2), ("d1", 2)}


@pytest.mark.slow
def test_a_driver_that_fails_as_a_whole_breaks_no_rule() -> None:
    def discover() -> NoReturn:
        raise DriverError("acme", "is down")

    assert broken_rules(a_plugin(hami_discover=discover)) == {}


# --- Each rule, broken -----------------------------------------------------------------------------------------------


def own(answer: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of (kind, splitting, requests, table) that answers for acme alone."""

    def hook(kind: Kind, splitting: Splitting, requests: Any, table: Any) -> Any:
        return answer(requests, table) if kind.name == "acme" else None

    return hook


def own_place(answer: Callable[..., Any]) -> Callable[..., Any]:
    def hook(kind: Kind, splitting: Splitting, requests: Any, row: Any) -> Any:
        return answer(requests, row, placement.place(requests, row, splitting.name)) if kind.name == "acme" else None

    return hook


def own_grant(answer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda kind, shares: answer(shares) if kind.name == "acme" else None


def own_parse(answer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda kind, pod: answer(pod) if kind.name == "acme" else None


def parsed(pod: Any) -> Any:
    return requests.parse(ACME, pod, Policy())


def changes_the_pod(pod: Any) -> Any:
    pod["seen"] = True
    return parsed(pod)


def raises_a_value_error(pod: Any) -> Any:
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    return parsed(pod) if int(limits.get("acme.example/card", 0)) else ()


def raises_a_user_error(pod: Any) -> NoReturn:
    raise UserError("no")


def forgetful() -> Callable[..., Any]:
    """An answer that alternates."""
    calls: list[None] = []

    def alternate(*answers: Any) -> Any:
        calls.append(None)
        return answers[len(calls) % len(answers)]

    return alternate


def all_fit(requests: Any, table: Any) -> Fit:
    fit = placement.fit(requests, table)
    return evolve(fit, nodes=np.ones_like(fit.nodes), reasons=np.zeros_like(fit.reasons))


def fits_without_reason(requests: Any, table: Any) -> Fit:
    return evolve(placement.fit(requests, table), reasons=np.zeros(table.shape[0], np.int8))


def with_reason_99(requests: Any, table: Any) -> Fit:
    fit = placement.fit(requests, table)
    return evolve(fit, reasons=np.where(fit.nodes, np.int8(0), np.int8(99)))


def flat(requests: Any, table: Any) -> Fit:
    fit = placement.fit(requests, table)
    return evolve(fit, devices=fit.devices[0])


def everywhere(requests: Any, table: Any) -> Fit:
    fit = placement.fit(requests, table)
    return evolve(fit, devices=np.ones_like(fit.devices))


def the_first_alone(requests: Any, table: Any) -> Fit:
    fit = placement.fit(requests, table)
    nodes = fit.nodes & (np.arange(len(fit.nodes)) == fit.nodes.argmax())
    return evolve(fit, nodes=nodes, reasons=np.where(fit.nodes & ~nodes, np.int8(Reason.SLOTS), fit.reasons))


def by_name(requests: Any, table: Any) -> Fit:
    known = [one for one in requests if not one.container.startswith("renamed")]
    return placement.fit(known, table) if known else evolve(placement.fit(requests, table), reasons=np.full(table.shape[0], 10))


def the_emptiest(table: Any) -> Score:
    used = table.memory_used.sum(axis=1)
    return Score(1.0 - used / max(int(used.max(initial=0)), 1))


def vandal(requests: Any, table: Any) -> None:
    table.slots_used[:] = 0


def renames(requests: Any, table: Any) -> Fit:
    table.extra["new"] = table.slots.copy()
    return placement.fit(requests, table)


def capacity(**changes: Any) -> Callable[..., Any]:
    def hook(kind: Kind, inventory: DeviceInventory, settings: Any) -> Any:
        offered = split(kind, inventory, settings)
        return offered and [evolve(one, **changes) for one in offered]

    return hook


def offers_twice(kind: Kind, inventory: DeviceInventory, settings: Any) -> Any:
    offered = split(kind, inventory, settings)
    return offered and offered * 2


def replaced(requests: Any, row: Any, **changes: Any) -> Any:
    """Placed as if the requests had not wished that."""
    return placement.place([evolve(one, **changes) for one in requests], row, "share")


def shares_it(requests: Any, row: Any, placed: Any) -> Any:
    """As if nobody wanted a device for himself, but said so of the shares."""
    modest = [evolve(one, cores=min(one.cores, 99), policy=Policy()) for one in requests]
    wanted = {one.container: one for one in requests}
    shares = placement.place(modest, row, "share")
    return [evolve(one, cores=wanted[one.container].cores, exclusive=wanted[one.container].exclusive) for one in shares]


def uncordoned(requests: Any, row: Any, placed: Any) -> Any:
    open_row = copy(row)
    open_row.any_cordoned = False
    return placement.place(requests, open_row, "share")


@frozen
class OutOfRange:
    slots: int = setting("acme.slots", 0, "Tasks per card.", low=1)


@frozen
class Silent:
    slots: int = setting("acme.slots", 4, "")


@frozen
class Plain:
    slots: int = 4


ALTERNATE = forgetful()
BARE = Resources(count="acme.example/card")


def settings_of_a_function() -> type[Any]:
    @frozen
    class Local:
        cards: int = setting("acme.cards", 1, "How many.")

    return Local


BROKEN: dict[str, tuple[str, Any, str]] = {
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
    "discovers one inventory": (
        "test_what_it_discovers_is_of_its_kinds_and_can_be_sent_to_another_process",
        a_plugin(hami_discover=lambda: [a_device()]),
        "hami_discover answers Device at [0] where DeviceInventory belongs",
    ),
    "settings that cannot be sent": (
        "test_its_settings_can_be_sent_to_another_process",
        a_plugin(hami_settings=settings_of_a_function),
        "the settings of the plugin cannot be sent to another process",
    ),
    "health of a number": (
        "test_its_health_and_use_have_their_shape_and_can_be_sent_to_another_process",
        a_plugin(hami_check_health=lambda kind: {"d0": 1} if kind.name == "acme" else None),
        "hami_check_health answers 1 (int) at ['d0'] where str belongs",
    ),
    "health of another": (
        "test_its_health_and_use_have_their_shape_and_can_be_sent_to_another_process",
        a_plugin(hami_check_health=lambda kind: {"d9": "hot"} if kind.name == "acme" else None),
        "hami_check_health speaks of {'d9'}, which it was not asked about",
    ),
    "discovers another kind": (
        "test_what_it_discovers_is_of_its_kinds_and_can_be_sent_to_another_process",
        a_plugin(hami_discover=lambda: [an_inventory(kind="other")]),
        "hami_discover lists other, no kind of the plugin",
    ),
    "discovers one id twice": (
        "test_what_it_discovers_is_of_its_kinds_and_can_be_sent_to_another_process",
        a_plugin(hami_discover=lambda: [an_inventory(a_device(), a_device())]),
        "hami_discover lists two devices of one id: ['d0', 'd0']",
    ),
    "discovers a link to nowhere": (
        "test_what_it_discovers_is_of_its_kinds_and_can_be_sent_to_another_process",
        a_plugin(hami_discover=lambda: [evolve(an_inventory(), links=(Link("d0", "d1", "bus"),))]),
        "must be between two listed devices, the smaller id first",
    ),
    "offers twice": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=offers_twice),
        "hami_split offers one device twice",
    ),
    "no slot": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(slots=0)),
        "has 0 slots, at least 1 is needed",
    ),
    "no memory": ("test_splitting_is_pure_and_offers_what_is_there", a_plugin(hami_split=capacity(memory=0)), "offers 0 MiB"),
    "no metal": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(physical=0)),
        "0 MiB of metal",
    ),
    "cores": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(cores=101)),
        "offers 101 % of its cores, not 0 to 100",
    ),
    "sick as healthy": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(healthy=True)),
        "hami_split offers a sick device as healthy",
    ),
    "undeclared column": (
        "test_splitting_is_pure_and_offers_what_is_there",
        a_plugin(hami_split=capacity(extra=(("slices", 7),))),
        "which the splitting does not declare",
    ),
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
    "requests from nowhere": (
        "test_a_pod_that_names_none_of_its_resources_asks_nothing",
        a_plugin(hami_parse=own_parse(lambda pod: parsed({"spec": {"containers": [_asking()]}}))),
        "hami_parse finds a request for acme in a pod that names none of its resources",
    ),
    "deaf": (
        "test_a_pod_that_names_its_count_asks_for_as_many",
        a_plugin(hami_parse=own_parse(lambda pod: ())),
        "hami_parse reads acme.example/card: 2 as []",
    ),
    "parse changes the pod": (
        "test_parsing_is_pure_and_refuses_garbage_with_a_validation_error",
        a_plugin(hami_parse=own_parse(changes_the_pod)),
        "hami_parse changes the pod",
    ),
    "parse raises anything": (
        "test_parsing_is_pure_and_refuses_garbage_with_a_validation_error",
        a_plugin(hami_parse=own_parse(raises_a_value_error)),
        "hami_parse raised",
    ),
    "parse raises another error of ours": (
        "test_parsing_is_pure_and_refuses_garbage_with_a_validation_error",
        a_plugin(hami_parse=own_parse(raises_a_user_error)),
        "with a ValidationError, not UserError('no')",
    ),
    "parse speaks for others": (
        "test_parsing_is_pure_and_refuses_garbage_with_a_validation_error",
        a_plugin(hami_parse=own_parse(lambda pod: [evolve(one, container="other") for one in parsed(pod)])),
        "hami_parse speaks for a container or kind that is not in the pod",
    ),
    "fit of one request": (
        "test_a_fit_has_the_right_shapes_and_a_reason_for_every_refusal",
        a_plugin(hami_fit=own(flat)),
        "hami_fit: shapes of nodes, reasons, devices are",
    ),
    "fit without reason": (
        "test_a_fit_has_the_right_shapes_and_a_reason_for_every_refusal",
        a_plugin(hami_fit=own(fits_without_reason)),
        "hami_fit: a node has Reason.FITS if and only if it fits",
    ),
    "fit with a reason of its own": (
        "test_a_fit_has_the_right_shapes_and_a_reason_for_every_refusal",
        a_plugin(hami_fit=own(with_reason_99)),
        "which is no Reason",
    ),
    "fit on absent devices": (
        "test_a_fit_has_the_right_shapes_and_a_reason_for_every_refusal",
        a_plugin(hami_fit=own(everywhere)),
        "hami_fit finds room on a device that is not there",
    ),
    "everything fits": (
        "test_a_node_fits_if_and_only_if_placing_on_it_succeeds",
        a_plugin(hami_fit=own(all_fit)),
        "hami_fit fits a node where hami_place gives nothing",
    ),
    "nothing is placed": (
        "test_a_node_fits_if_and_only_if_placing_on_it_succeeds",
        a_plugin(hami_place=own_place(lambda requests, row, placed: ())),
        "hami_fit fits a node where hami_place gives nothing",
    ),
    "the same device twice": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, device=placed[0].device) for one in placed])),
        "different devices, not",
    ),
    "one share too few": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: placed[:1])),
        "hami_place gives shares of (container, kind, splitting)",
    ),
    "a device from elsewhere": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, device="x" + one.device) for one in placed])),
        "no devices of the node",
    ),
    "more than is free": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, memory=10**6) for one in placed])),
        "hami_place takes 1000000 of a device's memory where",
    ),
    "other phases": (
        "test_what_is_placed_is_what_was_asked_and_never_more_than_is_free",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, phases=(7,)) for one in placed])),
        "hami_place gives a share of (phases, exclusive) ((7,), ",
    ),
    "a share that shares what it was to have alone": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(lambda requests, row, placed: [evolve(one, exclusive=False) for one in placed])),
        "hami_place gives a share of (phases, exclusive)",
    ),
    "a device that was not wished for": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(lambda requests, row, placed: replaced(requests, row, selectors=()))),
        "does not admit",
    ),
    "devices of two NUMA nodes": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(lambda requests, row, placed: replaced(requests, row, numa_bind=""))),
        "hami_place gives devices of the NUMA nodes",
    ),
    "a device that somebody uses": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(shares_it)),
        "which is in use, to a request that wants it for itself",
    ),
    "a device out of service": (
        "test_what_a_pod_wishes_of_its_devices_is_honoured",
        a_plugin(hami_place=own_place(uncordoned)),
        "which is sick or cordoned",
    ),
    "a loud opinion": (
        "test_opinions_lie_between_0_and_1",
        a_plugin(hami_score=lambda table: Score(np.full(table.shape[0], 2.0))),
        "do not all lie in 0..1",
    ),
    "an opinion that is no number": (
        "test_opinions_lie_between_0_and_1",
        a_plugin(hami_score=lambda table: Score(np.full(table.shape[0], np.nan))),
        "do not all lie in 0..1",
    ),
    "an opinion without weight": (
        "test_opinions_lie_between_0_and_1",
        a_plugin(hami_score=lambda table: Score(np.ones(table.shape[0]), weight=0.0)),
        "the weight 0.0 is not positive and finite",
    ),
    "one opinion for all": (
        "test_opinions_lie_between_0_and_1",
        a_plugin(hami_score=lambda table: Score(np.ones(99))),
        "hami_score: values have the shape (99,)",
    ),
    "a fit that compares nodes": (
        "test_a_node_is_judged_by_its_row_alone",
        a_plugin(hami_fit=own(the_first_alone)),
        "hami_fit judges a node by other nodes of the table",
    ),
    "a fit by names": (
        "test_a_node_is_judged_by_its_row_alone",
        a_plugin(hami_fit=own(by_name)),
        "hami_fit decides by the names of containers",
    ),
    "an opinion by comparison": (
        "test_a_node_is_judged_by_its_row_alone",
        a_plugin(hami_score=the_emptiest),
        "hami_score judges a node by other nodes of the table",
    ),
    "a fit that writes": ("test_deciding_is_pure", a_plugin(hami_fit=own(vandal)), "hami_fit raised ValueError"),
    "a fit that adds a column": ("test_deciding_is_pure", a_plugin(hami_fit=own(renames)), "a decision changes the table"),
    "a place that changes its mind": (
        "test_deciding_is_pure",
        a_plugin(hami_place=own_place(lambda requests, row, placed: ALTERNATE(placed, ()))),
        "hami_place gives another answer when it is asked again",
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


def _asking() -> dict[str, Any]:
    return {"name": "main", "resources": {"limits": {"acme.example/card": 1}}}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_noticed_in_a_sentence(name: str) -> None:
    rule, plugin, sentence = BROKEN[name]
    suite = type("TestAcme", (PluginContract,), {"plugin": plugin})

    with pytest.raises((AssertionError, HamiError)) as caught:
        getattr(suite(), rule)()

    assert sentence in str(caught.value)


def test_every_rule_is_broken_once() -> None:
    assert set(RULES) - {"test_importing_it_imports_neither_numpy_nor_a_driver"} == {rule for rule, _, _ in BROKEN.values()}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("import numpy", "importing greedy imports numpy; do it inside the hook that needs it"),
        ("import ctypes; ctypes.CDLL('libm.so.6')", "importing greedy loads the library libm.so.6; do it inside"),
        ("import no_such_module", "greedy cannot be imported by itself: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_an_import_of_something_heavy_is_noticed(
    line: str, sentence: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy.py").write_text(f"{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    suite = type("TestGreedy", (PluginContract,), {"plugin": ModuleType("greedy")})

    with pytest.raises(AssertionError) as caught:
        suite().test_importing_it_imports_neither_numpy_nor_a_driver()

    assert sentence in str(caught.value)
