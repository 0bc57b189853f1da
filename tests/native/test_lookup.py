"""How programs find the driver's functions: however they ask, they get our stand-in for that variant, or its own answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.native.harness import Frame, compile_c


@pytest.mark.parametrize(
    ("base", "version", "flags", "symbol"),
    [
        ("cuMemAlloc", 3020, 0, "cuMemAlloc_v2"),
        ("cuMemAlloc", 13050, 0, "cuMemAlloc_v2"),
        ("cuMemAlloc", 13050, 2, "cuMemAlloc_v2"),
        ("cuMemAllocAsync", 12000, 0, "cuMemAllocAsync"),
        ("cuMemAllocAsync", 12000, 2, "cuMemAllocAsync_ptsz"),
        ("cuMemFreeAsync", 11020, 2, "cuMemFreeAsync_ptsz"),
        ("cuGetProcAddress", 11030, 0, "cuGetProcAddress"),
        ("cuGetProcAddress", 12000, 0, "cuGetProcAddress_v2"),
        ("cuInit", 2000, 0, "cuInit"),
    ],
)
def test_by_version_and_by_name_the_same_stand_in_is_found(
    frame: Frame, base: str, version: int, flags: int, symbol: str
) -> None:
    program = f"c = Cuda(); say(c.address({symbol!r}), c.proc_address({base!r}, {version}, {flags}))"
    hooked, bare = frame.python(program), frame.without_interposer().python(program)

    [[by_name, [code, by_version, status]]] = hooked.said
    [[_, [bare_code, bare_address, bare_status]]] = bare.said

    assert (code, status) == (bare_code, bare_status) == (0, 0)
    assert by_version == by_name != bare_address


@pytest.mark.parametrize(
    ("base", "version", "flags"),
    [
        ("cuNoSuchFunction", 12000, 0),
        ("", 0, 0),
        ("cuMemAllocAsync", 11010, 0),
        ("cuMemAlloc", 99000, 0),
        ("cuMemAlloc", 2000, 0),
    ],
)
def test_what_the_driver_does_not_find_stays_its_answer(frame: Frame, base: str, version: int, flags: int) -> None:
    program = f"say(Cuda().proc_address({base!r}, {version}, {flags}))"

    assert frame.python(program).said == frame.without_interposer().python(program).said


def test_a_function_without_a_hook_is_the_drivers_own(frame: Frame) -> None:
    maps = (
        "c = Cuda()\n"
        "def home(address):\n"
        "    for line in open('/proc/self/maps'):\n"
        "        low, high = (int(x, 16) for x in line.split()[0].split('-'))\n"
        "        if low <= address < high: return line.split()[-1].rsplit('/')[-1]\n"
        "by_name = [home(c.address(name)) for name in ('cuCtxSetCurrent', 'cuMemAlloc_v2')]\n"
        "say(by_name, home(c.proc_address('cuCtxSetCurrent', 12000)[1]))"
    )

    assert frame.python(maps).said == [[["libcuda.so.1", "libvgpu.so"], "libcuda.so.1"]]


def test_a_program_that_knows_only_cugetprocaddress_is_limited(frame: Frame) -> None:
    outcome = frame.python(
        "c = Cuda(); kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)\n"
        "init = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint)(c.proc_address('cuInit', 12000)[1]); init(0); c.use(0)\n"
        "allocate = kind(c.proc_address('cuMemAlloc', 12000)[1]); p = U64()\n"
        "say(allocate(ctypes.addressof(p), 1 << 30), allocate(ctypes.addressof(p), 1))"
    )

    assert outcome.said == [[0, 2]]


def test_a_program_linked_to_the_driver_is_limited(frame: Frame, stub: Path, tmp_path: Path) -> None:
    program = compile_c(tmp_path / "linked", "linked.c", flags=[str(stub / "libcuda.so.1"), "-Wl,--allow-shlib-undefined"])

    assert frame.execute(program).said == [[0, 0, 1, 2, 0, 2]]


def test_dlvsym_finds_the_stand_in_too(frame: Frame, tmp_path: Path) -> None:
    program = compile_c(tmp_path / "frames", "frames.c", flags=["-ldl"])

    [said] = frame.execute(program, "dlvsym").said

    assert said == [True, True]


def test_the_global_scope_has_no_driver_while_none_is_loaded(frame: Frame, tmp_path: Path) -> None:
    program = compile_c(tmp_path / "frames", "frames.c", flags=["-ldl"])

    assert (
        frame.execute(program, "default").said == frame.without_interposer().execute(program, "default").said == [[False, True]]
    )


def test_a_chain_of_rtld_next_ends_where_it_would_without_us(frame: Frame, tmp_path: Path) -> None:
    flags = ["-shared", "-fPIC", "-ldl"]
    first = compile_c(tmp_path / "first.so", "chain.c", flags=[*flags, "-DNAME=1"])
    second = compile_c(tmp_path / "second.so", "chain.c", flags=[*flags, "-DNAME=2"])
    program = compile_c(tmp_path / "frames", "frames.c", flags=["-ldl"])
    for order in (
        [first, Path(frame.preload), second],
        [Path(frame.preload), first, second],
        [first, second, Path(frame.preload)],
    ):
        chained = frame.but(LD_PRELOAD=" ".join(map(str, order)))

        # 1 asks the next, which is 2, which asks the next, which is the C library's getppid
        assert chained.execute(program, "chain").said == [[12, True]], order


def test_a_missed_look_up_leaves_the_error_text_it_always_did(frame: Frame) -> None:
    program = (
        "import ctypes; l = ctypes.CDLL('libcuda.so.1'); d = ctypes.CDLL(None); d.dlerror.restype = ctypes.c_char_p\n"
        "d.dlerror(); quiet = d.dlerror(); l.cuInit\n"
        "first = d.dlerror()\n"
        "d.dlsym.restype = ctypes.c_void_p\n"
        "missed = d.dlsym(ctypes.c_void_p(l._handle), b'cuNoSuch'); text = d.dlerror()\n"
        "say(quiet, first, missed, text.decode().rsplit('/')[-1])"
    )

    assert frame.python(program).said == frame.without_interposer().python(program).said


def test_an_export_without_a_driver_answers_not_found(frame: Frame, tmp_path: Path) -> None:
    program = compile_c(tmp_path / "frames", "frames.c", flags=["-ldl"])

    assert frame.execute(program, "weak").said == [[500, 13]]


@pytest.mark.needs("strace")
@pytest.mark.parametrize("command", [["/bin/true"], [sys.executable, "-S", "-c", "import os; os.write(1, b'1')"]])
def test_a_program_without_cuda_makes_no_other_system_call_after_it_is_loaded(
    frame: Frame, command: list[str], tmp_path: Path
) -> None:
    """Compared after the loader has mapped its objects, which with us are one more."""

    def calls(which: Frame, name: str) -> list[str]:
        out = tmp_path / name
        traced = ["strace", "-o", str(out), "-E", f"LD_PRELOAD={which.preload}", *command]
        subprocess.run(traced, env=which.environment() | {"LD_PRELOAD": ""}, check=True, stdout=subprocess.DEVNULL)
        names = [line.split("(")[0] for line in out.read_text().splitlines()]
        return names[names.index("prlimit64") :] if "prlimit64" in names else names

    assert calls(frame, "with") == calls(frame.without_interposer(), "without")
