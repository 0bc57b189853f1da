"""What a CUDA context takes of a device's memory, by model: figures, where they come from, and how one is looked up.

The driver needs this much for each program that opens a device, whatever the program allocates. It depends on the chip, mostly
on its number of SMs, and on the driver: ``hami nvidia measure-context`` measures it, and a setting goes before these figures.
A figure that is too large costs a share some MiB; one that is too small lets shares that fill a card fail in their last MiB.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MEASURED: Mapping[str, int] = {  # MiB of a bare context that somebody has published, by patterns of NVML's product name
    "NVIDIA B200*": 612,  # https://github.com/unslothai/unsloth/pull/8669
    "NVIDIA RTX PRO 6000 Blackwell*": 555,  # https://github.com/ggml-org/llama.cpp/pull/23604, the Workstation Edition
}

ESTIMATED: Mapping[str, int] = {  # MiB, by the number of SMs: 2.6 to 4 MiB for each, where there is no published figure to cite
    "Tesla T4*": 103,
    "NVIDIA A100*": 411,
    "NVIDIA H100*": 527,
    "NVIDIA A30*": 240,  # A100's 3.8 MiB for each SM, 56 of them, rounded up
    "NVIDIA H200*": 527,  # the chip of H100
    "NVIDIA GH200*": 527,  # the chip of H100
    "NVIDIA L40S*": 450,  # 3.15 MiB for each SM of an RTX 4060 Ti (107 MiB, same source as RTX PRO 6000), 142 of them
    "NVIDIA GB200*": 612,  # the chip of B200
}

UNKNOWN = 512  # MiB for a model that no pattern fits: most data centre GPUs need less, and charging too much is the safe side


def memory(model: str, overrides: Mapping[str, int] | None = None) -> int:
    """MiB that one context takes on a GPU of this model, by NVML's product name, in either case of letters.

    ``overrides``: pattern -> MiB, asked before the figures above. Of several patterns that fit, the longest counts.
    """
    for figures in (overrides or {}, MEASURED, ESTIMATED):
        fitting = [pattern for pattern in figures if fnmatchcase(model.lower(), pattern.lower())]
        if fitting:
            return figures[max(fitting, key=len)]
    return UNKNOWN
