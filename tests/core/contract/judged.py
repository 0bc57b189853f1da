"""Fits and opinions that are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from hami_core import placement
from hami_core.model import Fit, Kind, Reason, Score, Splitting
from tests.core.contract.plugins import Case, a_plugin

if TYPE_CHECKING:
    from collections.abc import Callable


def own(answer: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of (kind, splitting, requests, table) that answers for acme alone."""

    def hook(kind: Kind, splitting: Splitting, requests: Any, table: Any) -> Any:
        return answer(requests, table) if kind.name == "acme" else None

    return hook


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


CASES: dict[str, Case] = {
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
}
