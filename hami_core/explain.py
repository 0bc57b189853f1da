"""The words for a refusal, with its numbers. Made only for nodes that are shown; decisions carry codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from hami_core import placement
from hami_core.model import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_core.model import Kind, Mask, Request
    from hami_core.table import NodeTable, Numbers


def refusal(kind: Kind, requests: Sequence[Request], row: NodeTable) -> str:
    """Why one node (a table of one row) cannot hold these requests now: what is asked, and what the best device has.

    What the pod's own containers before have taken counts as taken. Empty if the requests fit.
    Example: 'container "train": 3000 MiB asked, 1800 free on the emptiest of 2 devices (nvidia.com/gpumem)'.
    """
    claims = placement.Claims()
    for request in requests:
        memory = placement.needed_memory(request, row)
        mask, failed = placement.candidates(request, row, claims, memory)
        reason = Reason(int(failed[0]))
        if reason is not Reason.FITS:
            return f'container "{request.container}": {_words(_refused(kind, request, row, claims), reason)}'
        claims.add(request, placement.choose(request, mask, row, claims), memory)
    return ""


@frozen(eq=False)
class _Refused:
    """The refused request, and the devices that were left before each test."""

    kind: Kind
    request: Request
    row: NodeTable
    memory: Numbers | int  # what one share needs of each device
    left: Mapping[Reason, Mask]
    tests: Mapping[Reason, Mask]
    free_memory: Numbers
    free_cores: Numbers

    def passed(self, reason: Reason) -> Mask:
        """The devices that passed this test and all before it."""
        return self.left[reason] & self.tests[reason]


def _refused(kind: Kind, request: Request, row: NodeTable, claims: placement.Claims) -> _Refused:
    memory = placement.needed_memory(request, row)
    _, claimed_memory, claimed_cores = claims.during(request.phases)
    tests = dict(zip(placement.REASONS, placement.tests(request, row, claims, memory), strict=False))
    left, before = {}, np.ones(row.shape, bool)
    for reason, passed in tests.items():
        left[reason] = before
        before = before & passed
    free_memory, free_cores = row.memory - row.memory_used, row.cores - row.cores_used
    return _Refused(kind, request, row, memory, left, tests, free_memory - claimed_memory, free_cores - claimed_cores)


def _words(refused: _Refused, reason: Reason) -> str:
    names, request, present = refused.kind.resources, refused.request, int(refused.row.present.sum())
    match reason:
        case Reason.NO_DEVICE:
            return f"there is no device of the kind {refused.kind.name} ({names.count})"
        case Reason.COUNT:
            return f"{_devices(request.count)} asked, there {_are(present)} {present} ({names.count})"
        case Reason.HEALTH:
            healthy = int((refused.row.present & refused.row.healthy).sum())
            return f"{_devices(request.count)} asked, {healthy} of {present} {_are(healthy)} healthy ({names.count})"
        case Reason.SIZE:
            return _too_small(refused, refused.left[reason])
        case Reason.SLOTS:
            return _too_few_slots(refused, refused.left[reason])
        case Reason.MEMORY:
            return _too_little_memory(refused, refused.free_memory, refused.left[reason], "free")
        case _:
            return _too_little_cores(refused, refused.free_cores, refused.left[reason], "free")


def _too_few_slots(refused: _Refused, left: Mask) -> str:
    most, free = int(refused.row.slots[left].max()), int(refused.passed(Reason.SLOTS).sum())
    more = f"{free} of {_devices(int(left.sum()))} may carry one more task, {refused.request.count} needed"
    return f"{more}; a device carries at most {most} ({refused.kind.resources.count})"


def _too_small(refused: _Refused, left: Mask) -> str:
    """SIZE is one test of three numbers: speak of the one that left too few."""
    largest = np.minimum(refused.row.memory, refused.row.physical)
    large = left & (refused.memory <= largest)
    if int(large.sum()) < refused.request.count:
        return _too_little_memory(refused, largest, left, "in all")
    useful = large & (refused.memory > refused.row.overhead)
    if int(useful.sum()) < refused.request.count:
        return _nothing_left(refused, large)
    return _too_little_cores(refused, refused.row.cores, useful, "in all")


def _nothing_left(refused: _Refused, left: Mask) -> str:
    """The driver's own need leaves nothing of the share: by the device that would do with the least more."""
    name = refused.kind.resources.memory or refused.kind.resources.count
    enough = int(np.sort(refused.row.overhead[left])[refused.request.count - 1])
    return (
        f"{_asked_memory(refused)}, the driver takes {enough} MiB of a share for each program; ask for more than that ({name})"
    )


def _too_little_memory(refused: _Refused, there: Numbers, left: Mask, how: str) -> str:
    request, names = refused.request, refused.kind.resources
    if request.memory is not None:
        best, name, unit = int(there[left].max()), names.memory, ""
    else:
        best = int((there[left] * 100 // np.maximum(refused.row.physical[left], 1)).max())
        name, unit = names.memory_percent, " %"
    enough = int((left & (there >= refused.memory)).sum())
    return f"{_asked_memory(refused)}, {_best(best, unit, how, enough, refused, left)} ({name or names.count})"


def _asked_memory(refused: _Refused) -> str:
    request = refused.request
    default = " (the default, none was given)" if "memory" in request.defaulted else ""
    asked = f"{request.memory} MiB" if request.memory is not None else f"{request.percent} % of a device's memory"
    return f"{asked} asked{default}"


def _too_little_cores(refused: _Refused, there: Numbers, left: Mask, how: str) -> str:
    request, names = refused.request, refused.kind.resources
    enough = int((left & (there >= request.cores)).sum())
    default = " (the default, none was given)" if "cores" in request.defaulted else ""
    best = _best(int(there[left].max()), " %", how, enough, refused, left)
    return f"{request.cores} % of a device's cores asked{default}, {best} ({names.cores or names.count})"


def _best(best: int, unit: str, how: str, enough: int, refused: _Refused, left: Mask) -> str:
    among = _devices(int(left.sum()))
    if refused.request.count > 1:
        return f"{enough} of {among} {'has' if enough == 1 else 'have'} that much {how}, {refused.request.count} needed"
    which = "emptiest" if how == "free" else "largest"
    return f"{max(best, 0)}{unit} {how} on the {which} of {among}"


def _devices(number: int) -> str:
    return f"{number} device" if number == 1 else f"{number} devices"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
