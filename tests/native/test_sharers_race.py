"""Processes that are killed while they share virtual memory."""

from __future__ import annotations

import pytest

from tests.native.harness import LIMIT, MIB, Frame

GRANULE = 2 * MIB
ALL = LIMIT // GRANULE


# A creator shares one allocation after the other, two others open what they are sent and close it. One of them is killed at
# any moment, and begun again. Now and then all pause between two acts: what is charged is never less than what is held. When
# all are gone all is there. What only a descriptor on its way holds is charged while its creator lives: so where they share by
# descriptors the creator does not die. What is imported just after its creator has died, while the driver still has it, is
# charged when it is mapped: so where the creator dies all is mapped.
SHARERS = """
import mmap, random, time
from client_virtual import *
luck, by = random.Random({seed}), {by!r}
marks = mmap.mmap(-1, 4096)  # 0: pause; then one for each process: it does
def rest(me):
    marks[me] = 0
    while os.getppid() and marks[0]:
        marks[me] = 1; os.sched_yield()
    marks[me] = 0
def create_and_share(peer, me):
    c = Virtual().begin(); kept = []
    while True:
        rest(me); h = c.create(1 + luck.randrange(8))[1]
        if not h: continue
        kept.append((h, c.mapped(1, h)))
        fd = c.export(h) if by == 'fd' else -1
        rest(me); marks[me] = 1
        peer.send(b'fd', fd) if by == 'fd' else peer.send(c.export_fabric(h))
        rest(me)
        if by == 'fd': os.close(fd)
        while len(kept) > luck.randrange(6): old, p = kept.pop(0); c.release(old); c.unmap(p, 1)
def open_and_close(peer, me):
    c = Virtual().begin(); kept = []
    while True:
        marks[me] = 1; data, descriptors, _, _ = socket.recv_fds(peer.end, 1024, 1); rest(me)
        code, h = c.adopt(descriptors[0] if descriptors else data)
        if descriptors: os.close(descriptors[0])
        mapped = c.mapped(1, h) if code == 0 and (by == 'fabric' or luck.randrange(4)) else 0
        if code == 0 and (mapped or by == 'fd'): kept.append((h, mapped))
        elif code == 0: c.release(h)
        rest(me)
        while len(kept) > luck.randrange(4):
            old, p = kept.pop(0)
            if p: c.unmap(p, 1)
            c.release(old)
def start(number):
    marks[number + 1] = 0
    if (pid := os.fork()) == 0: luck.seed(luck.random() + os.getpid()); works[number](number + 1); os._exit(0)
    return pid
c = Virtual(); ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sharer, opener = lambda me: create_and_share(Peer(ours), me), lambda me: open_and_close(Peer(theirs), me)
works = [sharer, opener, opener]
pids = [start(number) for number in range(3)]
c.begin(); most = 0
for turn in range({kills}):
    number = luck.randrange(1 if by == 'fd' else 0, 3)
    time.sleep(luck.random() * 0.02)  # the random moment, not a wait for anything
    kill(pids[number]); code, h = c.create({all} - 1); code or c.release(h)
    pids[number] = start(number)
    marks[0] = 1
    while bytes(marks[1:4]) != b'\\1\\1\\1': os.sched_yield()
    charged, held = c.both(); most = max(most, held)
    if charged < held: say('less is charged than is held', turn, charged, held)
    marks[0] = 0
[kill(pid) for pid in pids]; ours.close(); theirs.close()
say(most > 8, c.create({all})[0], c.both())
"""


def check_sharers(frame: Frame, by: str, kills: int, seed: int) -> None:
    outcome = frame.python(SHARERS.format(by=by, kills=kills, seed=seed, all=ALL))

    assert (outcome.status, outcome.said, outcome.errors) == (0, [[True, 0, [ALL, ALL]]], "")


@pytest.mark.slow
@pytest.mark.parametrize("by", ["fd", "fabric"])
def test_processes_that_share_are_killed_at_any_moment_and_nothing_is_held_uncharged(frame: Frame, by: str) -> None:
    check_sharers(frame, by, 25, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("by", ["fd", "fabric"])
def test_hundreds_of_sharers_killed(frame: Frame, by: str) -> None:
    check_sharers(frame, by, 300, seed=2)
