"""One pod's way through the hooks: ask, judge, place, grant. Pure functions over values; every door uses the same ones.

Tables are given by (kind, splitting), all with the same nodes in the same order. Each request of a kind is served from one
splitting; those that may be served from the same splittings stay together. A node takes the first way, in the catalogue's
order, in which all of them fit there.
"""

from __future__ import annotations

from itertools import groupby, product
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from hami_core import requests, shapes, table
from hami_core.errors import HamiError, PluginError, ValidationError
from hami_core.model import SPLITTING, NodeDevices, Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray
    from pluggy import HookCaller, HookRelay

    from hami_core.model import Capacity, Fit, Grant, Kind, Mask, Pod, Request, Share, Splitting
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_core.table import NodeTable

    Tables = Mapping[tuple[str, str], NodeTable]
    Part = tuple[Splitting, tuple[Request, ...]]
    Way = tuple[Part, ...]


MOST = 64
"""Containers of a pod that may ask for a kind: all nodes are judged for each, and meanwhile a scheduler answers nobody else."""

FITS = np.int8(Reason.FITS)
_LAST = np.int8(127)  # above every reason
_NOBODY: Mapping[str, Collection[str]] = {}
WITHOUT_ARRAYS = frozenset(("hami_parse", "hami_grant"))  # hooks whose answers are looked at, all plain values


@frozen
class Ask:
    """What a pod asks of one kind, and the splittings that may serve it.

    ``ways``: how the requests may be shared out among the splittings. Nearly always one way for each splitting, all requests
    together; where requests choose different ones, all combinations.
    """

    kind: Kind
    splittings: tuple[Splitting, ...]
    requests: tuple[Request, ...]
    ways: tuple[Way, ...] = field(init=False, eq=False, repr=False)

    @ways.default
    def _ways(self) -> tuple[Way, ...]:
        if not any(one.by == SPLITTING for request in self.requests for one in request.selectors):
            return tuple(((splitting, self.requests),) for splitting in self.splittings)
        together: dict[tuple[Splitting, ...], None] = dict.fromkeys(self.allowed(one) for one in self.requests)
        return tuple(self._way(dict(zip(together, chosen, strict=True))) for chosen in product(*together))

    def allowed(self, request: Request) -> tuple[Splitting, ...]:
        """The splittings that may serve one of the requests."""
        wanted = [set(one.words) for one in request.selectors if one.by == SPLITTING]
        return tuple(one for one in self.splittings if all(one.name in words for words in wanted))

    def _way(self, chosen: Mapping[tuple[Splitting, ...], Splitting]) -> Way:
        """The splittings in the catalogue's order, each with its requests in the pod's."""
        parts = ((one, tuple(r for r in self.requests if chosen[self.allowed(r)] == one)) for one in self.splittings)
        return tuple((splitting, requests) for splitting, requests in parts if requests)


@frozen(eq=False)
class Verdict:
    """All nodes judged for one Ask. Arrays are (N,); reasons are those of the way that came closest."""

    nodes: Mask
    reasons: NDArray[np.int8]
    fits: tuple[tuple[Fit, ...], ...]  # for each way of the Ask one for each part


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
    """What the pod asks of every kind; kinds that it does not name are left out. ValidationError: it cannot be meant."""
    asks = []
    for kind in catalogue.kinds:
        requests = tuple(_answer(hook.hami_parse, kind=kind, pod=pod, settings=settings))
        if len(requests) > MOST:
            hint = (
                f"at most {MOST} containers of a pod, init containers included, may ask for {kind.name} devices; split the pod"
            )
            raise ValidationError("spec.containers", len(requests), hint)
        if requests:
            asks.append(_servable(Ask(kind, catalogue.splittings[kind.name], requests)))
    return tuple(asks)


def _servable(asked: Ask) -> Ask:
    """ValidationError: a request wants a splitting that nobody brings."""
    if not asked.ways:
        choosy = next(request for request in asked.requests if not asked.allowed(request))
        key, words = next((one.key, one.words) for one in choosy.selectors if one.by == SPLITTING)
        brought = " or ".join(one.name for one in asked.splittings)
        hint = f"no plugin that is loaded splits {asked.kind.name} devices in this way; without the annotation {brought} serves"
        raise ValidationError(key, ", ".join(words), hint, "the pod's annotations")
    return asked


def tables(
    catalogue: Catalogue,
    nodes: Mapping[str, Mapping[str, NodeDevices]],
    cordoned: Mapping[str, Collection[str]] = _NOBODY,
) -> dict[tuple[str, str], NodeTable]:
    """The tables of every kind and splitting over these nodes (name -> kind -> devices), nothing used yet.

    ``cordoned``: ids of devices out of service, by node (``wishes.cordoned``).
    """
    return {
        (kind.name, splitting.name): table.build(
            [(node, _capacities(found.get(kind.name), splitting)) for node, found in nodes.items()],
            splitting.columns,
            links={node: found[kind.name].inventory.links for node, found in nodes.items() if kind.name in found},
            cordoned=cordoned,
        )
        for kind in catalogue.kinds
        for splitting in catalogue.splittings[kind.name]
    }


def _capacities(found: NodeDevices | None, splitting: Splitting) -> Sequence[Capacity]:
    return dict(found.capacities).get(splitting.name, ()) if found else ()


