"""What one answer of a plugin must be like: assertions in sentences for its author. Which question it answers is not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hami_core import selection, table
from hami_core.model import Grant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Capacity, Fit, Kind, Request, Share, Splitting
    from hami_core.table import NodeTable


def capacity(found: Capacity, splitting: Splitting) -> None:
    """One answer of hami_split: something to hand out, and no undeclared column."""
    assert found.slots >= 1, f"hami_split: {found.device} has {found.slots} slots, at least 1 is needed"
    assert found.memory >= 1, f"hami_split: {found.device} offers {found.memory} MiB, at least 1 is needed"
    assert found.physical >= 1, f"hami_split: {found.device} has {found.physical} MiB of metal, at least 1 is needed"
    assert 0 <= found.cores <= 100, f"hami_split: {found.device} offers {found.cores} % of its cores, not 0 to 100"
    unknown = {name for name, _ in found.extra} - {name for name, _ in splitting.columns}
    assert not unknown, f"hami_split: {found.device} has the columns {unknown}, which the splitting does not declare"


def placed(found: Sequence[Share], requests: Sequence[Request], splitting: Splitting, row: NodeTable) -> None:
    """An answer of hami_place: what was asked, on different devices of the node, within what is free."""
    told = [(share.container, share.kind, share.splitting) for share in found]
    wanted = [(one.container, one.kind, splitting.name) for one in requests for _ in range(one.count)]
    assert told == wanted, f"hami_place gives shares of (container, kind, splitting) {told}, not {wanted}"
    for one in requests:
        devices = [share.device for share in found if share.container == one.container]
        assert len(set(devices)) == one.count, f"hami_place must give {one.count} different devices, not {devices}"
        told_of = [(share.phases, share.exclusive) for share in found if share.container == one.container]
        changed = [one_told for one_told in told_of if one_told != (one.phases, one.exclusive)]
        asked = f"{(one.phases, one.exclusive)}"
        assert not changed, f"hami_place gives a share of (phases, exclusive) {changed[0]}, not its request's {asked}"
    strangers = {share.device for share in found} - set(row.devices[0])
    assert not strangers, f"hami_place gives {strangers}, no devices of the node"
    for one in requests:
        _wishes(one, [row.devices[0].index(share.device) for share in found if share.container == one.container], row)
    for w, device in enumerate(row.devices[0]):
        _room([share for share in found if share.device == device], row, w)


def _wishes(request: Request, chosen: Sequence[int], row: NodeTable) -> None:
    """What the pod wished of its devices beside numbers; whoever decides by himself must honour it."""
    for selector in request.selectors:
        admitted = selection.admitted(selector, row)[0]
        wrong = [row.devices[0][w] for w in chosen if not admitted[w]]
        assert not wrong, f"hami_place gives {wrong[0]}, which {selector.key} ({selector.by}) does not admit"
    out = [row.devices[0][w] for w in chosen if row.cordoned[0, w] or not row.healthy[0, w]]
    assert not out, f"hami_place gives {out[0]}, which is sick or cordoned"
    nodes = {int(row.numa[0, w]) for w in chosen}
    bound = not request.numa_bind or (len(nodes) == 1 and min(nodes) >= 0)
    assert bound, f"hami_place gives devices of the NUMA nodes {sorted(nodes)}, {request.numa_bind} asks for one that is known"
    used = [row.devices[0][w] for w in chosen if request.exclusive and row.slots_used[0, w]]
    assert not used, f"hami_place gives {used[0]}, which is in use, to a request that wants it for itself"


def _room(shares: Sequence[Share], row: NodeTable, w: int) -> None:
    for phase in {phase for share in shares for phase in share.phases}:
        here = [share for share in shares if phase in share.phases]
        alone = len(here) == 1 or not any(share.exclusive for share in here)
        assert alone, "hami_place gives a device to two containers at a time of which one wants it for itself"
        for name, asked in (
            ("slots", len(here)),
            ("memory", sum(share.memory for share in here)),
            ("cores", sum(share.cores for share in here)),
        ):
            free = int(getattr(row, name)[0, w] - getattr(row, f"{name}_used")[0, w])
            assert asked <= free, f"hami_place takes {asked} of a device's {name} where {free} are free"


def judged(fit: Fit, n: int | None = None) -> tuple[object, ...]:
    """What a Fit says of all nodes, or of one, as plain values."""
    rows = slice(None) if n is None else slice(n, n + 1)
    return fit.nodes[rows].tolist(), fit.reasons[rows].tolist(), fit.devices[:, rows].tolist()


def copied(columns: NodeTable) -> tuple[object, ...]:
    """All that a table says, as plain values: equal before and after, if nobody wrote."""
    names = ("wired", "present", "healthy", "cordoned", "model", "numa", *table.TOTALS, *table.USED)
    extra = {name: column.tolist() for name, column in columns.extra.items()}
    texts = (columns.nodes, columns.devices, columns.models, columns.numa_nodes, columns.wiring.scores.tolist())
    return (*texts, extra, *(getattr(columns, name).tolist() for name in names))


def grant(found: object, kind: Kind, shares: Sequence[Share], others: set[str]) -> None:
    """An answer of hami_grant: for this container and kind, and of no device but its shares'."""
    assert isinstance(found, Grant), f"hami_grant gives a {type(found).__name__}, not a Grant"
    told = (found.container, found.kind)
    wanted = (shares[0].container, kind.name)
    assert told == wanted, f"hami_grant is for (container, kind) {told}, not {wanted}"
    assert found.visible not in ("", kind.hidden, "all"), f"hami_grant must show the shares' devices, not {found.visible!r}"
    named = others.intersection(found.visible.split(","))
    assert not named, f"hami_grant shows {named}, which the container has no share of"
    lines = [line.split() for line in found.section.splitlines()]
    in_section = others.intersection(word for words in lines if words[0] == "device" for word in words[1:2])
    assert not in_section, f"hami_grant's section names {in_section}, which the container has no share of"
