"""What would become of one pod, as a document for people: where it fits, why it waits, whether it ever can, or where it is.

Nothing is decided, held or remembered here. It is asked seldom, so it may look at single nodes, which filter never does.
``docs/json.md`` has the fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hami_core import decision, names
from hami_core.sharing import CoreSettings
from hami_scheduler import asked, choosing, filtering, whynot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from pluggy import HookRelay

    from hami_core.model import Holding, Share
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_core.table import NodeTable
    from hami_scheduler.asked import Asked
    from hami_scheduler.state import State

    Pod = Mapping[str, Any]
    Document = dict[str, Any]

SHOWN = 3
"""Nodes that are shown, of those that fit or of those that come closest."""

HOLDERS = 20
"""Shares that are shown of one node."""

FITS, WAITS, NEVER, PLACED, NOTHING = "fits", "waits", "never", "placed", "nothing"
_ENDED = ("Succeeded", "Failed")


def document(hook: HookRelay, catalogue: Catalogue, settings: Settings, state: State, pod: Pod) -> Document:
    """The whole answer. ValidationError: the pod asks for what cannot be meant. PluginError: a plugin broke its contract."""
    known = asked.read(hook, catalogue, settings, pod)
    blank: Document = {
        "pod": {"namespace": known.namespace, "name": known.name, "uid": known.uid},
        "answer": NOTHING,
        "sentence": f"it asks for none of {', '.join(catalogue.resources())}",
        "asks": list(_asks(known)),
        "notes": list(_notes(known, settings, pod)),
        "nodes": len(state.nodes),
        "fitting": 0,
        "places": [],
        "closest": [],
        "since": "",
    }
    if not known.asks:
        return blank
    return blank | (_placed(state, known, pod) or _judged(hook, state, known))


def _asks(known: Asked) -> Iterator[Document]:
    for one in known.asks:
        for request in one.requests:
            yield {
                "container": request.container,
                "kind": one.kind.name,
                "count": request.count,
                "memory": request.memory,
                "percent": request.percent,
                "cores": request.cores,
                "defaulted": sorted(request.defaulted),
            }


def _notes(known: Asked, settings: Settings, pod: Pod) -> Iterator[str]:
    """What the author should know. A pod without a uid is a manifest, and admission is still to come."""
    yield from dict.fromkeys(note for one in known.asks for request in one.requests for note in request.notes)
    if not known.uid or not known.asks:
        return
    if names.PREPARED not in ((pod.get("metadata") or {}).get("labels") or {}):
        yield "admission has not prepared it, so nothing is granted to it; create it anew"
    scheduler, ours = (pod.get("spec") or {}).get("schedulerName"), settings[CoreSettings].scheduler_name
    if scheduler != ours:
        yield f"spec.schedulerName: {scheduler} grants no shares; {ours} does"


# --- Where it is. ---


def _placed(state: State, known: Asked, pod: Pod) -> Document | None:
    """Of a pod that is somewhere, or for which room is held. None: it is nowhere yet."""
    node, status = (pod.get("spec") or {}).get("nodeName") or "", pod.get("status") or {}
    if status.get("phase") in _ENDED:
        return {"answer": PLACED, "sentence": f"it has ended on node {node}, and holds nothing", "since": _since(status)}
    held = state.fleet.holding(known.uid) if known.uid else None
    if held is not None:
        return _holding(state, known, *held, _since(status))
    if not node:
        return None
    if known.uid in state.unreadable:
        why = state.unreadable[known.uid][1]
        return {
            "answer": PLACED,
            "sentence": f"its grant cannot be read, so its node gets nothing new: {why}",
            "since": _since(status),
        }
    sentence = f"it is on node {node} without a grant, so its containers see no device"
    return {"answer": PLACED, "sentence": sentence, "since": _since(status)}


def _holding(state: State, known: Asked, node: str, holding: Holding, since: str) -> Document:
    hold = state.holds.get(known.uid)
    place = {"places": [_place(state, node, holding.shares)], "since": since}
    if hold is None:
        return {"answer": PLACED, "sentence": f"it is on node {node}", **place}
    if hold.firm:
        return {"answer": PLACED, "sentence": f"it is being bound to node {node}", **place}
    return {"answer": FITS, "sentence": f"room is held for it on node {node}", "fitting": 1, **place}


def _since(status: Mapping[str, Any]) -> str:
    """When it was given its node, as the API server says."""
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "True":
            return str(condition.get("lastTransitionTime") or "")
    return ""


# --- Where it would be. ---


def _judged(hook: HookRelay, state: State, known: Asked) -> Document:
    offered = sorted(state.nodes)
    choice = choosing.choose(hook, state, known, offered, 0)
    if kept := choice.filtered.kept:
        placed = [(node, choosing.place(hook, state, known, state.rows.of[node])) for node in kept[:SHOWN]]
        return {
            "answer": FITS,
            "sentence": f"it fits on {len(kept)} of {len(offered)} nodes, best on {kept[0]}",
            "fitting": len(kept),
            "places": [_place(state, node, shares) for node, shares in placed if not isinstance(shares, str)],
        }
    closest = _rows_that_come_closest(state, known)
    never = _never(hook, state, known, closest)
    return {
        "answer": NEVER if never else WAITS,
        "sentence": never or str(choice.filtered.why),
        "closest": [_closest(hook, state, known, row, holders=not never) for row in closest],
    }


def _never(hook: HookRelay, state: State, known: Asked, closest: Sequence[int]) -> str:
    """Why no node could hold it even if nobody held anything and every device were in service; empty if one could.

    Nearly always one of those that come closest could: all nodes are judged only where none of these is enough.
    """
    if not closest:
        return ""
    few = {key: _at_its_best(table.some(np.array(closest))) for key, table in state.tables.items()}
    if filtering.combined([decision.judge(hook, one, few) for one in known.asks])[0].any():
        return ""
    idle = {key: _at_its_best(table) for key, table in state.tables.items()}
    verdicts = [decision.judge(hook, one, idle) for one in known.asks]
    if filtering.combined(verdicts)[0].any():
        return ""
    rows = np.fromiter(state.rows.of.values(), np.intp)
    return f"no node could hold it, even idle: {whynot.sentence(known.asks, verdicts, idle, rows)}"


def _at_its_best(table: NodeTable) -> NodeTable:
    idle = table.idle()
    idle.healthy, idle.cordoned, idle.any_cordoned = idle.present, np.zeros_like(idle.cordoned), False
    return idle


def _rows_that_come_closest(state: State, known: Asked) -> Sequence[int]:
    """By the test that they fail, later ones being closer; then by the memory that is free."""
    if not state.rows.nodes:
        return ()
    fitting, codes = filtering.combined(state.judge.judged(known.asks).verdicts)
    closeness = np.where(
        fitting, np.int64(127), codes.astype(np.int64)
    )  # those that fit: the quota, or a grant that is unreadable
    order = np.lexsort((state.rows.order, -_free(state, known), -closeness))
    here = (row for row in order.tolist() if state.rows.nodes[row])  # the others are spare
    return [row for _, row in zip(range(SHOWN), here, strict=False)]


def _free(state: State, known: Asked) -> NDArray[np.int64]:
    """MiB that are free on each node's emptiest device of the first kind."""
    kind = known.asks[0].kind.name
    tables = (table for (name, _), table in state.tables.items() if name == kind)
    free = [((table.memory - table.memory_used) * table.healthy).max(axis=1, initial=0) for table in tables]
    most: NDArray[np.int64] = np.maximum.reduce(free)
    return most


