"""The kubelet's device ids: ``<device>::<slot>``, one for each task that a device may carry at a time.

A token is what the kubelet counts. Which one it picks decides nothing about the device that a container gets.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from hami_core.errors import WireError

SEPARATOR: Final = "::"
_TEXT: Final = re.compile(r"(?P<device>[^\s,]+)::(?P<slot>0|[1-9][0-9]{0,8})")


@frozen(order=True)
class Token:
    """One slot of one device."""

    device: str  # Device.id
    slot: int

    def __str__(self) -> str:
        return f"{self.device}{SEPARATOR}{self.slot}"


def parse(text: str) -> Token:
    """The token of that text: each has one spelling. WireError: it is none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise WireError(
            "device id", repr(text), f"is no token: a device, {SEPARATOR!r} and the number of a slot would be right"
        )
    return Token(match["device"], int(match["slot"]))
