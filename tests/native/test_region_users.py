"""Who uses a region, and whether anybody still does: another boot, other devices, lost locks, a container started anew."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from hami_native import Region
from tests.native.harness import LIMIT, MIB, Frame, device, uuid
from tests.native.test_region import DEVICES, OFFSETS, SLOTS

pytestmark = pytest.mark.slow

OOM = 2
BOOT_ID = OFFSETS["vgpu_region_header.boot_id"]
LIVE = 2
FOREIGN = 5  # the inode of no PID namespace
USER = "c = Cuda(); c.start(); say(c.code(MIB)); wait_for_word()"


def write(path: Path, offset: int, content: bytes) -> None:
    """In place, so that it stays the file that others have mapped."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def add_slot(path: Path, number: int, *, namespace: int, used: int, pid: int = 44, start: int = 77) -> None:
    """A LIVE slot, and its bytes on top of what the device has."""
    at = SLOTS + 1024 * number
    state = pid << 32 | (start & 0xFFFF) << 16 | namespace_bits(namespace) << 4 | LIVE
    write(path, at, struct.pack("<QIIQQ", state, pid, 0, start, namespace))
    write(path, at + OFFSETS["vgpu_region_slot.used"], struct.pack("<Q", used))
    write(path, DEVICES + OFFSETS["vgpu_region_device.used"], struct.pack("<Q", used + Region.read(path).devices[0].used))
    write(path, OFFSETS["vgpu_region_header.high_water"], struct.pack("<I", number + 1))


def namespace_bits(namespace: int) -> int:
    return namespace * 0x9E3779B97F4A7C15 % 2**64 >> 52


