"""Random acts on all that allocates, in one program: what is held is never more than is charged, nor that than the limit.

python -S acts.py SEED COUNT LIMIT      prints null, or at which act what was wrong
"""

import ctypes
import os
import random
import struct
import sys
from pathlib import Path
from typing import Any

from tests.native.client import MIB, U64, say
from tests.native.reserves import AUTO_FREE, THRESHOLD, Reserves

REGION = Path(os.environ["HAMI_LIMITS"]).with_name("pod_main")
USED_OF_FIRST_DEVICE = 512 + 128  # in a region


class Player(Reserves):
    def __init__(self, seed: int, limit: int) -> None:
        super().__init__()
        self.luck, self.limit = random.Random(seed), limit
        assert self.start() == 0
        self.held: list[tuple[str, Any]] = []  # what there is, by who ends it

    def size(self) -> int:
        return self.luck.choice([1, 512, 4096, MIB, 8 * MIB, 31 * MIB, 32 * MIB, 33 * MIB, self.luck.randrange(1, 64 * MIB)])

    def books(self) -> tuple[int, int]:
        """What the driver holds of the device, and what is charged for it: read beside the interposer."""
        with Path(os.environ["STUB_STATE"]).open("rb") as file:
            held = struct.unpack("4Q", file.read(32))[1]
        with REGION.open("rb") as file:
            file.seek(USED_OF_FIRST_DEVICE)
            return held, struct.unpack("Q", file.read(8))[0]

    def note(self, kind: str, made: tuple[int, Any]) -> None:
        assert made[0] in (0, 2), (kind, made[0])
        if made[0] == 0:
            self.held.append((kind, made[1]))

    def begin(self) -> None:
        acts = [self.linear, self.arrays, self.pools, self.of_a_pool, self.launch_one, self.capture_one]
        self.luck.choice([self.pooled, self.pooled, *acts])()

    def linear(self) -> None:
        self.note("linear", self.allocate(self.size()))

    def pooled(self) -> None:
        self.note("pooled", self.take(self.size()))

    def of_a_pool(self) -> None:
        pools = [thing for kind, thing in self.held if kind == "pool"]
        if pools:
            self.note("pooled", self.take(self.size(), self.luck.choice(pools)))

    def arrays(self) -> None:
        self.note("array", self.array(512, self.luck.randrange(1, 70_000), self.luck.choice([0, 1, 3])))

    def pools(self) -> None:
        code, pool = self.pool()
        self.note("pool", (code, pool))
        if code == 0 and self.luck.random() < 0.5:
            self.library.cuMemPoolSetAttribute(pool, THRESHOLD, ctypes.byref(U64(2**40)))

    def launch_one(self) -> None:
        leaves = self.luck.random() < 0.5
        graph = self.graph()
        _, pointer = self.allocates(graph, self.size())
        if not leaves:
            self.frees(graph, pointer)
        code, made = self.instantiate(graph, self.luck.choice([0, AUTO_FREE]))
        if code == 0:
            code = self.launch(made)
            if code == 0 and leaves:
                self.held.append(("linear", pointer))
            self.held.append(("exec", made))
        assert code in (0, 2), code

    def capture_one(self) -> None:
        stream, graph = ctypes.c_void_p(0x5001), ctypes.c_void_p()
        self.library.cuStreamBeginCapture_v2(stream, 0)
        _, pointer = self.take(self.size(), stream=stream)
        self.give(pointer, stream)
        self.library.cuStreamEndCapture(stream, ctypes.byref(graph))
        code, made = self.instantiate(graph)
        if code == 0:
            self.held.append(("exec", made))
            code = self.launch(made)
        assert code in (0, 2), code

    def end(self, number: int) -> None:
        kind, thing = self.held.pop(number)
        if kind in ("linear", "pooled"):
            code = self.free(thing) if self.luck.random() < 0.3 else self.give(thing)
        elif kind == "array":
            code = self.library.cuArrayDestroy(thing)
        elif kind == "exec":
            code = self.library.cuGraphExecDestroy(thing)
        else:
            code = self.library.cuMemPoolDestroy(thing)
        assert code == 0, (kind, code)

    def tidy(self) -> None:
        act = self.luck.choice(["synchronise", "trim", "trim graphs", "ask"])
        if act == "synchronise":
            self.synchronise()
        elif act == "trim":
            self.library.cuMemPoolTrimTo(self.default_pool(), self.luck.choice([0, 32 * MIB]))
        elif act == "trim graphs":
            self.library.cuDeviceGraphMemTrim(self.device(0))
        else:
            self.memory()

    def act(self) -> None:
        dice = self.luck.random()
        if dice < 0.5:
            self.begin()
        elif dice < 0.85 and self.held:
            self.end(self.luck.randrange(len(self.held)))
        else:
            self.tidy()


def main(seed: int, count: int, limit: int) -> Any:
    player = Player(seed, limit)
    player.memory()
    for number in range(count):
        player.act()
        held, charged = player.books()
        if not held <= charged <= limit:
            return number, held, charged
    while player.held:
        player.end(len(player.held) - 1)
    player.synchronise()
    player.library.cuDeviceGraphMemTrim(player.device(0))
    player.memory()
    held, charged = player.books()
    return None if (held, charged) == (0, 0) else ("at the end", held, charged)


say(main(*map(int, sys.argv[1:])))