def judge(hook: HookRelay, asked: Ask, columns: Tables) -> Verdict:
    """Which nodes can hold everything that a pod asks of one kind."""
    if len(asked.ways) == 1 and len(asked.ways[0]) == 1:
        fit = _fit(hook, asked.kind, asked.ways[0][0], columns)
        return Verdict(fit.nodes, fit.reasons, ((fit,),))
    known: dict[tuple[str, ...], Fit] = {}
    for way in asked.ways:
        for part in way:
            if _name(part) not in known:
                known[_name(part)] = _fit(hook, asked.kind, part, columns)
    fits = tuple(tuple(known[_name(part)] for part in way) for way in asked.ways)
    reasons = np.maximum.reduce([_reasons(way) for way in fits])  # later tests have higher codes: the closest miss
    nodes = np.logical_or.reduce([np.logical_and.reduce([fit.nodes for fit in way]) for way in fits])
    return Verdict(nodes, np.where(nodes, FITS, reasons), fits)


def _name(part: Part) -> tuple[str, ...]:
    splitting, requests = part
    return (splitting.name, *(request.container for request in requests))


def _fit(hook: HookRelay, kind: Kind, part: Part, columns: Tables) -> Fit:
    splitting, requests = part
    locked = columns[kind.name, splitting.name].locked()
    fit: Fit = _answer(hook.hami_fit, kind=kind, splitting=splitting, requests=requests, table=locked)
    if fit.nodes.shape != (locked.shape[0],):
        raise PluginError(kind.name, f"{fit.nodes.shape[0]} rows for {locked.shape[0]} nodes", "hami_fit")
    return fit


def _reasons(fits: Sequence[Fit]) -> NDArray[np.int8]:
    """Of parts that must all fit, the reason of the one that is farthest from it."""
    if len(fits) == 1:
        return fits[0].reasons
    worst: NDArray[np.int8] = np.minimum.reduce([np.where(fit.nodes, _LAST, fit.reasons) for fit in fits])
    return worst


def refused(asked: Ask, verdict: Verdict, node: int) -> Part:
    """The part of what was asked for which a node gave its reason: for people to be told about."""
    ways = zip(asked.ways, verdict.fits, strict=True)
    parts = (one for way, fits in ways for one in zip(way, fits, strict=True))
    return next(part for part, fit in parts if fit.reasons[node] == verdict.reasons[node])


def rank(hook: HookRelay, asked: Ask, columns: Tables, verdict: Verdict) -> NDArray[np.float64]:
    """The weighted mean of all opinions on every node, (N,), of the first way that fits there; 0 where none does."""
    ranked = np.zeros(len(verdict.nodes))
    todo = verdict.nodes.copy()
    for way, fits in zip(asked.ways, verdict.fits, strict=True):
        fitting = np.logical_and.reduce([fit.nodes for fit in fits])
        here = todo & fitting
        if here.any():
            opinions = [_opinion(hook, asked.kind, part, columns, fit) for part, fit in zip(way, fits, strict=True)]
            ranked = np.where(here, sum(opinions) / len(opinions), ranked)
        todo &= ~fitting
    return ranked


def _opinion(hook: HookRelay, kind: Kind, part: Part, columns: Tables, fit: Fit) -> NDArray[np.float64]:
    splitting, requests = part
    locked = columns[kind.name, splitting.name].locked()
    scores = _answer(hook.hami_score, kind=kind, splitting=splitting, requests=requests, table=locked, fit=fit)
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
    """The shares of one kind on one node, in the first way that has room, in the order of the requests; () if none has."""
    for way in asked.ways:
        placed = [_place(hook, asked.kind, part, columns, node) for part in way]
        if all(placed):
            return _in_order(asked.requests, placed) if len(placed) > 1 else placed[0]
    return ()


def _place(hook: HookRelay, kind: Kind, part: Part, columns: Tables, node: int) -> tuple[Share, ...]:
    splitting, requests = part
    row = columns[kind.name, splitting.name].locked().row(node)  # locked once, for all its rows
    return tuple(_answer(hook.hami_place, kind=kind, splitting=splitting, requests=requests, row=row) or ())


def _in_order(requests: Sequence[Request], placed: Sequence[Sequence[Share]]) -> tuple[Share, ...]:
    order = {request.container: number for number, request in enumerate(requests)}
    return tuple(sorted((share for shares in placed for share in shares), key=lambda share: order[share.container]))


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
    """The answer to one question. PluginError: somebody raised what is no error of ours, or answered what is no answer."""
    try:
        answer = hook(**arguments)
    except HamiError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise PluginError(_culprit(hook, error), f"{type(error).__name__}: {error}", hook.name) from error
    if hook.name in WITHOUT_ARRAYS and (fault := shapes.fault(hook.name, answer)):
        raise PluginError(_answerer(hook, arguments), fault, hook.name)
    return answer


def _answerer(hook: HookCaller, arguments: Mapping[str, object]) -> str:
    """Whose answer it was: decisions are pure, so they can be asked again."""
    asked = reversed(hook.get_hookimpls())  # pluggy's order
    answers = ((one.plugin_name, one.function(*(arguments[name] for name in one.argnames))) for one in asked)
    return next(plugin for plugin, answer in answers if answer is not None)


def _culprit(hook: HookCaller, error: Exception) -> str:
    owners = {getattr(one.function, "__code__", None): one.plugin_name for one in hook.get_hookimpls()}
    return next((owners[frame.f_code] for frame, _ in walk_tb(error.__traceback__) if frame.f_code in owners), "?")