def myself() -> dict[str, int]:
    """This test's own process, which lives and has no lock."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return {"pid": os.getpid(), "start": int(fields[19]), "namespace": Path("/proc/self/ns/pid").stat().st_ino}


@pytest.fixture
def used(frame: Frame) -> Frame:
    frame.python("c = Cuda(); c.start(); c.code(3 * MIB)")
    return frame


def test_a_region_tells_the_boot_that_it_is_of(used: Frame) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")

    assert used.region().read_bytes()[BOOT_ID : BOOT_ID + 16].hex() == boot


def test_a_region_of_another_boot_is_begun_anew(used: Frame) -> None:
    write(used.region(), BOOT_ID, b"x" * 16)
    add_slot(used.region(), 3, namespace=0, used=LIMIT)

    outcome = used.python(f"c = Cuda(); c.start(); say(c.code({LIMIT}))")

    assert (outcome.said, outcome.errors) == ([0], "")
    assert used.region().read_bytes()[BOOT_ID : BOOT_ID + 16] != b"x" * 16


def test_a_region_whose_boot_is_untold_is_kept(used: Frame) -> None:
    write(used.region(), BOOT_ID, bytes(16))
    number = used.region().stat().st_ino

    used.python("c = Cuda(); c.start(); c.code(1)")

    assert used.region().stat().st_ino == number


def test_devices_in_another_order_are_found_by_their_uuid(frame: Frame) -> None:
    first, second = device(3, memory=5 * MIB), device(0, memory=7 * MIB)
    with frame.grants(first, second).start_python("c = Cuda(); c.start(0); say(c.code(2 * MIB)); wait_for_word()") as user:
        assert user.stdout is not None
        user.stdout.readline()
        outcome = frame.grants(second, first).python(
            "c = Cuda(); c.start(0); say(c.memory(), c.code(7 * MIB), c.code(1))\n"
            "c.use(1); say(c.memory(), c.code(3 * MIB), c.code(1)); n = Nvml(); say([n.processes(index=i)[1] for i in (0, 1)])"
        )
        used = [(d.uuid, d.used, d.refused) for d in Region.read(frame.region()).devices]
        user.communicate("go\n")

    assert outcome.said == [[[7 * MIB, 7 * MIB], 0, OOM], [[3 * MIB, 5 * MIB], 0, OOM], [1, 2]]
    assert used == [(uuid(3), 5 * MIB, 1), (uuid(0), 7 * MIB, 1)]


@pytest.mark.parametrize("devices", [(device(1),), (device(2), device(1))])
def test_other_devices_than_a_used_regions_close_with_one_line(frame: Frame, devices: tuple[str, ...]) -> None:
    with frame.start_python(USER) as user:
        assert user.stdout is not None
        user.stdout.readline()
        outcome = frame.grants(*devices).python("c = Cuda(); c.start(); say(c.code(1), c.code(1))")
        user.communicate("go\n")

    assert outcome.said == [[OOM, OOM]]
    assert outcome.errors.count("\n") == 1
    assert "its devices are not those of the limits file" in outcome.errors


def test_fewer_devices_than_a_used_regions_close(frame: Frame) -> None:
    with frame.grants(device(2), device(1)).start_python(USER) as user:
        assert user.stdout is not None
        user.stdout.readline()
        outcome = frame.grants(device(2)).python("c = Cuda(); c.start(); say(c.code(1))")
        user.communicate("go\n")

    assert outcome.said == [OOM]


def test_other_devices_than_an_unused_regions_begin_a_new_one(used: Frame) -> None:
    outcome = used.grants(device(1)).python("c = Cuda(); c.start(); say(c.code(1))")

    assert (outcome.said, outcome.errors) == ([0], "")
    assert [d.uuid for d in Region.read(used.region()).devices] == [uuid(1)]


@pytest.mark.parametrize("devices", [(device(1),), (device(2), device(1))])
def test_a_limits_file_that_changes_its_devices_closes_with_one_line(frame: Frame, devices: tuple[str, ...]) -> None:
    with frame.start_python("c = Cuda(); c.start(); say(c.code(1)); wait_for_word(); say(c.memory()[1], c.code(1))") as user:
        assert user.stdout is not None
        user.stdout.readline()
        frame.grants(*devices)
        said, errors = user.communicate("go\n")

    assert said == f"[0, {OOM}]\n"
    assert errors.count("its devices are no longer those that this process began with") == errors.count("\n") == 1


def test_a_program_that_closes_all_descriptors_is_a_user_still(frame: Frame) -> None:
    """The mapping keeps the open file, and that the lock."""
    with frame.start_python("c = Cuda(); c.start(); c.code(1); os.closerange(3, 1000); say(1); wait_for_word()") as user:
        assert user.stdout is not None
        user.stdout.readline()
        write(frame.region(), OFFSETS["vgpu_region.slots"], bytes(64))  # nor does its slot tell of it
        write(frame.region(), 0, b"x")
        meanwhile = frame.python("c = Cuda(); c.start(); say(c.code(1))")
        user.communicate("go\n")
    afterwards = frame.python("c = Cuda(); c.start(); say(c.code(1))")

    assert (meanwhile.said, afterwards.said) == ([OOM], [0])


def test_a_damaged_region_is_kept_while_a_process_is_seen_to_live_in_it_though_nobody_has_the_lock(used: Frame) -> None:
    add_slot(used.region(), 5, **myself(), used=MIB)
    write(used.region(), 0, b"x")
    number = used.region().stat().st_ino

    outcome = used.python("c = Cuda(); c.start(); say(c.code(1))")

    assert (outcome.said, used.region().stat().st_ino) == ([OOM], number)
    assert "it does not begin as a region" in outcome.errors


def test_who_seems_to_live_in_a_region_of_another_boot_does_not(used: Frame) -> None:
    add_slot(used.region(), 5, **myself(), used=LIMIT)
    write(used.region(), BOOT_ID, b"x" * 16)

    assert used.python(f"c = Cuda(); c.start(); say(c.code({LIMIT}))").said == [0]


def test_a_container_that_is_started_anew_has_its_whole_share(used: Frame) -> None:
    add_slot(used.region(), 5, namespace=FOREIGN, used=LIMIT)

    assert used.python(f"c = Cuda(); c.start(); say(c.code({LIMIT}), c.code(1))").said == [[0, OOM]]


def test_a_process_of_another_namespace_keeps_its_share_while_the_region_is_in_use(frame: Frame) -> None:
    with frame.start_python(USER) as user:
        assert user.stdout is not None
        user.stdout.readline()
        add_slot(frame.region(), 5, namespace=FOREIGN, used=LIMIT)
        outcome = frame.python("c = Cuda(); c.start(); say(c.code(1))")
        user.communicate("go\n")

    assert outcome.said == [OOM]


def test_a_living_process_without_the_lock_keeps_other_namespaces_from_being_cleared(used: Frame) -> None:
    add_slot(used.region(), 5, namespace=FOREIGN, used=LIMIT)
    add_slot(used.region(), 6, **myself(), used=0)

    assert used.python("c = Cuda(); c.start(); say(c.code(1))").said == [OOM]


def test_a_process_whose_namespace_is_untold_is_never_cleared(used: Frame) -> None:
    add_slot(used.region(), 5, namespace=0, used=LIMIT)

    assert used.python("c = Cuda(); c.start(); say(c.code(1))").said == [OOM]
