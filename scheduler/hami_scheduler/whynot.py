"""Why no node can hold a pod, in one sentence with the numbers that matter.

    0/12 nodes: 7 lack a device with 40000 MiB free (largest 22528; nvidia.com/gpumem), 3 cordoned, 2 of type Tesla T4, not A100

Made of the arrays of a judgement, never node by node. The same cluster gives the same sentence, so that whoever repeats it to
people can tell news by its text. How one node in particular falls short, ``hami_core.explain`` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from hami_core import choice, decision, names, numa, placement
from hami_core.model import ID, MODEL, WHOLE, Reason
from hami_core.table import count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from hami_core.decision import Ask, Part, Tables, Verdict
    from hami_core.model import Kind, Mask, Request, Resources
    from hami_core.table import NodeTable, Numbers

    Rows = NDArray[np.intp]

LONGEST = 250
NO_OTHERS: Mapping[str, int] = {}
_KIND = 1000  # a code is so many times the number of the Ask, plus its reason


def _codes(verdicts: Sequence[Verdict], rows: Rows) -> NDArray[np.int64]:
    """For each of these nodes what refuses it: the first of the pod's kinds that does, with its reason. 0: it fits."""
    found = np.zeros(len(rows), np.int64)
    for number, verdict in enumerate(verdicts):
        here = (found == 0) & ~verdict.nodes[rows]
        found[here] = number * _KIND + verdict.reasons[rows][here].astype(np.int64)
    return found


