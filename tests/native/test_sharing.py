"""Memory that several processes hold: who pays, and who pays when the one that did is gone. Never nobody."""

from __future__ import annotations

import pytest

from tests.native.harness import LIMIT, MIB, Frame, Outcome, device

pytestmark = pytest.mark.slow

OOM = 2
GRANULE = 2 * MIB
ALL = LIMIT // GRANULE
WORDS = "from client_virtual import *\n"


def run(frame: Frame, program: str) -> Outcome:
    outcome = frame.python(WORDS + program)
    assert outcome.status == 0, outcome.errors
    return outcome


def stranger(frame: Frame, memory: int = LIMIT) -> dict[str, str]:
    """The environment of a process in another container on the same device."""
    folder = frame.folder / "other"
    folder.mkdir()
    other = Frame(frame.driver, folder, frame.variables).grants(device(memory=memory), grant="pod/other")
    return {"HAMI_LIMITS": str(other.limits)}


# A creator in a child, which shares 3 granules as it is told to by `share` and then acts on words; an importer that asks it.
CREATOR = """
def creator(peer):
    c = Virtual().begin(); h = c.create(3)[1]; p = c.mapped(3, h); fd = -1
    while word := peer.receive():
        if word == b'fd': fd = c.export(h); peer.send(b'!', fd)
        if word == b'fabric': peer.send(c.export_fabric(h))
        if word == b'close': os.close(fd); peer.send()
        if word == b'drop': c.release(h); c.unmap(p, 3); peer.send()
        if word == b'ask': peer.send(str(c.charged()).encode())
        if word == b'die': os.kill(os.getpid(), 9)
creator = fork(creator)
def tell(word): creator.send(word); return creator.receive()
def asked(): return float(tell(b'ask'))
def dies(): creator.send(b'die'); os.wait(); return c.create(512)[0]  # a refusal reaps at once
"""


def test_an_exported_allocation_that_nobody_else_holds_ends_like_any_other(frame: Frame) -> None:
    outcome = run(
        frame,
        "c = Virtual().begin(); h = c.create(3)[1]; p = c.mapped(3, h); fd = c.export(h); os.close(fd)\n"
        "say(c.release(h), c.both()); say(c.unmap(p, 3), c.both())",
    )

    assert outcome.said == [[0, [3, 3]], [0, [0, 0]]]


def test_an_open_descriptor_holds_memory_and_its_charge(frame: Frame) -> None:
    outcome = run(
        frame,
        "c = Virtual().begin(); h = c.create(3)[1]; fd = c.export(h); again = os.dup(fd); c.release(h); say(c.both())\n"
        f"os.close(fd); say(c.create({ALL})[0], c.both()); os.close(again); say(c.create({ALL})[0], c.both())",
    )

    assert outcome.said == [[3, 3], [OOM, [3, 3]], [0, [ALL, ALL]]]


def test_a_descriptor_that_waits_in_a_socket_holds_memory_and_its_charge(frame: Frame) -> None:
    outcome = run(
        frame,
        "ours, theirs = socket.socketpair(); c = Virtual().begin(); h = c.create(3)[1]; fd = c.export(h)\n"
        f"socket.send_fds(ours, [b'!'], [fd]); os.close(fd); c.release(h); say(c.create({ALL})[0], c.both())\n"
        f"theirs.close(); ours.close(); say(c.create({ALL})[0], c.both())",
    )

    assert outcome.said == [[OOM, [3, 3]], [0, [ALL, ALL]]]


def test_a_descriptor_that_cannot_be_watched_is_taken_for_open_until_the_process_ends(frame: Frame) -> None:
    frame = frame.but(STUB_EXPORT="file")

    outcome = run(frame, "c = Virtual().begin(); h = c.create(3)[1]; os.close(c.export(h)); c.release(h); say(c.both())")
    after = run(frame, f"c = Virtual().begin(); say(c.create({ALL})[0])")

    assert (outcome.said, after.said) == ([[3, 0]], [0])


def test_a_program_that_closes_all_descriptors_takes_the_watch_with_it_and_stays_charged(frame: Frame) -> None:
    """The numbers may be its own by then: nothing is added to what it has opened since, and nothing concluded from it."""
    outcome = run(
        frame,
        "import select\n"
        "c = Virtual().begin(); h, g = c.create(1)[1], c.create(2)[1]; c.export(h); os.closerange(3, 99)\n"
        "mine = [select.epoll() for _ in range(4)]; c.export(g); c.release(h); c.release(g)\n"
        "def watched(number): return [line for line in open(f'/proc/self/fdinfo/{number}') if line.startswith('tfd')]\n"
        f"say(c.create({ALL})[0], c.charged(), [watched(e.fileno()) for e in mine])",
    )

    assert outcome.said == [[OOM, 3, [[], [], [], []]]]


