"""A machine as its TOML describes it: read, checked and resolved into frozen values. Nothing here knows the state file.

A fault names the source, the path inside it (``gpus[1].bus``), the value, and what would be right; for an unknown key
the nearest known one.
Memory is in MiB, clocks in MHz, power in watts.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from hami_mock import faults
from hami_mock.drivers import functions
from hami_mock.profiles import finder
from hami_mock.toml_table import DescriptionError, Table, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_mock.faults import Fault
    from hami_mock.profiles import Profile

SCHEMA = "hami-mock/v1"
HERE = Path(__file__).parent
GPUS = 16  # the state file has room for so many
GHOSTS = 32  # the same
KERNELS, KERNEL_NAME = 64, 119  # the same; bytes
LEVELS = {"PIX": 10, "PXB": 20, "PHB": 30, "NODE": 40, "SYS": 50}  # NVML's topology levels, in nvidia-smi's words
BUS = re.compile(r"([0-9A-Fa-f]{4,8}):([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})\.0")
UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@frozen
class Driver:
    version: str  # as nvidia-smi shows it
    nvml: str
    cuda: int  # 13000 is 13.0
    missing: tuple[str, ...] = ()  # functions of the simulated drivers that this release lacks


@frozen
class Gpu:
    """One GPU in its place."""

    index: int
    minor: int
    uuid: str
    serial: str
    domain: int
    bus: int
    slot: int
    numa: int  # -1: unknown
    profile: Profile


@frozen
class Time:
    """How fast the machine's clock goes, and how long its kernels take on it, in nanoseconds."""

    scale: int  # millionths: how long a second of the machine really takes
    kernel: int  # of every kernel that is not named
    kernels: tuple[tuple[str, int], ...]


@frozen
class Ghost:
    """Load of no real process."""

    gpu: int
    memory: int
    pid: int  # 0: memory without a process
    sm: int  # percent of the GPU's time


@frozen
class Description:
    """A whole machine. ``levels`` and ``nvlinks`` are square, by index."""

    machine: str
    driver: Driver
    gpus: tuple[Gpu, ...]
    levels: tuple[tuple[int, ...], ...]
    nvlinks: tuple[tuple[int, ...], ...]
    switches: int  # that the links lead to, all to all; 0: they lead to the other GPU
    fabric_clique: int  # 0: no fabric between machines
    ghosts: tuple[Ghost, ...]
    faults: tuple[Fault, ...]
    seed: int
    time: Time

    @property
    def models(self) -> tuple[tuple[str, int, int], ...]:
        """(name, MiB, how many), in the order of their first GPU."""
        counts = Counter((gpu.profile.name, gpu.profile.memory) for gpu in self.gpus)
        return tuple((name, memory, number) for (name, memory), number in counts.items())

    @property
    def joint(self) -> str:
        """What joins its GPUs best, in nvidia-smi's words: NV12 is 12 NVLinks."""
        links = max((count for row in self.nvlinks for count in row), default=0)
        return f"NV{links}" if links else "PCIe" if len(self.gpus) > 1 else "-"


def shipped() -> tuple[str, ...]:
    """The names of the machines that come with this package."""
    return tuple(sorted(path.stem for path in (HERE / "machines").glob("*.toml")))


