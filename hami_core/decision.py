"""One pod's way through the hooks: ask, judge, place, grant. Pure functions over values; every door uses the same ones.

Tables are given by (kind, splitting), all with the same nodes in the same order. A request of a kind is served from one
splitting per node: the first, in the catalogue's order, that fits there.
"""

from __future__ import annotations

from itertools import groupby
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from hami_core import requests, table
from hami_core.errors import HamiError, PluginError
from hami_core.model import NodeDevices, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pluggy import HookCaller, HookRelay

    from hami_core.model import Capacity, DeviceInventory, Fit, Grant, Kind, Mask, Pod, Request, Share, Splitting
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_core.table import NodeTable

    Tables = Mapping[tuple[str, str], NodeTable]


FITS = np.int8(Reason.FITS)


@frozen
class Ask:
    """What a pod asks of one kind, and the splittings that may serve it."""

    kind: Kind
    splittings: tuple[Splitting, ...]
    requests: tuple[Request, ...]


@frozen(eq=False)
class Verdict:
    """All nodes judged for one Ask. Arrays are (N,); reasons are those of the splitting that came closest."""

    nodes: Mask
    reasons: NDArray[np.int8]
    fits: tuple[Fit, ...]  # one for each splitting of the Ask


@frozen(eq=False)
class Choice:
    """Where a pod goes, and how every node was judged, one Verdict for each Ask. None: no node fits."""

    node: int | None
    verdicts: tuple[Verdict, ...]


def admit(catalogue: Catalogue, pod: Pod) -> None:
    """Refuse what no user may write, of every kind. Once, at the door; not for pods that are admitted already."""
    for kind in catalogue.kinds:
        requests.admit(kind, pod)


def ask(hook: HookRelay, catalogue: Catalogue, settings: Settings, pod: Pod) -> tuple[Ask, ...]:
    """What the pod asks of every kind; kinds that it does not name are left out. ValidationError as hami_parse says."""
    asks = []
    for kind in catalogue.kinds:
        requests = tuple(_answer(hook.hami_parse, kind=kind, pod=pod, settings=settings))
        if requests:
            asks.append(Ask(kind, catalogue.splittings[kind.name], requests))
    return tuple(asks)


def offered(hook: HookRelay, catalogue: Catalogue, settings: Settings, inventory: DeviceInventory) -> NodeDevices:
    """What a node has to publish of one kind: its devices, cut in every way that the kind knows."""
    kind = catalogue.kind(inventory.kind)
    capacities = (
        (
            splitting.name,
            tuple(_answer(hook.hami_split, kind=kind, splitting=splitting, inventory=inventory, settings=settings)),
        )
        for splitting in catalogue.splittings[kind.name]
    )
    return NodeDevices(inventory, tuple(capacities))


def tables(catalogue: Catalogue, nodes: Mapping[str, Mapping[str, NodeDevices]]) -> dict[tuple[str, str], NodeTable]:
    """The tables of every kind and splitting over these nodes (name -> kind -> devices), nothing used yet."""
    return {
        (kind.name, splitting.name): table.build(
            [(node, _capacities(found.get(kind.name), splitting)) for node, found in nodes.items()], splitting.columns
        )
        for kind in catalogue.kinds
        for splitting in catalogue.splittings[kind.name]
    }


def _capacities(found: NodeDevices | None, splitting: Splitting) -> Sequence[Capacity]:
    return dict(found.capacities).get(splitting.name, ()) if found else ()


def judge(hook: HookRelay, asked: Ask, columns: Tables) -> Verdict:
    """Which nodes can hold everything that a pod asks of one kind."""
    fits = []
    for splitting in asked.splittings:
        locked = columns[asked.kind.name, splitting.name].locked()
        fit = _answer(hook.hami_fit, kind=asked.kind, splitting=splitting, requests=asked.requests, table=locked)
        if fit.nodes.shape != (locked.shape[0],):
            raise PluginError(asked.kind.name, f"{fit.nodes.shape[0]} rows for {locked.shape[0]} nodes", "hami_fit")
        fits.append(fit)
    nodes = np.logical_or.reduce([fit.nodes for fit in fits])
    reasons = np.maximum.reduce([fit.reasons for fit in fits])  # later tests have higher codes: the closest miss
    return Verdict(nodes, np.where(nodes, FITS, reasons), tuple(fits))