def sentence(
    asks: Sequence[Ask], verdicts: Sequence[Verdict], tables: Tables, rows: Rows, others: Mapping[str, int] = NO_OTHERS
) -> str:
    """Why these nodes cannot hold a pod, and ``others`` (words -> number) for another reason. The commonest comes first.

    As long as three judgements, so it is for pods that fit nowhere.
    """
    found = _codes(verdicts, rows)
    walks = _Walks(asks, verdicts, tables)
    counted = [
        (int(number), -(code // _KIND), code % _KIND, walks.words(code, rows[found == code]))
        for code, number in ((code, number) for code, number in enumerate(np.bincount(found).tolist()) if code and number)
    ]
    fitting = len(rows) - sum(one[0] for one in counted)
    counted += [(number, -len(asks), 0, words) for words, number in others.items()]
    ordered = [(number, words) for number, _, _, words in sorted(counted, reverse=True)]
    return _fitted(f"{fitting}/{len(rows) + sum(others.values())} nodes", ordered)


def _fitted(begin: str, counted: Sequence[tuple[int, str]]) -> str:
    """As many of the parts as there is room for; the others are a number."""
    parts = [f"{number} {words}" for number, words in counted]
    for kept in range(len(parts), 0, -1):
        rest = sum(number for number, _ in counted[kept:])
        text = f"{begin}: {', '.join([*parts[:kept], *([f'{rest} for other reasons'] if rest else [])])}"
        if len(text) <= LONGEST:
            return text
    return f"{begin}: {parts[0]}"[:LONGEST] if parts else f"{begin}: none was offered"


# --- Numbers. ---


@frozen(eq=False)
class _Walk:
    """The tests that one request went through, over the whole table: what was left before each, and what passed it."""

    kind: Kind
    request: Request
    several: bool  # whether it is one of several of the pod
    table: NodeTable
    memory: Numbers | int  # what one share needs of each device
    claimed: tuple[Numbers | int, Numbers | int, Numbers | int]  # by the pod's own requests before: slots, memory, cores
    steps: Mapping[Reason, tuple[Mask, Mask]]

    def free_memory(self) -> Numbers:
        """MiB that are left on each device."""
        return self.table.memory - self.table.memory_used - self.claimed[1]

    def free_cores(self) -> Numbers:
        """Percent that are left."""
        return self.table.cores - self.table.cores_used - self.claimed[2]


@frozen(eq=False)
class _Group:
    """Nodes that are refused for one reason. Masks (N, W) are of their devices alone."""

    walk: _Walk
    nodes: int
    left: Mask  # devices that passed every test before
    passed: Mask  # and this one

    @property
    def request(self) -> Request:
        """What they refuse."""
        return self.walk.request

    @property
    def resources(self) -> Resources:
        """The names for it."""
        return self.walk.kind.resources

    def has(self) -> str:
        """The verb for so many nodes."""
        return "has" if self.nodes == 1 else "have"

    def lacks(self) -> str:
        """The same, of what is not there."""
        return "lacks" if self.nodes == 1 else "lack"

    def devices(self) -> str:
        """What each of the nodes would need."""
        return "a device" if self.request.count == 1 else f"{self.request.count} devices"

    def most(self) -> int:
        """The most devices that would do on any of the nodes."""
        return int(count(self.passed).max())


class _Walks:
    """The walks of one judgement, each made once: many nodes are refused by the same request."""

    def __init__(self, asks: Sequence[Ask], verdicts: Sequence[Verdict], tables: Tables) -> None:
        self._asks, self._verdicts, self._tables = asks, verdicts, tables
        self._made: dict[tuple[int, str, str], _Walk] = {}

    def words(self, code: int, rows: Rows) -> str:
        """Why the nodes with this code refuse."""
        asked, verdict, reason = self._asks[code // _KIND], self._verdicts[code // _KIND], Reason(code % _KIND)
        part = decision.refused(asked, verdict, int(rows[0]))
        walk = self._walk(code // _KIND, part, _devices(asked, verdict, part), rows)
        if reason not in walk.steps:  # a plugin's own fit has reasons of its own
            return f"{'does' if len(rows) == 1 else 'do'} not fit ({asked.kind.resources.count})"
        here = np.zeros((walk.table.shape[0], 1), bool)
        here[rows] = True
        left, passed = walk.steps[reason]
        whom = f' for "{walk.request.container}"' if walk.several else ""
        return f"{_WORDS[reason](_Group(walk, len(rows), left & here, passed & here))}{whom}"

    def _walk(self, number: int, part: Part, devices: NDArray[np.bool_], rows: Rows) -> _Walk:
        splitting, requests = part
        kind = self._asks[number].kind
        refused = _refused(requests, devices, rows)
        key = number, splitting.name, requests[refused].container
        if key not in self._made:
            self._made[key] = _walked(kind, requests, refused, devices, self._tables[kind.name, splitting.name])
        return self._made[key]


def _devices(asked: Ask, verdict: Verdict, part: Part) -> NDArray[np.bool_]:
    """Which devices could hold each request of a part, (R, N, W)."""
    ways = zip(asked.ways, verdict.fits, strict=True)
    return next(fit.devices for way, fits in ways for one, fit in zip(way, fits, strict=True) if one == part)


def _refused(requests: Sequence[Request], devices: NDArray[np.bool_], rows: Rows) -> int:
    """Which of the requests most of these nodes refuse: the first without devices enough."""
    if len(requests) == 1:
        return 0
    enough = np.array([count(devices[r])[rows] >= request.count for r, request in enumerate(requests)])
    first = np.where(enough.all(axis=0), len(requests) - 1, np.argmin(enough, axis=0))
    return int(np.bincount(first).argmax())


def _walked(kind: Kind, requests: Sequence[Request], number: int, devices: NDArray[np.bool_], table: NodeTable) -> _Walk:
    request, claims = requests[number], placement.Claims()
    for r, before in enumerate(requests[:number]):  # what the pod's own requests before have taken
        memory = placement.needed_memory(before, table)
        claims.add(before, choice.choose(before, devices[r], table, claims, memory), table, memory)
    memory = placement.needed_memory(request, table)
    steps, left = {}, np.ones(table.shape, bool, order="F")
    for reason, mask in placement.tests(request, table, claims, memory):
        steps[reason] = left, left & mask
        left = steps[reason][1]
    steps[Reason.NO_DEVICE] = steps[Reason.COUNT]
    if request.numa_bind:
        steps[Reason.NUMA] = left, numa.bound(left, table, request.count)
    return _Walk(kind, request, len(requests) > 1, table, memory, claims.during(request.phases), steps)


# --- Words. ---


def _no_device(group: _Group) -> str:
    return f"{group.has()} no device ({group.resources.count})"


def _too_few(group: _Group) -> str:
    return f"{group.lacks()} {group.devices()} (at most {group.most()}; {group.resources.count})"


def _unhealthy(group: _Group) -> str:
    return f"{group.lacks()} {_enough(group, 'healthy device', 'healthy devices')}"


def _cordoned(group: _Group) -> str:
    return "cordoned" if group.most() == 0 else f"{group.lacks()} {_enough(group, '', 'devices that are not cordoned')}"


def _enough(group: _Group, one: str, several: str) -> str:
    return f"a {one}" if group.request.count == 1 else f"{group.request.count} {several} (at most {group.most()})"


def _other_models(group: _Group) -> str:
    wanted = " or ".join(word for one in group.request.selectors if one.by == MODEL and not one.out for word in one.words)
    if group.most():
        type_ = f"of type {wanted}" if wanted else "of the types asked for"
        return f"{group.lacks()} {group.devices()} {type_} (at most {group.most()})"
    found = sorted({group.walk.table.models[code] for code in np.unique(group.walk.table.model[group.left])})
    more = f" and {len(found) - 2} others" if len(found) > 2 else ""
    types = f"of type {' or '.join(found[:2])}{more}"
    return f"{types}, not {wanted}" if wanted else f"{types}, ruled out by {_keys(group, MODEL)}"


def _other_ids(group: _Group) -> str:
    return f"{group.lacks()} {group.devices()} of the ids asked for ({_keys(group, ID)})"


def _keys(group: _Group, by: str) -> str:
    return ", ".join(one.key for one in group.request.selectors if one.by == by)


def _too_small(group: _Group) -> str:
    """SIZE is one test of three numbers: speak of the one that left too few."""
    table = group.walk.table
    large = group.left & (table.largest >= group.walk.memory)
    if int(count(large).max()) < group.request.count:
        return _memory(group, table.largest, "in all")
    if int(count(large & (group.walk.memory > table.overhead)).max()) < group.request.count:
        need = int(table.overhead[large].min())
        return f"{group.has()} a driver that takes {need} MiB of each share ({_memory_name(group)})"
    return _compute(group, table.cores, "in all")


def _memory_free(group: _Group) -> str:
    return _memory(group, group.walk.free_memory(), "free")


def _memory(group: _Group, there: Numbers, how: str) -> str:
    request = group.request
    if request.memory is not None:
        asked, most = f"{request.memory} MiB", f"largest {_best(group, there)}"
    else:
        asked = f"{request.percent} % of its memory"
        most = f"most {_best(group, there * 100 // np.maximum(group.walk.table.physical, 1))} %"
    default = ", the default," if "memory" in request.defaulted else ""
    return f"{group.lacks()} {group.devices()} with {asked}{default} {how} ({_at_most(group, most)}; {_memory_name(group)})"


def _memory_name(group: _Group) -> str:
    name = group.resources.memory if group.request.memory is not None else group.resources.memory_percent
    return name or group.resources.count


def _cores_free(group: _Group) -> str:
    return _compute(group, group.walk.free_cores(), "free")


def _compute(group: _Group, there: Numbers, how: str) -> str:
    request, resources = group.request, group.resources
    default = ", the default," if "cores" in request.defaulted else ""
    asked = f"{request.cores} % of compute{default} {how}"
    most = _at_most(group, f"most {_best(group, there)} %")
    return f"{group.lacks()} {group.devices()} with {asked} ({most}; {resources.cores or resources.count})"


def _best(group: _Group, there: Numbers) -> int:
    """The best of the devices that were left."""
    return int((there * group.left).max(initial=0))


def _at_most(group: _Group, best: str) -> str:
    return best if group.request.count == 1 else f"at most {group.most()}"


def _no_slot(group: _Group) -> str:
    return f"{group.lacks()} {group.devices()} that may carry one more task ({group.resources.count})"


def _in_use(group: _Group) -> str:
    resources = group.resources
    key = resources.cores or resources.count if group.request.cores >= WHOLE else names.DEVICE_POLICY
    return f"{group.lacks()} {_enough(group, 'device that nobody uses', 'devices that nobody uses')} ({key})"


def _apart(group: _Group) -> str:
    places = [count(group.left & (group.walk.table.numa == number)).max() for number in group.walk.table.numa_nodes]
    most = int(max(places, default=0))
    return f"{group.lacks()} {group.devices()} on one NUMA node (at most {most}; {group.request.numa_bind})"


_WORDS: Mapping[Reason, Callable[[_Group], str]] = {
    Reason.NO_DEVICE: _no_device,
    Reason.COUNT: _too_few,
    Reason.MODEL: _other_models,
    Reason.ID: _other_ids,
    Reason.HEALTH: _unhealthy,
    Reason.CORDON: _cordoned,
    Reason.SIZE: _too_small,
    Reason.SLOTS: _no_slot,
    Reason.IN_USE: _in_use,
    Reason.MEMORY: _memory_free,
    Reason.CORES: _cores_free,
    Reason.NUMA: _apart,
}