def load(name_or_path: str) -> Description:
    """The description of a shipped machine by name, or of any TOML file by path. Raises DescriptionError."""
    if name_or_path in shipped():
        return parse((HERE / "machines" / f"{name_or_path}.toml").read_text(), name_or_path)
    path = Path(name_or_path)
    if path.suffix != ".toml" and "/" not in name_or_path:
        raise DescriptionError(name_or_path, "", f"no such machine; there are {', '.join(shipped())}, or give a .toml file")
    try:
        return parse(path.read_text(), name_or_path)
    except OSError as error:
        raise DescriptionError(name_or_path, "", f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DescriptionError(name_or_path, "", f"is no UTF-8 text: {error.reason} at byte {error.start}") from error


def parse(text: str, source: str) -> Description:
    """The machine that a TOML text describes. Pure but for shipped profiles. Raises DescriptionError."""
    try:
        top = Table(tomllib.loads(text), source, "")
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(source, "", f"is no TOML: {error}") from error
    top.only("schema", "machine", "seed", "driver", "time", "defaults", "profiles", "gpus", "links", "ghosts", "faults")
    top.choice("schema", {SCHEMA: 1})
    machine = top.text("machine", NAME)
    if machine == "host":
        raise top.fault("machine", "host: is the name of the machine without a simulation; choose another")
    profile_of = finder(top.table("profiles", {}), top.table("defaults", {}).only("profile"))
    gpus = _gpus(top, machine, profile_of)
    links = top.table("links", {}).only("pci", "nvlink", "fabric_clique")
    return Description(
        machine=machine,
        driver=_driver(top.table("driver")),
        gpus=gpus,
        levels=_levels(links, gpus),
        nvlinks=_nvlinks(links, gpus),
        switches=_switches(links),
        fabric_clique=links.whole("fabric_clique", 0, 2**31 - 1, 0),
        ghosts=_ghosts(top, gpus),
        faults=_faults(top, gpus),
        seed=top.whole("seed", 0, 2**63 - 1, 0),
        time=_time(top.table("time", {}).only("scale", "kernel", "kernels")),
    )


def _driver(table: Table) -> Driver:
    table.only("version", "nvml", "cuda", "missing")
    missing = table.texts("missing", [])
    for number, name in enumerate(missing):
        if name not in functions():
            raise table.fault(f"missing[{number}]", f"{name}: the drivers have no such function{nearest(name, functions())}")
    return Driver(table.text("version"), table.text("nvml"), table.whole("cuda", 11000, 99990), tuple(missing))


def _time(table: Table) -> Time:
    named = table.table("kernels", {})
    if len(named.data) > KERNELS:
        raise table.fault("kernels", f"{len(named.data)} names: a machine has room for {KERNELS}")
    if long := next((name for name in named.data if len(name.encode()) > KERNEL_NAME), None):
        raise named.fault(long, f"is longer than {KERNEL_NAME} bytes")
    return Time(
        scale=round(table.number("scale", 0.001, 1000, 1) * 1_000_000),
        kernel=table.duration("kernel", 0),
        kernels=tuple((name, named.duration(name, 0)) for name in named.data),
    )


def _ghosts(top: Table, gpus: tuple[Gpu, ...]) -> tuple[Ghost, ...]:
    tables = top.tables("ghosts")
    if len(tables) > GHOSTS:
        raise top.fault("ghosts", f"{len(tables)} ghosts: a machine has at most {GHOSTS}")
    ghosts = tuple(_ghost(table, gpus) for table in tables)
    for gpu in gpus:
        held = sum(ghost.memory for ghost in ghosts if ghost.gpu == gpu.index)
        free = gpu.profile.memory - gpu.profile.reserved
        if held > free:
            raise top.fault("ghosts", f"they hold {held} MiB of GPU {gpu.index}, which has {free}")
    return ghosts


def _ghost(table: Table, gpus: tuple[Gpu, ...]) -> Ghost:
    table.only("gpu", "mib", "pid", "sm")
    gpu = table.whole("gpu", 0, len(gpus) - 1)
    return Ghost(gpu, table.whole("mib", 0, 1 << 20), table.whole("pid", 0, 2**22, 0), table.whole("sm", 0, 100, 0))


def _faults(top: Table, gpus: tuple[Gpu, ...]) -> tuple[Fault, ...]:
    tables = top.tables("faults")
    if len(tables) > faults.MOST:
        raise top.fault("faults", f"{len(tables)} faults: a description has at most {faults.MOST}")
    return tuple(faults.parse(table, len(gpus), functions()) for table in tables)


def _gpus(top: Table, machine: str, profile_of: Callable[[Table], Profile]) -> tuple[Gpu, ...]:
    tables = top.tables("gpus")
    if len(tables) > GPUS:
        raise top.fault("gpus", f"{len(tables)} GPUs: a machine has at most {GPUS}")
    gpus = tuple(_gpu(table, number, machine, profile_of(table)) for number, table in enumerate(tables))
    for key in ("minor", "uuid", "place"):
        _refuse_twins(top, gpus, key)
    return gpus


def _gpu(table: Table, number: int, machine: str, profile: Profile) -> Gpu:
    table.only("index", "minor", "uuid", "serial", "bus", "numa", "profile")
    index = table.whole("index", 0, GPUS - 1)
    if index != number:
        raise table.fault("index", f"{index}: the GPUs are listed by index, and this is number {number}")
    bus = BUS.fullmatch(table.text("bus", BUS))
    assert bus
    return Gpu(
        index=index,
        minor=table.whole("minor", 0, 255, index),
        uuid=table.text("uuid", UUID, default_uuid(machine, index)),
        serial=table.text("serial", default=""),
        domain=int(bus[1], 16),
        bus=int(bus[2], 16),
        slot=int(bus[3], 16),
        numa=table.whole("numa", -1, 1023, -1),
        profile=profile,
    )


def _refuse_twins(top: Table, gpus: tuple[Gpu, ...], key: str) -> None:
    seen: dict[object, int] = {}
    for gpu in gpus:
        value = (gpu.domain, gpu.bus, gpu.slot) if key == "place" else getattr(gpu, key)
        if value in seen:
            path = "bus" if key == "place" else key
            raise top.fault(f"gpus[{gpu.index}].{path}", f"is that of gpus[{seen[value]}] already")
        seen[value] = gpu.index


def default_uuid(machine: str, index: int) -> str:
    """The same for the same machine and index, everywhere."""
    text = hashlib.sha256(f"{machine}/{index}".encode()).hexdigest()
    return f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def _levels(links: Table, gpus: tuple[Gpu, ...]) -> tuple[tuple[int, ...], ...]:
    """Who meets where on PCIe: as listed; else on their bus or in their NUMA node, if that is one; else across the system."""
    named = {(a, b): level for a, b, level in links.pairs("pci", len(gpus), LEVELS)}

    def level(a: Gpu, b: Gpu) -> int:
        if a.index == b.index:
            return 0
        near = LEVELS["NODE"] if a.numa == b.numa != -1 else LEVELS["SYS"]
        if (a.domain, a.bus) == (b.domain, b.bus):
            near = LEVELS["PIX"]
        return named.get((min(a.index, b.index), max(a.index, b.index)), near)

    return tuple(tuple(level(a, b) for b in gpus) for a in gpus)


def _switches(links: Table) -> int:
    """Links from all to all go through a switch, if it is not said that they do not; those of pairs are cables."""
    table = links.table("nvlink", {})
    return table.whole("switches", 0, 18, int("all_to_all" in table.data))


def _nvlinks(links: Table, gpus: tuple[Gpu, ...]) -> tuple[tuple[int, ...], ...]:
    table = links.table("nvlink", {}).only("all_to_all", "switches", "pairs")
    everywhere = table.whole("all_to_all", 0, 36, 0)
    named = {(a, b): count for a, b, count in table.pairs("pairs", len(gpus), None)}

    def count(a: int, b: int) -> int:
        return 0 if a == b else named.get((min(a, b), max(a, b)), everywhere)

    return tuple(tuple(count(a.index, b.index) for b in gpus) for a in gpus)