def rank(hook: HookRelay, asked: Ask, columns: Tables, verdict: Verdict) -> NDArray[np.float64]:
    """The weighted mean of all opinions on every node, (N,); 0 where the pod does not fit. Splittings: the first that fits."""
    ranked = np.zeros(len(verdict.nodes))
    todo = verdict.nodes.copy()
    for splitting, fit in zip(asked.splittings, verdict.fits, strict=True):
        here = todo & fit.nodes
        if here.any():
            ranked = np.where(here, _opinion(hook, asked, splitting, columns, fit), ranked)
        todo &= ~fit.nodes
    return ranked


def _opinion(hook: HookRelay, asked: Ask, splitting: Splitting, columns: Tables, fit: Fit) -> NDArray[np.float64]:
    locked = columns[asked.kind.name, splitting.name].locked()
    scores = _answer(hook.hami_score, kind=asked.kind, splitting=splitting, requests=asked.requests, table=locked, fit=fit)
    weight = sum(score.weight for score in scores)
    mean: NDArray[np.float64] = sum(score.values * score.weight for score in scores) / (weight or 1.0)
    return mean


def choose(hook: HookRelay, asks: Sequence[Ask], columns: Tables) -> Choice:
    """The node that fits every kind and ranks highest in the sum, the first of equals. Opinions are asked only for a choice."""
    verdicts = tuple(judge(hook, asked, columns) for asked in asks)
    fitting = np.logical_and.reduce([verdict.nodes for verdict in verdicts])
    fits = int(np.count_nonzero(fitting))
    if fits <= 1:
        return Choice(int(np.argmax(fitting)) if fits else None, verdicts)
    ranks = [rank(hook, asked, columns, verdict) for asked, verdict in zip(asks, verdicts, strict=True)]
    return Choice(int(np.argmax(np.where(fitting, np.sum(ranks, axis=0), -1.0))), verdicts)


def place(hook: HookRelay, asked: Ask, columns: Tables, node: int) -> tuple[Share, ...]:
    """The shares of one kind on one node, from the first splitting that has room; () if none has."""
    for splitting in asked.splittings:
        row = columns[asked.kind.name, splitting.name].locked().row(node)  # locked once, for all its rows
        shares = _answer(hook.hami_place, kind=asked.kind, splitting=splitting, requests=asked.requests, row=row)
        if shares:
            return tuple(shares)
    return ()


def grants(hook: HookRelay, catalogue: Catalogue, settings: Settings, shares: Sequence[Share]) -> dict[str, tuple[Grant, ...]]:
    """What each container is told, by container: one Grant for each kind that it has shares of."""
    told: dict[str, tuple[Grant, ...]] = {}
    ordered = sorted(shares, key=_container_and_kind)  # stable: devices keep their order
    for (container, kind_name), group in groupby(ordered, key=_container_and_kind):
        own = list(group)
        kind = catalogue.kind(kind_name)
        splitting = catalogue.splitting(kind_name, own[0].splitting)
        grant = _answer(hook.hami_grant, kind=kind, splitting=splitting, shares=own, settings=settings)
        told[container] = (*told.get(container, ()), grant)
    return told


def _container_and_kind(share: Share) -> tuple[str, str]:
    return share.container, share.kind


def _answer(hook: HookCaller, **arguments: object) -> Any:
    """The answer to one question. PluginError: somebody raised what is no error of ours; it names whose plugin that was."""
    try:
        return hook(**arguments)
    except HamiError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise PluginError(_culprit(hook, error), f"{type(error).__name__}: {error}", hook.name) from error


def _culprit(hook: HookCaller, error: Exception) -> str:
    owners = {getattr(one.function, "__code__", None): one.plugin_name for one in hook.get_hookimpls()}
    return next((owners[frame.f_code] for frame, _ in walk_tb(error.__traceback__) if frame.f_code in owners), "?")