def test_what_is_imported_where_it_was_exported_is_charged_once(frame: Frame) -> None:
    outcome = run(
        frame,
        "c = Virtual().begin(); h = c.create(3)[1]; shared = c.export_fabric(h)\n"
        "code, mine = c.adopt(shared); p = c.mapped(3, mine); say(code, c.both())\n"
        f"c.release(h); c.release(mine); say(c.both()); c.unmap(p, 3); say(c.create({ALL})[0], c.both())",
    )

    assert outcome.said == [[0, [3, 3]], [3, 3], [0, [ALL, ALL]]]


def test_an_importer_by_fabric_in_the_same_container_pays_nothing(frame: Frame) -> None:
    outcome = run(
        frame,
        f"{CREATOR}c = Virtual().begin(); code, h = c.adopt(tell(b'fabric')); p = c.mapped(3, h)\n"
        "say(code, c.both()); c.unmap(p, 3); c.release(h); tell(b'drop')\n"
        f"say(c.create({ALL})[0], c.both())",
    )

    assert outcome.said == [[0, [3, 3]], [0, [ALL, ALL]]]


def test_a_creator_that_lets_go_first_leaves_the_charge_to_the_container(frame: Frame) -> None:
    outcome = run(
        frame,
        f"{CREATOR}c = Virtual().begin(); h = c.adopt(tell(b'fabric'))[1]; p = c.mapped(3, h)\n"
        f"tell(b'drop'); say(c.create({ALL} - 2)[0], c.charged(), c.held()); c.unmap(p, 3); c.release(h)\n"
        f"say(c.create({ALL})[0], c.held())",
    )

    assert outcome.said == [[OOM, 3, 3], [0, ALL]]


@pytest.mark.parametrize("how", ["fd", "fabric"])
def test_a_creator_that_is_killed_leaves_the_charge_to_the_container_while_it_is_imported(frame: Frame, how: str) -> None:
    receive = "tell(b'fabric')" if how == "fabric" else "(creator.send(b'fd'), creator.receive_descriptor())[1]"
    outcome = run(
        frame,
        f"{CREATOR}c = Virtual().begin(); shared = {receive}; h = c.adopt(shared)[1]\n"
        "if isinstance(shared, int): tell(b'close'); os.close(shared)\n"
        f"say(dies(), c.charged(), c.held()); say(c.create({ALL} - 2)[0], c.create({ALL} - 3)[0], c.release(h))\n"
        f"say(c.create(4)[0], c.create(3)[0], c.both())",
    )

    assert outcome.said == [[OOM, 3, 3], [OOM, 0, 0], [OOM, 0, [ALL, ALL]]]


def test_an_importer_by_descriptor_which_does_not_say_whose_it_is_pays_from_its_first_mapping_on(frame: Frame) -> None:
    outcome = run(
        frame,
        f"{CREATOR}c = Virtual().begin(); creator.send(b'fd'); fd = creator.receive_descriptor(); code, h = c.adopt(fd)\n"
        "before = c.charged(); p = c.mapped(2, h); part = c.charged(); q = c.mapped(3, h); r = c.mapped(3, h)\n"
        "say(code, before, part, c.both()); os.close(fd); tell(b'close'); tell(b'drop'); say(c.both())\n"
        f"c.unmap(p, 2); c.release(h); c.unmap(q, 3); say(c.both()); c.unmap(r, 3); say(c.create({ALL})[0], c.held())",
    )

    assert outcome.said == [[0, 3, 6, [6, 3]], [3, 3], [3, 3], [0, ALL]]


def test_an_import_that_does_not_fit_is_not_mapped(frame: Frame) -> None:
    outcome = run(
        frame,
        f"{CREATOR}c = Virtual().begin(); creator.send(b'fd'); fd = creator.receive_descriptor(); h = c.adopt(fd)[1]\n"
        f"more = c.create({ALL} - 5)[1]; p = c.reserve(3); say(c.map(p, 3, h), c.map(p, 1, h), c.charged())\n"
        "c.release(more); say(c.map(p, 1, h), c.charged(), c.unmap(p, 1), c.map(p, 3, h), c.charged())",
    )

    assert outcome.said == [[OOM, OOM, ALL - 2], [0, 6, 0, 0, 6]]


