"""From a pod to the nodes that are kept for it: judged, ranked, checked against the quota; and to its place on one of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from hami_core import decision, explain
from hami_core.model import Holding
from hami_scheduler import bounds, filtering, quota, whynot
from hami_scheduler.filtering import CLOSED, QUOTA, Offer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from pluggy import HookRelay

    from hami_core.decision import Ask, Verdict
    from hami_core.model import Mask, Share
    from hami_scheduler.asked import Asked
    from hami_scheduler.filtering import Filtered
    from hami_scheduler.state import State

TRIES = 512
"""Nodes on which a pod is placed for trial in one filter, where a quota lies between the least and the most it could take."""


@frozen(eq=False)
class Choice:
    """What filter answers, the ranks of the nodes that are kept, and the pod's shares on the first of them."""

    filtered: Filtered
    ranks: Sequence[float] = ()
    shares: tuple[Share, ...] = ()


def choose(hook: HookRelay, state: State, asked: Asked, names: Sequence[str], most: int) -> Choice:
    """The ``most`` best of the offered nodes (0: all that fit). The pod itself holds nothing yet. Changes nothing."""
    judged = state.judge.judged(asked.asks)
    rows, ranks = state.rows, judged.ranks
    within, codes = _limited(state, asked, judged.verdicts)
    offer = Offer.of(names, state.fleet)
    own = offer.codes(codes)
    fitting = filtering.fitting(offer, own)
    if not len(fitting):
        return _nothing(hook, state, asked, judged.verdicts, offer, own)
    kept, shares = _kept(hook, state, asked, _ordered(fitting, ranks, within, rows.order, most), within, most or len(fitting))
    if not kept:
        own[np.isin(offer.rows, fitting)] = QUOTA if within is not None else filtering.MISFIT
        return _nothing(hook, state, asked, judged.verdicts, offer, own)
    return Choice(filtering.Filtered(tuple(rows.nodes[row] for row in kept), {}), ranks[kept].tolist(), shares)


def _limited(state: State, asked: Asked, verdicts: Sequence[Verdict]) -> tuple[Mask | None, NDArray[np.int8]]:
    """All rows' codes, closed nodes and the quota regarded; and where the quota is surely kept. None: there is no quota."""
    _, codes = filtering.combined(verdicts)
    codes = codes.copy()
    within: Mask | None = None
    for one, verdict in zip(asked.asks, verdicts, strict=True):
        if limits := state.quotas.limits(asked.namespace, one.kind.name):
            used = state.used(asked.namespace, one.kind.name)
            sure, over = bounds.surely(one, verdict, state.tables, limits, used)
            within = sure if within is None else within & sure
            codes[(codes == filtering.FITS) & over] = QUOTA
    for node in state.closed:
        row = state.fleet.row(node)
        if row is not None:
            codes[row] = CLOSED
    return within, codes


def _ordered(
    fitting: NDArray[np.int64], ranks: NDArray[np.float64], within: Mask | None, order: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """The best first; all of them where the quota may still drop some."""
    sure = within is None or bool(within[fitting].all())
    return filtering.best(fitting, ranks, order, most if sure else 0)


def _kept(
    hook: HookRelay, state: State, asked: Asked, ordered: NDArray[np.int64], within: Mask | None, most: int
) -> tuple[list[int], tuple[Share, ...]]:
    """The first nodes that keep the quota, and the shares on the first of all."""
    kept: list[int] = []
    first: tuple[Share, ...] = ()
    for row in _tried(ordered, within):
        sure = within is None or bool(within[row])
        if not kept or not sure:
            placed = place(hook, state, asked, row)
            if isinstance(placed, str):
                continue
            first = first or placed
        kept.append(row)
        if len(kept) == most:
            break
    return kept, first


def _tried(ordered: NDArray[np.int64], within: Mask | None) -> Iterator[int]:
    """All nodes of which the quota is sure, and the first of the others."""
    tries = TRIES
    for row in ordered.tolist():
        if within is None or within[row]:
            yield row
        elif tries:
            tries -= 1
            yield row


def place(hook: HookRelay, state: State, asked: Asked, row: int) -> tuple[Share, ...] | str:
    """The pod's shares on one node as it is now, or why it cannot be there."""
    shares: list[Share] = []
    for one in asked.asks:
        placed = decision.place(hook, one, state.tables, row)
        if not placed:
            return _refusal(one, state, row)
        shares += placed
    return refused_by_quota(state, asked.namespace, shares) or tuple(shares)


def refused_by_quota(state: State, namespace: str, shares: Sequence[Share]) -> str:
    """Why the namespace may not take these too; empty if it may."""
    for kind, taken in quota.amounts(shares).items():
        limits = state.quotas.limits(namespace, kind)
        if limits and (why := quota.refusal(limits, state.used(namespace, kind), taken, namespace)):
            return why
    return ""


def _refusal(one: Ask, state: State, row: int) -> str:
    """In the words of the first way: nearly always there is no other."""
    splitting, requests = one.ways[0][0]
    return explain.refusal(one.kind, requests, state.tables[one.kind.name, splitting.name].row(row)) or filtering.OTHER


def _nothing(
    hook: HookRelay, state: State, asked: Asked, verdicts: Sequence[Verdict], offer: Offer, own: NDArray[np.int8]
) -> Choice:
    """No node is kept. Where a node's inventory cannot be read, that is why."""
    kinds = {one.kind.name for one in asked.asks}
    unreadable = {node for node, faults in state.inventory_faults.items() if kinds & faults.keys()}
    if unreadable:
        own[[name in unreadable for name in offer.names]] = filtering.UNREADABLE
    others = Counter(filtering.phrase(code) for code in own[own < filtering.FITS].tolist())
    sentence = whynot.sentence(asked.asks, verdicts, state.tables, offer.rows[own > filtering.FITS], others)
    told = _quota_sentence(hook, state, asked, offer.rows[own == QUOTA])
    failed = filtering.refused(offer.names, own)
    return Choice(filtering.Filtered((), failed, filtering.why(failed, "; ".join(filter(None, (sentence, told))))))


def _quota_sentence(hook: HookRelay, state: State, asked: Asked, rows: NDArray[np.int64]) -> str:
    """The limit that stands in the way on the first of these nodes, which have room but for the quota."""
    refused = place(hook, state, asked, int(rows[np.argmin(state.rows.order[rows])])) if len(rows) else ()
    return refused if isinstance(refused, str) else ""


def holding(asked: Asked, shares: tuple[Share, ...]) -> Holding:
    """What the pod holds with these shares."""
    return Holding(asked.uid, asked.name, asked.namespace, shares)
