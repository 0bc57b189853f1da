"""The region as a file: read from outside, damaged, short, foreign. And that Python sees the layout that C has."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_native import Region, RegionDevice, RegionError, RegionProcess
from hami_native.abi import STRUCTURES, ffi, reader
from tests.native.harness import LIMIT, MIB, Frame, device, uuid
from tests.native.hooks import NATIVE

pytestmark = pytest.mark.slow

SIZE = 532480
OFFSETS = {
    f"{structure}.{field}": int(offset)
    for structure, field, offset in re.findall(r"FIELD\((\w+), (\w+), (\d+)\)", (NATIVE / "include" / "region.h").read_text())
}
DEVICES = OFFSETS["vgpu_region.devices"]
SLOTS = OFFSETS["vgpu_region.slots"]


@pytest.fixture
def used(frame: Frame) -> Frame:
    """A frame whose region one process, now dead, has used."""
    frame.python("c = Cuda(); c.start(); c.code(3 * MIB)")
    return frame


def test_the_offsets_of_the_header_are_those_the_library_was_built_with() -> None:
    assert len(OFFSETS) > 30
    assert {name: reader().hami_region_offset(name.encode()) for name in OFFSETS} == OFFSETS


@pytest.mark.parametrize("structure", STRUCTURES)
def test_cffi_and_c_agree_on_every_structure(structure: str) -> None:
    assert reader().hami_sizeof(structure.encode()) == ffi().sizeof(f"struct {structure}")


def test_cffi_declares_the_fields_of_the_c_header_in_their_order() -> None:
    header = re.sub(r"/\*.*?\*/|\[[^\]]*\]", "", (NATIVE / "reader" / "reader.h").read_text(), flags=re.DOTALL)
    for name in STRUCTURES:
        body = re.search(rf"struct {name} {{(.*?)\n}};", header, re.DOTALL)
        assert body
        declared = [field.split()[-1] for line in body[1].split(";") for field in line.split(",") if line.strip()]
        assert [field for field, _ in ffi().typeof(f"struct {name}").fields] == declared


def test_what_lies_at_the_headers_offsets_is_what_python_reads(used: Frame, tmp_path: Path) -> None:
    content = bytearray(used.region().read_bytes())
    struct.pack_into("<QQ", content, DEVICES + OFFSETS["vgpu_region_device.used"], 11, 22)
    struct.pack_into("<Q", content, DEVICES + OFFSETS["vgpu_region_device.refused"], 33)
    slot = SLOTS + 7 * 1024
    struct.pack_into("<QIIQQ", content, slot, 2, 44, 0, 55, 66)
    struct.pack_into("<Q", content, slot + OFFSETS["vgpu_region_slot.used"], 77)
    struct.pack_into("<Q", content, slot + OFFSETS["vgpu_region_slot.context"], 88)
    struct.pack_into("<Q", content, OFFSETS["vgpu_region.anonymous"] + OFFSETS["vgpu_region_slot.used"], 99)
    (tmp_path / "copy").write_bytes(content)

    region = Region.read(tmp_path / "copy")

    assert (region.grant, region.devices, region.unnamed) == (
        "pod/main",
        (RegionDevice(uuid(2), used=11, peak=22, refused=33),),
        (99,),
    )
    assert region.processes[1:] == (RegionProcess(44, 55, 66, used=(77,), context=(88,)),)


def test_a_living_process_is_in_its_region(frame: Frame) -> None:
    with frame.start_python("c = Cuda(); c.start(); c.code(3 * MIB); say(pid()); wait_for_word()") as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        region = Region.read(frame.region())
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        namespace = Path(f"/proc/{pid}/ns/pid").stat().st_ino
        program.communicate("go\n")

    assert region == Region(
        grant="pod/main",
        devices=(RegionDevice(uuid(2), used=3 * MIB, peak=3 * MIB, refused=0),),
        processes=(RegionProcess(pid, int(fields[19]), namespace, used=(3 * MIB,), context=(0,)),),
        unnamed=(0,),
    )


Damage = Callable[[bytes], bytes]
OTHER_SIZES: list[tuple[Damage, str]] = [
    (lambda content: b"", "its size is not that of a region"),
    (lambda content: content[:-1], "its size is not that of a region"),
    (lambda content: content + b"x", "its size is not that of a region"),
]
SAME_SIZE: list[tuple[Damage, str]] = [
    (lambda content: b"x" * SIZE, "it does not begin as a region"),
    (lambda content: content[:8] + b"\2" + content[9:], "its layout has another version"),
    (lambda content: content[:24] + b"\0" * 8 + content[32:], "its layout is another build's"),
    (lambda content: content[:12] + b"\xff" + content[13:], "its header is damaged"),
    (lambda content: content[:64] + b"x" * 256 + content[320:], "its header is damaged"),
    (lambda content: content[:DEVICES] + b"\0" * 96 + content[DEVICES + 96 :], "a device in it has no uuid"),
]


def spoil(frame: Frame, damage: Damage) -> None:
    """In place: the file that a program may have mapped stays the same file."""
    content = damage(frame.region().read_bytes())
    with frame.region().open("r+b") as file:
        file.truncate(len(content))
        file.write(content)


@pytest.mark.parametrize(("damage", "sentence"), OTHER_SIZES + SAME_SIZE, ids=range(9))
def test_a_reader_of_a_damaged_region_gets_one_sentence(used: Frame, damage: Damage, sentence: str) -> None:
    spoil(used, damage)

    with pytest.raises(RegionError, match=f"pod_main is no region: {sentence}$"):
        Region.read(used.region())


@pytest.mark.parametrize(("damage", "sentence"), OTHER_SIZES + SAME_SIZE, ids=range(9))
def test_a_program_begins_a_fresh_region_in_place_of_a_damaged_one(used: Frame, damage: Damage, sentence: str) -> None:
    spoil(used, damage)

    outcome = used.python(f"c = Cuda(); c.start(); say(c.code({LIMIT}), c.code(1))")

    assert (outcome.status, outcome.said, outcome.errors) == (0, [[0, 2]], "")
    assert Region.read(used.region()).devices[0].used == LIMIT


@pytest.mark.parametrize(("damage", "sentence"), SAME_SIZE, ids=range(6))
def test_while_somebody_uses_a_damaged_region_others_are_refused(used: Frame, damage: Damage, sentence: str) -> None:
    """Not one that shrinks: that is its user's SIGBUS, whatever we do."""
    with used.start_python("c = Cuda(); c.start(); say(c.code(1)); wait_for_word()") as user:
        assert user.stdout is not None
        user.stdout.readline()
        spoil(used, damage)
        outcome = used.python("c = Cuda(); c.start(); say(c.code(1), c.memory())")
        user.communicate("go\n")

    assert outcome.said == [[2, [0, LIMIT]]]
    assert outcome.errors.count("no memory can be allocated") == 1
    assert sentence in outcome.errors


