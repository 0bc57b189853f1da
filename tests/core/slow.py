"""Fit and place as the obvious loops, one number at a time: what the columns are compared with."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from attrs import define, field

from hami_core.model import ID, MODEL, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hami_core.model import Request, Selector
    from hami_core.table import NodeTable

ORDER = (
    Reason.COUNT,
    Reason.MODEL,
    Reason.ID,
    Reason.HEALTH,
    Reason.CORDON,
    Reason.SIZE,
    Reason.SLOTS,
    Reason.IN_USE,
    Reason.MEMORY,
    Reason.CORES,
)


@define
class SlowNode:
    """One node of a table as numbers, and what the pod has taken: (phase, device, slots, memory, cores) for each share."""

    table: NodeTable
    n: int
    taken: list[tuple[int, int, int, int, int]] = field(factory=list)

    def most_taken(self, w: int, phases: Sequence[int]) -> tuple[int, ...]:
        sums = [self.taken_in(w, phase) for phase in phases]
        return tuple(max(column) for column in zip((0, 0, 0), *sums, strict=True))

    def taken_in(self, w: int, phase: int) -> tuple[int, ...]:
        shares = [share[2:] for share in self.taken if share[:2] == (phase, w)]
        return tuple(sum(column) for column in zip((0, 0, 0), *shares, strict=True))

    def share(self, request: Request, w: int) -> tuple[int, int, int]:
        slots = int(self.table.slots[self.n, w]) if request.exclusive else 1
        if request.memory is not None:
            return slots, request.memory, request.cores
        return slots, max(1, int(self.table.physical[self.n, w]) * (request.percent or 0) // 100), request.cores

    def link(self, a: int, b: int) -> int:
        return int(self.table.wiring.scores[self.table.wired[self.n], a, b])

    # --- Which could ---

    def admitted(self, one: Selector, w: int) -> bool:
        if w >= len(self.table.devices[self.n]):
            return True
        model, device = self.table.models[self.table.model[self.n, w]], self.table.devices[self.n][w]
        named = device in one.words if one.by == ID else any(word.lower() in model.lower() for word in one.words)
        return named != one.out

    def passes(self, request: Request, w: int) -> dict[Reason, bool]:
        t, n = self.table, self.n
        _, memory, cores = self.share(request, w)
        slots_taken, memory_taken, cores_taken = self.most_taken(w, request.phases)
        return {
            Reason.COUNT: bool(t.present[n, w]),
            Reason.MODEL: all(self.admitted(one, w) for one in request.selectors if one.by == MODEL),
            Reason.ID: all(self.admitted(one, w) for one in request.selectors if one.by == ID),
            Reason.HEALTH: bool(t.healthy[n, w]),
            Reason.CORDON: not t.cordoned[n, w],
            Reason.SIZE: bool(t.overhead[n, w] < memory <= min(t.memory[n, w], t.physical[n, w]) and cores <= t.cores[n, w]),
            Reason.SLOTS: bool(t.slots_used[n, w] + slots_taken + 1 <= t.slots[n, w]),
            Reason.IN_USE: not request.exclusive or bool(t.slots_used[n, w] + slots_taken <= 0),
            Reason.MEMORY: bool(t.memory_used[n, w] + memory_taken + memory <= t.memory[n, w]),
            Reason.CORES: cores == 0 or bool(t.cores_used[n, w] + cores_taken + cores <= t.cores[n, w]),
        }

    def able(self, request: Request) -> tuple[Reason, list[int]]:
        """The first test that left too few, and the devices that could hold one share."""
        left, reason = list(range(self.table.shape[1])), Reason.FITS
        judged = {w: self.passes(request, w) for w in left}
        for test in ORDER:
            left = [w for w in left if judged[w][test]]
            if len(left) < request.count and not reason:
                reason = Reason.NO_DEVICE if test is Reason.COUNT and not left else test
        if request.numa_bind:
            left = [w for w in left if self.numa(w) >= 0 and len(self.together(left, w)) >= request.count]
        return reason or (Reason.FITS if len(left) >= request.count else Reason.NUMA), left

    # --- Which are taken ---

    def numa(self, w: int) -> int:
        return int(self.table.numa[self.n, w])

    def together(self, devices: Sequence[int], w: int) -> list[int]:
        return [one for one in devices if self.numa(one) == self.numa(w)]

    def fullness(self, request: Request, w: int) -> int:
        t, n, weights = self.table, self.n, request.policy.weights
        share = self.share(request, w)
        phases = sorted({phase for phase, *_ in self.taken} | set(request.phases))
        claims = [
            tuple(a + b for a, b in zip(self.taken_in(w, phase), share, strict=True))
            if phase in request.phases
            else self.taken_in(w, phase)
            for phase in phases
        ]
        slots, memory, cores = (max(column) for column in zip(*claims, strict=True))
        part = 1e9 / weights.total
        full = (
            (t.slots_used[n, w] + slots) * (1.0 / max(t.slots[n, w], 1)) * (weights.slot * part)
            + (t.memory_used[n, w] + memory) * (1.0 / max(t.memory[n, w], 1)) * (weights.memory * part)
            + (t.cores_used[n, w] + cores) * (1.0 / max(t.cores[n, w], 1)) * (weights.core * part)
        )
        return int(full)

    def topological(self, request: Request) -> bool:
        return "topology-aware" in request.policy.device and not self.table.wiring.alike[self.table.wired[self.n]]

    def wishes(self, request: Request, w: int, devices: Sequence[int], *, before: bool, after: bool) -> tuple[int, ...]:
        """What counts for one device, less is better: the words before ``numa``, those after it, or both."""
        words = list(dict.fromkeys(word for word in request.policy.device if word in ("binpack", "spread", "numa")))
        if "binpack" not in words and "spread" not in words:
            words.append("spread")
        cut = words.index("numa") if "numa" in words else len(words)
        chosen = (words[:cut] if before else []) + (words[cut:] if after else [])
        numbers = [self.fullness(request, w) * (-1 if word == "binpack" else 1) for word in chosen if word != "numa"]
        if before and "topology-aware" in request.policy.device and request.count == 1:
            numbers.insert(0, sum(self.link(w, other) for other in devices))
        if before:
            held = any(device == w and phase not in request.phases for phase, device, *_ in self.taken)
            numbers.insert(0, -int(held))
        return tuple(numbers)

    def key(self, request: Request, w: int, devices: Sequence[int], places: dict[int, int]) -> tuple[object, ...]:
        """All that counts for one device; ``places``: which NUMA node of this node is the best, the second, and so on."""
        before = self.wishes(request, w, devices, before=True, after=False)
        after = self.wishes(request, w, devices, before=False, after=True)
        place = places.get(self.numa(w), len(self.table.numa_nodes)) if "numa" in request.policy.device else 0
        return before, place, after

    def line(self, request: Request, devices: Sequence[int], places: dict[int, int]) -> list[int]:
        """Devices, the best first."""
        return sorted(devices, key=lambda w: (self.key(request, w, devices, places), w))

    def costs(self, request: Request, devices: Sequence[int], places: dict[int, int]) -> dict[int, int]:
        """0 for the best devices, 1 for the next, and so on; equals cost the same."""
        keys = {w: self.key(request, w, devices, places) for w in devices}
        different = sorted(set(keys.values()))
        return {w: different.index(key) for w, key in keys.items()}

    def places(self, request: Request, devices: Sequence[int]) -> dict[int, int]:
        """NUMA node -> its place."""
        keys = {}
        for number in self.table.numa_nodes:
            group = [w for w in devices if self.numa(w) == number]
            both = {w: self.wishes(request, w, devices, before=True, after=True) for w in group}
            chosen = sorted(group, key=lambda w: (both[w], w))[: request.count]
            merits = [sum(column) for column in zip(*(both[w] for w in chosen), strict=True)]
            if request.count > 1 and "topology-aware" in request.policy.device and len(group) >= request.count:
                merits.insert(0, -max(self.sum(some) for some in combinations(group, request.count)))
            elif request.count > 1 and "topology-aware" in request.policy.device:
                merits.insert(0, 0)
            keys[number] = (-min(len(group), request.count), merits, len(group), number)
        return {number: place for place, number in enumerate(sorted(keys, key=keys.__getitem__))}

    def sum(self, devices: Iterable[int]) -> int:
        return sum(self.link(a, b) for a, b in combinations(devices, 2))

    def choose(self, request: Request, devices: list[int], *, exact: bool) -> list[int]:
        places = self.places(request, devices)
        if request.numa_bind:
            devices = [w for w in devices if places.get(self.numa(w)) == 0]
        line = self.line(request, devices, places)
        if request.count == 1 or not self.topological(request) or len(devices) < request.count:
            return sorted(line[: request.count])
        costs = self.costs(request, devices, places) if exact else dict.fromkeys(devices, 0)
        sets = list(combinations(line if exact else devices, request.count))
        return sorted(max(sets, key=lambda some: (self.sum(some), -sum(costs[w] for w in some))))  # the first of equals

    def take(self, request: Request, w: int) -> None:
        self.taken += [(phase, w, *self.share(request, w)) for phase in request.phases]


def fit(
    requests: Sequence[Request], table: NodeTable, n: int, *, exact: bool = False
) -> tuple[Reason, list[list[bool]], list[list[int]]]:
    """The reason, which devices could hold each request, and which are chosen for it."""
    node, reason, masks, chosen = SlowNode(table, n), Reason.FITS, [], []
    for request in requests:
        failed, able = node.able(request)
        reason = reason or failed
        masks.append([w in able for w in range(table.shape[1])])
        chosen.append(node.choose(request, able, exact=exact))
        for w in chosen[-1]:
            node.take(request, w)
    return reason, masks, chosen


def place(requests: Sequence[Request], table: NodeTable, n: int) -> list[list[int]] | None:
    """The devices of each request: those that fit counted on, or better ones where these leave room for all requests."""
    reason, _, counted_on = fit(requests, table, n)
    if reason:
        return None
    failed, _, better = fit(requests, table, n, exact=True)
    return counted_on if failed else better
