"""The kubelet's device ids: ``<device>::<slot>``, one for each task that a device may carry at a time.

A token is what the kubelet counts. Which one it picks decides nothing about the device that a container gets.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from hami_core.errors import WireError

SEPARATOR: Final = "::"
_TEXT: Final = re.compile(r"([^\s,]+)::(0|[1-9][0-9]{0,8})")


@frozen
class Token:
    """One slot of one device."""

    device: str  # Device.id
    slot: int

    def __str__(self) -> str:
        return f"{self.device}{SEPARATOR}{self.slot}"


def parse(text: str) -> Token:
    """The token of that text: each has one spelling. WireError: it is none."""
    return Token(*halves(text))


def halves(text: str) -> tuple[str, int]:
    """Device and slot of a token's text, for who reads thousands at a time. WireError: it is none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise WireError(
            "device id", repr(text), f"is no token: a device, {SEPARATOR!r} and the number of a slot would be right"
        )
    device, slot = match.groups()
    return device, int(slot)