@given(content=st.binary(max_size=3000), at=st.integers(0, SIZE - 3000))
@settings(max_examples=200)
def test_whatever_is_in_it_a_reader_copies_or_refuses(
    content: bytes, at: int, tmp_path_factory: pytest.TempPathFactory, template: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "spoilt"
    path.write_bytes(template[:at] + content + template[at + len(content) :])

    try:
        region = Region.read(path)
    except RegionError as error:
        assert str(error).startswith(str(path))
        return
    assert len(region.processes) <= 512
    assert 1 <= len(region.devices) <= 16


@pytest.fixture(scope="module")
def template(stub: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    frame = Frame(stub, tmp_path_factory.mktemp("template")).grants()
    frame.python("c = Cuda(); c.start(); c.code(1)")
    return frame.region().read_bytes()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: None, os.mkfifo], ids=["folder", "nothing", "pipe"])
def test_what_is_no_file_is_refused_in_a_sentence(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "region")

    with pytest.raises(RegionError, match=r"^cannot read region .*region: "):
        Region.read(tmp_path / "region")


def test_a_link_in_the_regions_place_is_not_followed(frame: Frame) -> None:
    victim = frame.folder / "victim"
    victim.write_text("precious")
    frame.region().symlink_to(victim)

    outcome = frame.python("c = Cuda(); c.start(); say(c.code(1))")

    assert (outcome.said, victim.read_text()) == ([2], "precious")


def test_a_region_of_another_grant_is_replaced_not_used(used: Frame) -> None:
    used.grants(grant="pod/other")
    used.region().rename(used.region("pod_other"))

    used.python("c = Cuda(); c.start(); c.code(1)")

    assert Region.read(used.region("pod_other")).grant == "pod/other"


def test_the_folder_holds_nothing_else_afterwards(used: Frame) -> None:
    assert {path.name for path in used.folder.iterdir()} == {"limits", "pod_main", "truth"}


def test_a_region_lost_while_running_hurts_nobody(frame: Frame) -> None:
    program = f"c = Cuda(); c.start(); say(c.code(1)); wait_for_word(); say(c.code({LIMIT}), c.code(MIB))"
    with frame.start_python(program) as user:
        assert user.stdout is not None
        user.stdout.readline()
        frame.region().unlink()
        said, errors = user.communicate("go\n")

    assert (said, errors) == ("[2, 0]\n", "")


def test_several_devices_keep_the_grants_order(frame: Frame) -> None:
    frame.grants(device(3, memory=5 * MIB), device(0, memory=6 * MIB))

    frame.python("c = Cuda(); c.start(1); c.code(6 * MIB)")

    assert [(d.uuid, d.used) for d in Region.read(frame.region()).devices] == [(uuid(3), 0), (uuid(0), 6 * MIB)]
