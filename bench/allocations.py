"""A pair of an allocation and its free through the interposer, against the same program on the bare simulated driver."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hami_native
from bench.interleave import Measured, Row, ratio
from hami_core import names
from hami_mock import machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Case = tuple[str, float, int, Sequence[str]]  # subject, goal, live allocations, words of pairs.c

PAIRS, REPEATS, ROUNDS = 20_000, 21, 9
LIVE = (0, 100, 1_000, 10_000)  # allocations that stay while the pairs are timed
GOAL = 40e-9  # seconds that the interposer may add to a pair
GOAL_OF_A_POOL = 60e-9  # and to one that a memory pool serves from its reserve
MIB = 1024 * 1024


def rows() -> list[Row]:
    """Bare, interposed and the difference, for every number of live allocations; of a process its fastest repetition."""
    with tempfile.TemporaryDirectory() as folder:
        bare, interposed = environments(Path(folder))
        program = compiled(Path(folder))
        cases: list[Case] = [(f"alloc+free, {live:,} live", GOAL, live, ()) for live in LIVE]
        cases += [("alloc+free from a pool", GOAL_OF_A_POOL, 0, ("pool",))]
        return [row for case in cases for row in _rows(program, bare, interposed, case)]


def _rows(program: Path, bare: Mapping[str, str], interposed: Mapping[str, str], case: Case) -> list[Row]:
    subject, goal, live, words = case
    pairs = [(seconds(program, bare, live, *words), seconds(program, interposed, live, *words)) for _ in range(ROUNDS)]
    alone, through = (Measured(seconds) for seconds in zip(*pairs, strict=True))
    added = Measured([slower - faster for faster, slower in pairs])
    baseline = "bare simulated driver"
    return [
        Row(subject, baseline, alone),
        Row(subject, "through the interposer", through, baseline, ratio(through, alone)),
        Row(subject, "added by it", added, baseline, ratio(added, alone), goal),
    ]


def seconds(program: Path, environment: Mapping[str, str], live: int, *words: str) -> float:
    """What one pair takes beside LIVE others; `words` choose the pair (pairs.c)."""
    command = [str(program), str(PAIRS), str(REPEATS), str(live), *words]
    answer = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=True)
    return float(answer.stdout.split()[0]) * 1e-9


def compiled(folder: Path) -> Path:
    """The program that times pairs."""
    program = folder / "pairs"
    source = Path(__file__).with_name("pairs.c")
    subprocess.run([sys.executable, "-m", "ziglang", "cc", "-O2", "-o", str(program), str(source), "-ldl"], check=True)
    return program


def environments(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """That of a program on the bare machine, and that of one under a share of it."""
    installed = machine.install("t4-node", folder / "machine")
    limits = folder / names.LIMITS_FILE
    device = f"device {installed.uuids[0]} memory={3000 * MIB} physical={15360 * MIB} cores=0"
    limits.write_text(f"{names.LIMITS_HEADER}\ngrant bench/pairs\n[nvidia]\n{device}\n{names.LIMITS_END}\n")
    bare = {**os.environ, "LD_LIBRARY_PATH": str(installed.libraries)}
    return bare, {**bare, "LD_PRELOAD": str(hami_native.library()), names.ENV_LIMITS: str(limits)}
