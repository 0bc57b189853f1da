"""The words for a refusal, with its numbers. Made only for nodes that are shown; decisions carry codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from hami_core import choice, names, numa, placement
from hami_core.model import ID, MODEL, WHOLE, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
            return f'container "{request.container}": {_SENTENCES[reason](_refused(kind, request, row, claims))}'
        claims.add(request, choice.choose(request, mask, row, claims, memory), row, memory)
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
    fitting: Mask  # passed all of them
    free_memory: Numbers
    free_cores: Numbers

    def passed(self, reason: Reason) -> Mask:
        """The devices that passed this test and all before it."""
        return self.left[reason] & self.tests[reason]


def _refused(kind: Kind, request: Request, row: NodeTable, claims: placement.Claims) -> _Refused:
    memory = placement.needed_memory(request, row)
    _, claimed_memory, claimed_cores = claims.during(request.phases)
    tests = dict(placement.tests(request, row, claims, memory))
    left, before = {}, np.ones(row.shape, bool)
    for reason, passed in tests.items():
        left[reason] = before
        before = before & passed
    free_memory, free_cores = row.memory - row.memory_used, row.cores - row.cores_used
    return _Refused(kind, request, row, memory, left, tests, before, free_memory - claimed_memory, free_cores - claimed_cores)


def _no_device(refused: _Refused) -> str:
    return f"there is no device of the kind {refused.kind.name} ({refused.kind.resources.count})"


def _too_few(refused: _Refused) -> str:
    present = int(refused.row.present.sum())
    return f"{_devices(refused.request.count)} asked, there {_are(present)} {present} ({refused.kind.resources.count})"


def _too_few_healthy(refused: _Refused) -> str:
    return f"{_share_of(refused, Reason.HEALTH)} healthy ({refused.kind.resources.count})"


def _cordoned(refused: _Refused) -> str:
    rest = f"in service, the others are cordoned ({names.DEVICE_CORDON} on the node)"
    return f"{_share_of(refused, Reason.CORDON)} {rest}"


def _share_of(refused: _Refused, reason: Reason) -> str:
    """How many of the devices that were left passed a test: '2 devices asked, 1 of 4 is'."""
    passed, left = int(refused.passed(reason).sum()), int(refused.left[reason].sum())
    return f"{_devices(refused.request.count)} asked, {passed} of {left} {_are(passed)}"


def _other_models(refused: _Refused) -> str:
    left = refused.left[Reason.MODEL]
    models = dict.fromkeys(refused.row.models[code] for code in refused.row.model[left])  # each once, in the devices' order
    return _not_selected(refused, Reason.MODEL, MODEL, f"; there {_are(len(models))} {', '.join(models)}")


def _other_ids(refused: _Refused) -> str:
    return _not_selected(refused, Reason.ID, ID, "")


_WISH = {
    (MODEL, False): "of a model with",
    (MODEL, True): "of a model without",
    (ID, False): "of the id",
    (ID, True): "other than",
}


def _not_selected(refused: _Refused, reason: Reason, by: str, there: str) -> str:
    wishes = [one for one in refused.request.selectors if one.by == by]
    words = " and ".join(f"{_WISH[by, one.out]} {' or '.join(one.words)}" for one in wishes)
    passed, left = int(refused.passed(reason).sum()), int(refused.left[reason].sum())
    asked = f"{_devices(refused.request.count)} {words} asked, {passed} of {left} {_are(passed)} such{there}"
    return f"{asked} ({', '.join(one.key for one in wishes)})"


def _in_use(refused: _Refused) -> str:
    request, resources = refused.request, refused.kind.resources
    if request.cores >= WHOLE:
        key = f"{resources.cores or resources.count}: {request.cores} % of the cores mean the whole device"
    else:
        key = f"{names.DEVICE_POLICY}: mutex"
    free, left = int(refused.passed(Reason.IN_USE).sum()), int(refused.left[Reason.IN_USE].sum())
    return f"{_devices(request.count)} that nobody uses asked, {free} of {left} {_are(free)} idle ({key})"


def _apart(refused: _Refused) -> str:
    request, fitting = refused.request, refused.fitting
    unknown = int((fitting & (refused.row.numa < 0)).sum())
    most = int(numa.most(fitting, refused.row)[0])
    known = f", {unknown} on none that is known" if unknown else ""
    room = f"of {int(fitting.sum())} with room at most {most} {_are(most)} on the same{known}"
    return f"{_devices(request.count)} on one NUMA node asked, {room} ({request.numa_bind})"


def _too_few_slots(refused: _Refused) -> str:
    left = refused.left[Reason.SLOTS]
    most, free = int(refused.row.slots[left].max()), int(refused.passed(Reason.SLOTS).sum())
    more = f"{free} of {_devices(int(left.sum()))} may carry one more task, {refused.request.count} needed"
    return f"{more}; a device carries at most {most}, or one that has it for itself ({refused.kind.resources.count})"


def _too_small(refused: _Refused) -> str:
    """SIZE is one test of three numbers: speak of the one that left too few."""
    left, largest = refused.left[Reason.SIZE], refused.row.largest
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


def _too_little_memory_free(refused: _Refused) -> str:
    return _too_little_memory(refused, refused.free_memory, refused.left[Reason.MEMORY], "free")


def _too_little_cores_free(refused: _Refused) -> str:
    return _too_little_cores(refused, refused.free_cores, refused.left[Reason.CORES], "free")


def _too_little_memory(refused: _Refused, there: Numbers, left: Mask, how: str) -> str:
    request, resources = refused.request, refused.kind.resources
    if request.memory is not None:
        best, name, unit = int(there[left].max()), resources.memory, ""
    else:
        best = int((there[left] * 100 // np.maximum(refused.row.physical[left], 1)).max())
        name, unit = resources.memory_percent, " %"
    enough = int((left & (there >= refused.memory)).sum())
    return f"{_asked_memory(refused)}, {_best(best, unit, how, enough, refused, left)} ({name or resources.count})"


def _asked_memory(refused: _Refused) -> str:
    request = refused.request
    default = " (the default, none was given)" if "memory" in request.defaulted else ""
    asked = f"{request.memory} MiB" if request.memory is not None else f"{request.percent} % of a device's memory"
    return f"{asked} asked{default}"


def _too_little_cores(refused: _Refused, there: Numbers, left: Mask, how: str) -> str:
    request, resources = refused.request, refused.kind.resources
    enough = int((left & (there >= request.cores)).sum())
    default = " (the default, none was given)" if "cores" in request.defaulted else ""
    best = _best(int(there[left].max()), " %", how, enough, refused, left)
    return f"{request.cores} % of a device's cores asked{default}, {best} ({resources.cores or resources.count})"


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


_SENTENCES: Mapping[Reason, Callable[[_Refused], str]] = {
    Reason.NO_DEVICE: _no_device,
    Reason.COUNT: _too_few,
    Reason.MODEL: _other_models,
    Reason.ID: _other_ids,
    Reason.HEALTH: _too_few_healthy,
    Reason.CORDON: _cordoned,
    Reason.SIZE: _too_small,
    Reason.SLOTS: _too_few_slots,
    Reason.IN_USE: _in_use,
    Reason.MEMORY: _too_little_memory_free,
    Reason.CORES: _too_little_cores_free,
    Reason.NUMA: _apart,
}
