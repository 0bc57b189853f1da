"""Which of the tokens that are free the kubelet should take: those of the devices that were granted, as far as that is known.

A hint, and nothing is right or wrong because of it: the kubelet names no pod, so the container that it asks for can only be
guessed among those that wait for a token. What is gained: tools that read the kubelet's books see the devices that are used.

The rule. A container gets as many tokens as it was granted devices. Of those that wait for as many as are asked for, the one
whose devices have most tokens to take is meant, of like ones the first. What is still open then, or all of it, is spread: to
the device of which the answer has the fewest tokens, of these to the one with the most free, then to the first by name; of a
device the lowest slot is taken.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core.errors import WireError
from hami_core.node import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def prefer(available: Iterable[str], must: Sequence[str], size: int, waiting: Iterable[Sequence[str]] = ()) -> list[str]:
    """So many of the available tokens, with those that must be; fewer only where there are no more. Pure.

    ``waiting``: the devices of each container that was granted some here and has no token yet; the oldest first.
    """
    answer = _Answer(list(dict.fromkeys(must))[: max(size, 0)], _by_device(set(available).difference(must)), Counter())
    answer.taken.update(_halves(text)[0] for text in answer.chosen)
    for device in _meant(waiting, answer, size):
        answer.take(device)
    while len(answer.chosen) < size and (emptiest := answer.emptiest()) is not None:
        answer.take(emptiest)
    return answer.chosen


@frozen
class _Answer:
    """An answer in the making."""

    chosen: list[str]
    free: dict[str, list[tuple[int, str]]]  # by device, with its slot
    taken: Counter[str]  # how many of a device are chosen

    def take(self, device: str) -> None:
        lowest = min(self.free[device])
        self.free[device].remove(lowest)
        self.chosen.append(lowest[1])
        self.taken[device] += 1

    def emptiest(self) -> str | None:
        """The device to which the next token is spread; None: nothing is free."""
        open_ones = (device for device, free in self.free.items() if free)
        return min(open_ones, key=lambda device: (self.taken[device], -len(self.free[device]), device), default=None)

    def open(self, devices: Sequence[str], size: int) -> list[str]:
        """Those of the devices that are not chosen yet, can be, and still have room in an answer of that size."""
        missing = (Counter(devices) - self.taken) & Counter({device: len(free) for device, free in self.free.items()})
        return list(missing.elements())[: size - len(self.chosen)]

    def matched(self, devices: Sequence[str], size: int) -> int:
        """How many tokens of such an answer would be of these devices."""
        return (self.taken & Counter(devices)).total() + len(self.open(devices, size))


def _meant(waiting: Iterable[Sequence[str]], answer: _Answer, size: int) -> list[str]:
    """The devices to take tokens of for the container that is meant, as far as can be told."""
    alike = [devices for devices in waiting if len(devices) == size]
    return answer.open(max(alike, key=lambda devices: answer.matched(devices, size)), size) if alike else []


def _by_device(free: Iterable[str]) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for text in free:
        device, slot = _halves(text)
        found.setdefault(device, []).append((slot, text))
    return found


def _halves(text: str) -> tuple[str, int]:
    """A text that is no token is a device of its own: a hint is no place to fail, for that fails the pod."""
    try:
        return tokens.halves(text)
    except WireError:
        return text, 0