def test_the_size_of_an_import_is_found_however_little_of_it_is_mapped(frame: Frame) -> None:
    outcome = run(
        frame,
        "def creator(peer):\n"
        "    c = Virtual().begin()\n"
        "    for n in range(1, 40):\n"
        "        h = c.create(n)[1]; fd = c.export(h); peer.send(b'!', fd); os.close(fd); peer.receive(); c.release(h)\n"
        "creator = fork(creator); c = Virtual().begin(); paid = []\n"
        "for n in range(1, 40):\n"
        "    fd = creator.receive_descriptor(); h = c.adopt(fd)[1]; os.close(fd); before = c.charged()\n"
        "    p = c.mapped(1, h); paid += [c.charged() - before]; c.unmap(p, 1); c.release(h); creator.send()\n"
        "say(paid); os.wait(); say(c.both())",
    )

    assert outcome.said == [list(range(1, 40)), [0, 0]]


def test_an_import_that_was_never_mapped_leaves_its_creators_charge_to_the_container(frame: Frame) -> None:
    outcome = run(
        frame,
        f"{CREATOR}c = Virtual().begin(); creator.send(b'fd'); fd = creator.receive_descriptor(); h = c.adopt(fd)[1]\n"
        "os.close(fd); tell(b'close'); tell(b'drop'); say(c.both())\n"
        f"c.release(h); say(c.create({ALL})[0], c.both())",
    )

    assert outcome.said == [[3, 3], [0, [ALL, ALL]]]


WHOLE = device(memory=16 << 30)
IMPORT = f"""{CREATOR}c = Virtual().begin(); creator.send(b'fd'); h = c.adopt(creator.receive_descriptor())[1]
say(c.mapped(3, h) > 0, c.both())"""


def test_whole_devices_pay_for_no_imports(frame: Frame) -> None:
    assert run(frame.grants(WHOLE), IMPORT).said == [[True, [3, 3]]]


@pytest.mark.parametrize(
    ("devices", "variables"),
    [
        ([WHOLE, device(0, memory=LIMIT)], {}),
        ([WHOLE.replace(f"physical={16 << 30}", "physical=0")], {}),
        ([WHOLE], {"CUDA_DEVICE_MEMORY_LIMIT": "1g"}),
    ],
    ids=["one is not whole", "its size is not told", "a variable tightens it"],
)
def test_what_is_not_known_to_be_whole_is_a_share(frame: Frame, devices: list[str], variables: dict[str, str]) -> None:
    outcome = run(frame.grants(*devices).but(**variables), IMPORT)

    assert outcome.said == [[True, [6, 3]]]


@pytest.mark.parametrize("how", ["fd", "fabric"])
def test_an_importer_in_another_container_pays_in_its_own(frame: Frame, how: str) -> None:
    receive = "tell(b'fabric')" if how == "fabric" else "(creator.send(b'fd'), creator.receive_descriptor())[1]"
    outcome = run(
        frame,
        f"{CREATOR}os.environ.update({stranger(frame)}); c = Virtual().begin(); shared = {receive}\n"
        "h = c.adopt(shared)[1]; p = c.mapped(3, h); say(asked(), c.charged(), c.held())\n"
        "if isinstance(shared, int): tell(b'close'); os.close(shared)\n"
        "tell(b'drop'); say(asked(), c.charged(), c.held()); c.unmap(p, 3); c.release(h); say(asked(), c.both())",
    )

    assert outcome.said == [[3, 3, 3], [0, 3, 3], [0, [0, 0]]]


# The same with cuMemAlloc and IPC handles.
OWNER = """
def owner(peer):
    c = Virtual().begin(); p = c.allocate(3 * GRANULE)[1]
    while word := peer.receive():
        if word == b'ipc': peer.send(c.ipc(p))
        if word == b'free': peer.send(str(c.free(p)).encode())
        if word == b'other': peer.send(c.ipc(c.allocate(GRANULE)[1]))
        if word == b'again': p = c.allocate(3 * GRANULE)[1]; peer.send()
        if word == b'ask': peer.send(str(c.charged()).encode())
        if word == b'die': os.kill(os.getpid(), 9)
owner = fork(owner)
def tell(word): owner.send(word); return owner.receive()
def asked(): return float(tell(b'ask'))
def dies(): owner.send(b'die'); os.wait(); return c.create(512)[0]
"""


