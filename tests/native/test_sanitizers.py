"""The parts of the interposer that only calculate, under address and undefined-behaviour sanitizers."""

from __future__ import annotations

import random
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from hami_native import LimitsError, parse_limits
from hami_native.limits import REASONS
from tests.native.harness import HERE
from tests.native.hooks import NATIVE
from tests.native.test_limits import TEXT, WRONG

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.needs("gcc"), pytest.mark.slow]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sanitized") / "sanitized"
    ours = ("allocations.c", "limits.c", "slots.c", "pointers.c")
    sources = [HERE / "sanitized.c", *(NATIVE / "src" / name for name in ours)]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    include = ["-iquote", str(NATIVE / "include"), "-iquote", str(NATIVE / "src")]
    subprocess.run(["gcc", *flags, *include, "-Wall", "-Wextra", "-Werror", "-o", made, *sources], check=True)
    return made


def spoilt(text: bytes, luck: random.Random) -> bytes:
    """Some bytes changed, lost or doubled."""
    content = bytearray(text)
    for _ in range(luck.randint(1, 4)):
        at = luck.randrange(len(content))
        content[at : at + luck.randint(0, 3)] = luck.choice(
            [b"", b"\0", b"\n", b" ", b"=", b"[", b"\xff", b"99999999999999999999"]
        )
        content = content or bytearray(b"x")
    return bytes(content)


def texts() -> list[bytes]:
    luck = random.Random(1)
    whole = TEXT.encode()
    wrong = [TEXT.replace(old, new, 1).encode() if old else new.encode() for old, new, *_ in WRONG]
    cut = [whole[:length] for length in range(len(whole))]
    sizes = [b"9" * 30 + b"g", b"1g", b"72057594037927935", b"67108863g", b"k", b"MIG-", b"GPU-" + b"f" * 36]
    return [whole, *wrong, *cut, *sizes, *(spoilt(whole, luck) for _ in range(5000)), b"x" * 70_000]


def reason(text: bytes) -> int:
    try:
        parse_limits(text)
    except LimitsError as error:
        return REASONS.index(error.reason)
    return 0


def test_texts_of_every_kind_are_parsed_within_their_bytes_and_as_in_the_shipped_build(program: Path) -> None:
    records = texts()
    stream = b"".join(struct.pack("<I", len(text)) + text for text in records)

    done = subprocess.run([program, "limits"], input=stream, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert [int(line) for line in done.stdout.split()] == [reason(text) for text in records]


@pytest.mark.parametrize("seed", [1, 20, 300])
def test_random_acts_on_slots_pointers_and_allocations_keep_their_sums(program: Path, seed: int) -> None:
    done = subprocess.run([program, "acts", str(seed), "20000"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
