"""Random programs over all that allocates: what is held is charged, and what is charged is within the limit."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.native.harness import HERE, MIB, Frame, device
from tests.native.hooks import NATIVE

if TYPE_CHECKING:
    from pathlib import Path

MOST_AT_ONCE = 64 * MIB  # that acts.py asks for


def check(frame: Frame, seed: int, count: int, limit: int) -> None:
    frame.truth.unlink(missing_ok=True)
    frame.region().unlink(missing_ok=True)
    frame.grants(device(memory=limit))

    outcome = frame.execute(sys.executable, "-S", HERE / "acts.py", str(seed), str(count), str(limit))

    assert (outcome.status, outcome.said, outcome.errors) == (0, [None], "")
    peak = int.from_bytes(frame.truth.read_bytes()[40:48], "little")
    # a pool in pieces, in a full share: the driver has taken a step more before it was undone (docs/isolation.md)
    assert peak <= limit + MOST_AT_ONCE


LIMITS = st.sampled_from([128 * MIB, 100 * MIB, 333 * MIB, 1024 * MIB])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), limit=LIMITS)
def test_what_is_held_is_charged_and_what_is_charged_is_within_the_limit(frame: Frame, seed: int, limit: int) -> None:
    check(frame, seed, 60, limit)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interposer, all of it, which ends its program at the first undefined step."""
    made = tmp_path_factory.mktemp("sanitized") / "libvgpu.so"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-fomit-frame-pointer"]
    checks = ["-fno-strict-aliasing", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-static-libubsan"]
    linked = ["-Wl,-soname,libvgpu.so", "-Wl,-z,nodelete", f"-Wl,--version-script={NATIVE / 'src' / 'libvgpu.map'}"]
    include = ["-iquote", str(NATIVE / "include"), "-iquote", str(NATIVE / "src")]
    sources = sorted(str(path) for path in (NATIVE / "src").glob("*.[cS]"))
    subprocess.run(["gcc", *flags, *checks, *linked, *include, "-o", made, *sources, "-ldl", "-lpthread"], check=True)
    return made


@pytest.mark.slow
@pytest.mark.needs("gcc")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_programs_take_no_undefined_step(frame: Frame, sanitized: Path, seed: int) -> None:
    checked = Frame(frame.driver, frame.folder, {}, str(sanitized)).grants(device(memory=333 * MIB))

    check(checked, seed, 300, 333 * MIB)


@pytest.mark.long
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), limit=LIMITS)
def test_long_random_programs(frame: Frame, seed: int, limit: int) -> None:
    check(frame, seed, 1000, limit)
