"""What each Xid means for the GPU that reports it: data, after NVIDIA's catalogue of Xid errors, and who overrules it.

An Xid is the driver's word for something that went wrong. Most are the fault of the program that ran; some ask for a reset; one
says that the GPU is gone. An Xid that no list names makes the GPU unhealthy, as it does for NVIDIA's own device plugin.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


class Effect(Enum):
    """What an Xid does to the health of its GPU."""

    NONE = "the program's own fault"
    CONTAINED = "contained; a few do no harm"
    SICK = "the GPU needs a reset"
    LOST = "the GPU is gone"


APPLICATION = frozenset((8, 13, 31, 43, 45, 68, 69, 109, 137))
CONTAINED = frozenset((63, 92, 94))
LOST = frozenset((79,))

WORDS: Mapping[int, str] = {
    46: "GPU stopped processing",
    48: "double-bit ECC error",
    61: "internal micro-controller breakpoint",
    62: "internal micro-controller halt",
    63: "a row of memory waits to be remapped",
    64: "a row of memory could not be remapped",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    92: "high rate of single-bit ECC errors",
    94: "contained ECC error",
    95: "uncontained ECC error",
    119: "the GPU's system processor does not answer",
    120: "error of the GPU's system processor",
    121: "error of the link to the CPU",
    136: "link training failed",
    140: "unrecovered ECC error",
    143: "initialisation failed",
    149: "NVLink error",
    154: "the driver advises another recovery",
}
"""The Xids that a person is told about in words, shortened from the catalogue."""

EVERY = ("xids", "all")


@frozen
class Rules:
    """Which Xids count. ``ignored`` None: none does."""

    ignored: frozenset[int] | None = frozenset()
    watched: frozenset[int] = frozenset()  # wins over ignored, and over what the catalogue calls harmless
    every: bool = False  # watch all, also those of programs
    nothing: bool = False  # what is no Xid does not count either, as long as the GPU answers

    def effect(self, xid: int) -> Effect:
        """What this Xid does."""
        if self.every or xid in self.watched:
            return Effect.LOST if xid in LOST else Effect.SICK
        if self.ignored is None or xid in self.ignored or xid in APPLICATION:
            return Effect.NONE
        if xid in CONTAINED:
            return Effect.CONTAINED
        return Effect.LOST if xid in LOST else Effect.SICK


def rules(disabled: str, enabled: str) -> Rules:
    """The rules that two settings make, with the meaning of NVIDIA's DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS.

    Each is "none", "xids", "all", or numbers with commas or blanks between; what is enabled wins.
    """
    return Rules(
        ignored=None if disabled in EVERY else _numbers(disabled),
        watched=_numbers(enabled),
        every=enabled in EVERY,
        nothing=disabled == "all",
    )


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(word) for word in text.replace(",", " ").split() if word.isdigit())


def words(xid: int) -> str:
    """An Xid for people."""
    return f"Xid {xid}: {WORDS[xid]}" if xid in WORDS else f"Xid {xid}"