@pytest.mark.parametrize("by", ["cuIpcOpenMemHandle", "cuIpcOpenMemHandle_v2"])
def test_memory_opened_by_ipc_is_charged_to_its_owner_once(frame: Frame, by: str) -> None:
    outcome = run(
        frame,
        f"{OWNER}c = Virtual().begin(); handle = tell(b'ipc'); code, p = c.open(handle, {by!r})\n"
        f"again = c.open(handle, {by!r}); say(code, again == (0, p), c.both())\n"
        "say(c.close(p), c.close(p), c.close(p), c.both())\n"
        f"say(tell(b'free').decode(), c.create({ALL})[0], c.held())",
    )

    assert outcome.said == [[0, True, [3, 3]], [0, 0, 1, [3, 3]], ["0", 0, ALL]]


def test_consumers_of_many_handles_cost_nothing_and_leave_nothing(frame: Frame) -> None:
    """As a queue of tensors between processes does: another one is open all the while."""
    outcome = run(
        frame,
        f"{OWNER}c = Virtual().begin(); p = c.open(tell(b'other'))[1]\n"
        "for _ in range(20):\n"
        "    q = c.open(tell(b'ipc'))[1]; assert c.charged() == 4\n"
        "    c.close(q); tell(b'free'); assert c.charged() == 1; tell(b'again')\n"
        "say(c.both())",
    )

    assert outcome.said == [[4, 4]]


def test_memory_freed_while_it_is_open_elsewhere_stays_charged_to_the_container(frame: Frame) -> None:
    outcome = run(
        frame,
        f"{OWNER}c = Virtual().begin(); p = c.open(tell(b'ipc'))[1]; tell(b'free')\n"
        f"say(c.create({ALL} - 2)[0], c.charged(), c.held()); c.close(p); say(c.create({ALL})[0], c.held())",
    )

    assert outcome.said == [[OOM, 3, 3], [0, ALL]]


def test_memory_of_a_killed_owner_stays_charged_while_it_is_open(frame: Frame) -> None:
    outcome = run(
        frame,
        f"{OWNER}c = Virtual().begin(); p = c.open(tell(b'ipc'))[1]; say(dies(), c.charged(), c.held())\n"
        f"c.close(p); say(c.create({ALL})[0], c.held())",
    )

    assert outcome.said == [[OOM, 3, 3], [0, ALL]]


def test_memory_of_a_killed_owner_that_nobody_has_open_is_back_at_once(frame: Frame) -> None:
    outcome = run(frame, f"{OWNER}c = Virtual().begin(); tell(b'ipc'); say(dies())")

    assert outcome.said == [0]


def test_memory_opened_by_ipc_in_another_container_is_charged_there_too(frame: Frame) -> None:
    outcome = run(
        frame,
        f"{OWNER}os.environ.update({stranger(frame)}); c = Virtual().begin(); h = tell(b'ipc')\n"
        "p = c.open(h)[1]; c.open(h); say(asked(), c.charged(), c.held()); tell(b'free'); say(asked(), c.charged(), c.held())\n"
        "c.close(p); say(c.charged()); c.close(p); say(asked(), c.both())",
    )

    assert outcome.said == [[3, 3, 3], [0, 3, 3], 3, [0, [0, 0]]]


def test_memory_of_another_container_that_does_not_fit_is_not_opened(frame: Frame) -> None:
    outcome = run(
        frame,
        f"{OWNER}os.environ.update({stranger(frame, 2 * GRANULE)}); c = Virtual().begin()\n"
        "say(c.open(tell(b'ipc'))[0], c.charged()); tell(b'free'); say(c.held())",
    )

    assert outcome.said == [[OOM, 0], 0]


def test_a_pointer_of_another_process_is_freed_by_the_driver_alone(frame: Frame) -> None:
    outcome = run(frame, f"{OWNER}c = Virtual().begin(); p = c.open(tell(b'ipc'))[1]; say(c.free(p), c.both())")

    assert outcome.said == [[1, [3, 3]]]


def test_a_handle_that_is_none_costs_nothing(frame: Frame) -> None:
    outcome = run(frame, "c = Virtual().begin(); say(c.open(bytes(64))[0], c.adopt(bytes(64))[0], c.adopt(99)[0], c.charged())")

    assert outcome.said == [[400, 1, 1, 0]]
