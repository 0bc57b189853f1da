"""Virtual memory management under a limit: charged once, given back with the last reference and the last mapping."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_native import Region
from tests.native.harness import LIMIT, MIB, Frame, Outcome, device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

OOM, INVALID_VALUE, INVALID_DEVICE = 2, 1, 101
GRANULE = 2 * MIB
ALL = LIMIT // GRANULE
START = "from client_virtual import *\nc = Virtual().begin()\n"


def run(frame: Frame, program: str) -> Outcome:
    outcome = frame.python(START + program)
    assert outcome.status == 0, outcome.errors
    return outcome


def test_the_share_can_be_filled_by_handles_and_not_beyond(frame: Frame) -> None:
    outcome = run(frame, f"say(c.create({ALL} + 1)[0], c.create({ALL})[0], c.create(1)[0], c.code(1), c.both())")

    assert outcome.said == [[OOM, 0, OOM, OOM, [ALL, ALL]]]


def test_what_is_reserved_or_granted_access_to_costs_nothing(frame: Frame) -> None:
    outcome = run(frame, f"p = c.reserve({ALL} * 4); c.library.cuMemSetAccess(U64(p), U64(0), None, U64(0)); say(c.both())")

    assert outcome.said == [[0, 0]]


def test_memory_is_given_back_with_its_last_hold_in_whatever_order_they_go(frame: Frame) -> None:
    """The handle, a second reference to it, and two mappings."""
    outcome = run(
        frame,
        "def hold():\n"
        "    h = c.create(3)[1]; p, q = c.mapped(3, h), c.mapped(2, h); again = c.retain(q + GRANULE + 5)[1]\n"
        "    return [lambda: c.release(h), lambda: c.release(again), lambda: c.unmap(p, 3), lambda: c.unmap(q, 2)]\n"
        "for number in range(24):\n"
        "    seen = []\n"
        "    for drop in orders(hold())[number]: seen += [drop(), *c.both()]\n"
        "    say(seen)",
    )

    assert outcome.said == [[0, 3, 3, 0, 3, 3, 0, 3, 3, 0, 0, 0]] * 24


def test_each_mapping_holds_and_several_can_go_at_once(frame: Frame) -> None:
    outcome = run(
        frame,
        "p = c.reserve(6); made = [c.create(n)[1] for n in (1, 2, 3)]\n"
        "codes = [c.map(p + at * GRANULE, n, h) for at, n, h in zip((0, 1, 3), (1, 2, 3), made)]\n"
        "codes += [c.release(h) for h in made]; say(codes, c.both())\n"
        "say(c.unmap(p, 3), c.both()); say(c.unmap(p + 3 * GRANULE, 3), c.both())",
    )

    assert outcome.said == [[[0] * 6, [6, 6]], [0, [3, 3]], [0, [0, 0]]]


def test_a_part_of_a_mapping_is_not_unmapped_and_stays_charged(frame: Frame) -> None:
    outcome = run(
        frame,
        "p = c.reserve(8); h = c.create(4)[1]; c.map(p, 4, h); c.release(h)\n"
        "say([c.unmap(p, 2), c.unmap(p + 2 * GRANULE, 2), c.unmap(p, 8), c.unmap(p + 4 * GRANULE, 1)], c.both())\n"
        "say(c.unmap(p, 4), c.both())",
    )

    assert outcome.said == [[[INVALID_VALUE] * 4, [4, 4]], [0, [0, 0]]]


def test_a_handle_that_is_given_out_again_stands_for_the_new_memory(frame: Frame) -> None:
    outcome = run(
        frame,
        "seen = set()\n"
        "for n in range(1, 9):\n"
        "    h = c.create(n)[1]; seen.add(h); p = c.mapped(n, h); c.release(h); c.unmap(p, n)\n"
        "say(len(seen), c.both())",
    )

    assert outcome.said == [[1, [0, 0]]]


def test_calls_that_the_driver_refuses_change_nothing(frame: Frame) -> None:
    outcome = run(
        frame,
        "h = c.create(2)[1]; p = c.mapped(2, h)\n"
        "say([c.map(p, 2, h), c.map(c.reserve(4), 4, h), c.release(h + 16), c.release(7), c.unmap(p + GRANULE, 1),\n"
        "     c.retain(1)[0], c.retain(p + 2 * GRANULE)[0]], c.both())\n"
        "say([c.release(h), c.release(h), c.unmap(p, 2), c.unmap(p, 2)], c.both())",
    )

    assert outcome.said == [[[INVALID_VALUE] * 7, [2, 2]], [[0, INVALID_VALUE, 0, INVALID_VALUE], [0, 0]]]


def test_a_drivers_error_is_the_programs_and_costs_nothing(frame: Frame) -> None:
    outcome = run(frame.but(STUB_FAIL_NTH="2"), "say([c.create(1)[0] for _ in '123'], c.both())")

    assert outcome.said == [[[0, 999, 0], [2, 2]]]


@pytest.mark.parametrize("location", [2, 3, 4])
def test_memory_of_the_host_is_not_charged(frame: Frame, location: int) -> None:
    outcome = run(
        frame,
        f"code, h = c.create({ALL} * 2, {location}); p = c.mapped(1, h); again = c.retain(p)[1]\n"
        "say([code, c.release(again), c.unmap(p, 1), c.release(h)], c.both())",
    )

    assert (outcome.said, outcome.errors) == ([[[0] * 4, [0, 0]]], "")


def test_the_device_is_the_one_that_the_properties_name(frame: Frame) -> None:
    frame.grants(device(0, memory=4 * GRANULE), device(2, memory=8 * GRANULE))

    wanted = [(8, 1, 1), (1, 6, 1), (4, 6, 0), (1, 1, 0)]
    outcome = run(frame, f"say([c.create(n, where, c.device(d))[0] for n, where, d in {wanted}])")

    assert outcome.said == [[0, OOM, 0, OOM]]
    assert [d.used for d in Region.read(frame.region()).devices] == [4 * GRANULE, 8 * GRANULE]


@pytest.mark.parametrize("memory", [LIMIT, 16 << 30], ids=["share", "whole"])
@pytest.mark.parametrize("location", [1, 6])
def test_a_device_that_is_not_granted_gives_no_memory(frame: Frame, location: int, memory: int) -> None:
    frame.grants(device(memory=memory))

    outcome = run(frame, f"say([c.create(1, {location}, d)[0] for d in range(4)], c.held())")

    assert outcome.said == [[[INVALID_DEVICE, 0, INVALID_DEVICE, INVALID_DEVICE], 1]]


def test_a_place_of_a_kind_that_is_yet_to_come_is_charged(frame: Frame) -> None:
    outcome = run(
        frame.but(STUB_LATER_PLACE="99"), f"say(c.create({ALL}, 99)[0], c.charged(), c.create(1, 99)[0], c.create(1)[0])"
    )

    assert outcome.said == [[0, ALL, OOM, OOM]]


@pytest.mark.parametrize("location", [0, 5, 99])
def test_a_location_that_is_none_is_the_drivers_to_answer(frame: Frame, location: int) -> None:
    assert run(frame, f"say(c.create(1, {location})[0], c.charged())").said == [[INVALID_VALUE, 0]]


def test_before_init_the_driver_answers(frame: Frame) -> None:
    outcome = frame.python("from client_virtual import *\nc = Virtual(); say(c.create(1, DEVICE, 1)[0], c.release(1))")

    assert outcome.said == [[3, 3]]


def test_whole_devices_are_counted_and_nothing_is_refused(frame: Frame) -> None:
    frame.grants(device(memory=16 << 30))

    assert run(frame, f"say(c.create({ALL} * 2)[0], c.both())").said == [[0, [ALL * 2, ALL * 2]]]


def test_it_belongs_to_the_process_and_outlives_contexts(frame: Frame) -> None:
    outcome = run(
        frame,
        "h = c.create(3)[1]; p = c.mapped(3, h); c.release(h); d = c.device(0)\n"
        "c.library.cuDevicePrimaryCtxReset_v2(d); c.use(0); say(c.both())\n"
        "c.unmap(p, 3); say(c.both())",
    )

    assert outcome.said == [[3, 3], [0, 0]]


def test_expandable_segments_of_pytorch_live_within_the_share(frame: Frame) -> None:
    """Reserve more than there is, create chunks and map them one after the other until it is full, give chunks back, go on."""
    outcome = run(
        frame,
        f"segment = c.reserve({ALL} + {ALL} // 8); chunks = {{}}\n"
        "def grow(n, at):\n"
        "    code, h = c.create(n)\n"
        "    if code == 0:\n"
        "        assert c.map(segment + at * GRANULE, n, h) == 0\n"
        "        c.library.cuMemSetAccess(U64(segment), U64(0), None, U64(0))\n"
        "        assert c.release(h) == 0; chunks[at] = n\n"
        "    return code\n"
        "def fill():\n"
        "    at = 0\n"
        "    while True:\n"
        "        while at in chunks: at += chunks[at]\n"
        "        n = 10 if at // 10 % 2 else 1\n"
        "        n = min([n, *(b - at for b in chunks if b > at)])\n"
        "        if (code := grow(n, at)) and (n == 1 or (code := grow(1, at))): return code\n"
        "say(fill(), c.both())\n"
        "for at in sorted(chunks)[::3]: assert c.unmap(segment + at * GRANULE, chunks.pop(at)) == 0\n"
        "say(c.charged() == c.held() == sum(chunks.values()))\n"
        "say(fill(), c.both())\n"
        "for at in list(chunks): assert c.unmap(segment + at * GRANULE, chunks.pop(at)) == 0\n"
        "say(c.library.cuMemAddressFree(U64(segment), U64(0)), c.both())",
    )

    assert outcome.said == [[OOM, [ALL, ALL]], True, [OOM, [ALL, ALL]], [0, [0, 0]]]


def test_threads_hold_and_drop_the_same_memory_and_lose_nothing(frame: Frame) -> None:
    outcome = run(
        frame,
        "import threading\n"
        "h = c.create(1)[1]; base = c.mapped(1, h); places = [c.reserve(1) for _ in range(8)]\n"
        "def work(place):\n"
        "    for _ in range(200):\n"
        "        mine = c.create(2)[1]; p = c.retain(base)[1]; c.map(place, 1, p); c.release(p)\n"
        "        q = c.retain(place)[1]; c.unmap(place, 1); c.release(mine); c.release(q)\n"
        "threads = [threading.Thread(target=work, args=(place,)) for place in places]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]; say(c.both())\n"
        "c.unmap(base, 1); c.release(h); say(c.both())",
    )

    assert outcome.said == [[1, 1], [0, 0]]


def test_the_last_holds_dropped_by_several_threads_at_once_give_back_once(frame: Frame) -> None:
    outcome = run(
        frame.but(STUB_DELAY_US="100"),
        "import threading\n"
        "for _ in range(60):\n"
        "    h = c.create(2)[1]; places = [c.mapped(2, h) for _ in range(3)]; gate = threading.Barrier(4)\n"
        "    def drop(act, *arguments): gate.wait(); act(*arguments)\n"
        "    threads = [threading.Thread(target=drop, args=(c.unmap, p, 2)) for p in places]\n"
        "    threads += [threading.Thread(target=drop, args=(c.release, h))]\n"
        "    [t.start() for t in threads]; [t.join() for t in threads]\n"
        "say(c.both())",
    )

    assert outcome.said == [[0, 0]]


def test_a_forked_child_does_not_give_back_what_its_parent_holds(frame: Frame) -> None:
    outcome = run(
        frame,
        "h = c.create(3)[1]; p = c.mapped(3, h)\n"
        "if os.fork() == 0:\n"
        "    c.release(h); c.unmap(p, 3); code, _ = c.create(1); say(code, c.both()); os._exit(0)\n"
        f"os.wait(); say(c.create({ALL})[0], c.charged()); c.release(h); c.unmap(p, 3); say(c.charged())",
    )

    assert outcome.said == [[0, [4, 4]], [OOM, 3], 0]


def test_a_thousand_allocations_with_two_mappings_each_are_all_given_back(frame: Frame) -> None:
    frame.grants(device(memory=16 << 30))

    outcome = run(
        frame,
        "made = [c.create(1)[1] for _ in range(1000)]; places = [c.mapped(1, h) for h in made for _ in '12']\n"
        "full = c.both(); [c.release(h) for h in made[::2]]; [c.unmap(p, 1) for p in places]; half = c.both()\n"
        "[c.release(h) for h in made[1::2]]; say(full, half, c.both())",
    )

    assert outcome.said == [[[1000, 1000], [500, 500], [0, 0]]]


ARRAY_MAP = "(ctypes.c_uint8 * 96)(*[0] * 56, {operation}, *[0] * 7, *struct.pack('Q', h), *[0] * 24)"


@pytest.mark.parametrize("name", ["cuMemMapArrayAsync", "cuMemMapArrayAsync_ptsz"])
def test_memory_that_is_mapped_into_an_array_stays_charged(frame: Frame, name: str) -> None:
    outcome = run(
        frame,
        f"h = c.create(2)[1]; c.library.{name}({ARRAY_MAP.format(operation=1)}, 1, None); c.release(h); say(c.both())\n"
        f"h = c.create(2)[1]; c.library.{name}({ARRAY_MAP.format(operation=2)}, 1, None); c.release(h); say(c.both())",
    )

    assert outcome.said == [[2, 2], [2, 2]]


BIND = {
    "cuMulticastBindMem": "f(U64(9), U64(0), U64(h), U64(0), U64(GRANULE), U64(0))",
    "cuMulticastBindMem_v2": "f(U64(9), 1, U64(0), U64(h), U64(0), U64(GRANULE), U64(0))",
    "cuMulticastBindAddr": "f(U64(9), U64(0), U64(p + GRANULE), U64(GRANULE), U64(0))",
    "cuMulticastBindAddr_v2": "f(U64(9), 1, U64(0), U64(p + GRANULE), U64(GRANULE), U64(0))",
}


@pytest.mark.parametrize("name", BIND)
def test_what_is_bound_to_a_multicast_object_is_held_until_it_is_unbound(frame: Frame, name: str) -> None:
    outcome = run(
        frame,
        f"h = c.create(2)[1]; p = c.mapped(2, h); f = c.library.{name}; code = {BIND[name]}\n"
        "c.release(h); c.unmap(p, 2); bound = c.both(); wrong = c.library.cuMulticastUnbind(U64(9), 1, U64(5), U64(GRANULE))\n"
        "say(code, bound, wrong, c.library.cuMulticastUnbind(U64(9), 1, U64(0), U64(GRANULE)), c.both())",
    )

    assert outcome.said == [[0, [2, 2], INVALID_VALUE, 0, [0, 0]]]


def test_a_device_that_is_not_granted_joins_no_multicast_object(frame: Frame) -> None:
    assert run(frame, "say([c.library.cuMulticastAddDevice(U64(9), d) for d in range(4)])").said == [[101, 0, 101, 101]]


class Server:
    """One process that runs program after program."""

    def __init__(self, frame: Frame) -> None:
        self.process = frame.start_python("from client_virtual import *\nserve()")

    def run(self, program: list[tuple[str, int, int]]) -> list[list[float]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(program) + "\n")
        self.process.stdin.flush()
        answer: list[list[float]] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture(scope="module")
def server(stub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    frame = Frame(stub, tmp_path_factory.mktemp("server")).grants(device(memory=24 * GRANULE))
    server = Server(frame)
    yield server
    server.process.communicate()
    assert server.process.returncode == 0


OWN = ["create", "allocate", "free", "release", "map", "unmap", "retain", "bind", "unbind"]
SHARED = ["export", "close", "adopt", "fabric"]
NUMBERS = st.integers(0, 999)


def programs(acts: list[str]) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    return st.lists(st.tuples(st.sampled_from(acts), NUMBERS, NUMBERS), min_size=1, max_size=60)


@given(programs(OWN))
@settings(max_examples=150, deadline=None)
def test_whatever_a_program_does_it_is_charged_what_it_holds(server: Server, program: list[tuple[str, int, int]]) -> None:
    *seen, end = server.run(program)

    assert [charged for charged, _ in seen] == [held for _, held in seen]
    assert max(held for _, held in seen) <= 24
    assert end == [0, 0, 0]


@given(programs(OWN + 2 * SHARED))
@settings(max_examples=150, deadline=None)
def test_a_program_that_shares_with_itself_is_never_charged_less(server: Server, program: list[tuple[str, int, int]]) -> None:
    *seen, end = server.run(program)

    assert [(charged, held) for charged, held in seen if charged < held] == []
    assert max(held for _, held in seen) <= 24
    assert end == [0, 0, 0]