def _closest(hook: HookRelay, state: State, known: Asked, row: int, *, holders: bool) -> Document:
    node = state.rows.nodes[row]
    unreadable = next((why for at, why in state.unreadable.values() if at == node), "")
    placed = choosing.place(hook, state, known, row)
    refusal = unreadable or (placed if isinstance(placed, str) else "")
    return {"node": node, "refusal": refusal, "holders": list(_holders(state, known, node)) if holders else []}


def _holders(state: State, known: Asked, node: str) -> Iterator[Document]:
    """Who holds what of the kinds that are asked for, the largest first."""
    kinds = {one.kind.name for one in known.asks}
    found = [
        (holding, share)
        for at, holding in state.fleet.holdings()
        if at == node
        for share in holding.shares
        if share.kind in kinds
    ]
    for holding, share in sorted(found, key=lambda one: (-one[1].memory, one[0].namespace, one[0].name))[:HOLDERS]:
        yield {"namespace": holding.namespace, "name": holding.name, **_share(state, node, share)}


def _place(state: State, node: str, shares: Sequence[Share]) -> Document:
    return {"node": node, "shares": [_share(state, node, share) for share in shares]}


def _share(state: State, node: str, share: Share) -> Document:
    return {
        "container": share.container,
        "kind": share.kind,
        "device": share.device,
        "model": _model(state, node, share),
        "memory": share.memory,
        "physical": share.physical,
        "cores": share.cores,
        "exclusive": share.exclusive,
    }


def _model(state: State, node: str, share: Share) -> str:
    """Empty: the node does not publish the device now."""
    table, row = state.tables.get((share.kind, share.splitting)), state.rows.of.get(node)
    if table is None or row is None or share.device not in table.devices[row]:
        return ""
    return str(table.models[table.model[row, table.devices[row].index(share.device)]])
