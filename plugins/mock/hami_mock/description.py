"""A machine as its TOML describes it: read, checked and resolved into frozen values. Nothing here knows the state file.

A fault names the source, the path inside it (``gpus[1].bus``), the value, and what would be right; an unknown key names the nearest known.
Memory is in MiB, clocks in MHz, power in watts.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from hami_core.errors import UserError

from hami_mock.attributes import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SCHEMA = "hami-mock/v1"
HERE = Path(__file__).parent
GPUS = 16  # the state file has room for so many
ARCHITECTURES = {"volta": 5, "turing": 6, "ampere": 7, "ada": 8, "hopper": 9, "blackwell": 10}  # NVML's numbers
BRANDS = {"tesla": 2, "nvidia": 14}  # NVML's numbers
ECC = {"none": 0, "off": 1, "on": 2}
MIG = {"none": 0, "disabled": 1}
LEVELS = {"PIX": 10, "PXB": 20, "PHB": 30, "NODE": 40, "SYS": 50}  # NVML's topology levels, in nvidia-smi's words
BUS = re.compile(r"([0-9A-Fa-f]{4,8}):([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})\.0")
UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class DescriptionError(UserError):
    """A description that cannot be meant."""

    def __init__(self, source: str, path: str, message: str) -> None:
        super().__init__(f"{source}: {path}: {message}" if path else f"{source}: {message}")
        self.source, self.path = source, path


@frozen
class Driver:
    version: str  # as nvidia-smi shows it
    nvml: str
    cuda: int  # 13000 is 13.0


@frozen
class Profile:
    """A model of GPU."""

    name: str
    arch: int
    brand: int
    pci_device: int
    pci_subsystem: int
    memory: int
    reserved: int  # of memory, never free to programs
    context: int  # what one context takes
    cores: int
    clock: int
    memory_clock: int
    power_limit: int
    power_idle: int
    temperature: int
    pcie_generation: int
    pcie_width: int
    ecc: int
    mig: int
    fan: bool
    attributes: tuple[tuple[int, int], ...]  # CUdevice_attribute, value


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
class Description:
    """A whole machine. ``levels`` and ``nvlinks`` are square, by index."""

    machine: str
    driver: Driver
    gpus: tuple[Gpu, ...]
    levels: tuple[tuple[int, ...], ...]
    nvlinks: tuple[tuple[int, ...], ...]


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
    except (OSError, UnicodeDecodeError) as error:
        raise DescriptionError(name_or_path, "", f"cannot be read: {error}") from error


def parse(text: str, source: str) -> Description:
    """The machine that a TOML text describes. Pure but for shipped profiles. Raises DescriptionError."""
    try:
        top = Table(tomllib.loads(text), source, "")
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(source, "", f"is no TOML: {error}") from error
    top.only("schema", "machine", "driver", "defaults", "profiles", "gpus", "links")
    top.choice("schema", {SCHEMA: 1})
    machine = top.text("machine", NAME)
    if machine == "host":
        raise top.fault("machine", "host: is the name of the machine without a simulation; choose another")
    profiles = _profiles(top)
    gpus = _gpus(top, machine, profiles)
    links = top.table("links", {}).only("pci", "nvlink")
    return Description(machine, _driver(top.table("driver")), gpus, _levels(links, gpus), _nvlinks(links, gpus))


def _driver(table: Table) -> Driver:
    table.only("version", "nvml", "cuda")
    return Driver(table.text("version"), table.text("nvml"), table.whole("cuda", 11000, 99990))


def _profiles(top: Table) -> Callable[[Table], Profile]:
    """The way from the table that names a profile, or the defaults, to the profile."""
    own = top.table("profiles", {})
    default = top.table("defaults", {}).only("profile")

    def find(table: Table) -> Profile:
        holder = table if "profile" in table.data else default
        name = holder.text("profile")
        return _profile(_merged(name, own, holder))

    return find


def _merged(name: str, own: Table, holder: Table) -> Table:
    """A profile's keys over those of the profile that it extends, down to the last."""
    if name in own.data:
        table = own.table(name)
    elif name in (known := _shipped_profiles()):
        table = Table(known[name], f"profile {name}", "")
    else:
        raise holder.fault("profile", f"{name}: there is no such profile{_nearest(name, [*own.data, *_shipped_profiles()])}")
    if "extends" not in table.data:
        return table
    base = table.text("extends")
    if base == name and name not in _shipped_profiles():
        raise table.fault("extends", f"{base}: a profile cannot extend itself")
    below = _merged(base, own if base != name else Table({}, own.source, own.path), table)
    attributes = {**below.data.get("attributes", {}), **table.data.get("attributes", {})}
    data = {**below.data, **table.data, "attributes": attributes}
    return Table({key: value for key, value in data.items() if key != "extends"}, table.source, table.path)


@cache
def _shipped_profiles() -> dict[str, dict[str, Any]]:
    return {path.stem: tomllib.loads(path.read_text()) for path in sorted((HERE / "profiles").glob("*.toml"))}


PROFILE_KEYS = (
    "name arch brand pci_device pci_subsystem cc memory_mib reserved_mib context_mib sm cores_per_sm clock_mhz memory_clock_mhz "
    "power_limit_w power_idle_w temperature pcie_generation pcie_width ecc mig fan attributes extends"
).split()


def _profile(table: Table) -> Profile:
    table.only(*PROFILE_KEYS)
    memory = table.whole("memory_mib", 1, 1 << 20)
    sm = table.whole("sm", 1, 1000)
    attributes = dict(_attributes(table.table("attributes", {})))
    major, minor = table.wholes("cc", 2, 0, 99)
    attributes[NUMBERS["multiprocessor_count"]] = sm
    attributes[NUMBERS["compute_capability_major"]], attributes[NUMBERS["compute_capability_minor"]] = major, minor
    return Profile(
        name=table.text("name"),
        arch=table.choice("arch", ARCHITECTURES),
        brand=table.choice("brand", BRANDS),
        pci_device=table.whole("pci_device", 0, 0xFFFFFFFF),
        pci_subsystem=table.whole("pci_subsystem", 0, 0xFFFFFFFF),
        memory=memory,
        reserved=table.whole("reserved_mib", 0, memory - 1),
        context=table.whole("context_mib", 0, memory),
        cores=sm * table.whole("cores_per_sm", 1, 1000),
        clock=table.whole("clock_mhz", 1, 10000),
        memory_clock=table.whole("memory_clock_mhz", 1, 50000),
        power_limit=table.whole("power_limit_w", 1, 10000),
        power_idle=table.whole("power_idle_w", 0, 10000),
        temperature=table.whole("temperature", 0, 150),
        pcie_generation=table.whole("pcie_generation", 1, 9),
        pcie_width=table.whole("pcie_width", 1, 32),
        ecc=table.choice("ecc", ECC),
        mig=table.choice("mig", MIG),
        fan=table.flag("fan"),
        attributes=tuple(sorted(attributes.items())),
    )


def _attributes(table: Table) -> Iterator[tuple[int, int]]:
    table.only(*NUMBERS)
    for name in table.data:
        yield NUMBERS[name], table.whole(name, 0, 2**31 - 1)


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
    """Who meets where on PCIe: as listed, else at the NUMA node if that is one, else across the system."""
    named = {(a, b): level for a, b, level in links.pairs("pci", len(gpus), LEVELS)}

    def level(a: Gpu, b: Gpu) -> int:
        if a.index == b.index:
            return 0
        near = LEVELS["NODE"] if a.numa == b.numa != -1 else LEVELS["SYS"]
        return named.get((min(a.index, b.index), max(a.index, b.index)), near)

    return tuple(tuple(level(a, b) for b in gpus) for a in gpus)


def _nvlinks(links: Table, gpus: tuple[Gpu, ...]) -> tuple[tuple[int, ...], ...]:
    table = links.table("nvlink", {}).only("all_to_all", "pairs")
    everywhere = table.whole("all_to_all", 0, 36, 0)
    named = {(a, b): count for a, b, count in table.pairs("pairs", len(gpus), None)}

    def count(a: int, b: int) -> int:
        return 0 if a == b else named.get((min(a, b), max(a, b)), everywhere)

    return tuple(tuple(count(a.index, b.index) for b in gpus) for a in gpus)


def _nearest(word: str, known: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"


class Table:
    """A TOML table that knows where it stands; every accessor checks and says what would be right."""

    def __init__(self, data: Mapping[str, Any], source: str, path: str) -> None:
        self.data, self.source, self.path = data, source, path

    def fault(self, key: str, message: str) -> DescriptionError:
        return DescriptionError(self.source, f"{self.path}.{key}" if self.path else key, message)

    def only(self, *known: str) -> Table:
        for key in self.data:
            if key not in known:
                raise self.fault(key, f"is no key of this table{_nearest(key, list(known))}")
        return self

    def get(self, key: str, kind: type, words: str, default: object = None) -> Any:
        value = self.data.get(key, default)
        if value is None:
            raise self.fault(key, f"is missing: {words}")
        if type(value) is not kind:  # bool is an int to isinstance
            raise self.fault(key, f"{value!r}: should be {words}")
        return value

    def table(self, key: str, default: dict[str, Any] | None = None) -> Table:
        return Table(self.get(key, dict, "a table", default), self.source, f"{self.path}.{key}" if self.path else key)

    def tables(self, key: str) -> list[Table]:
        found = self.get(key, list, "a list of tables", [])
        for number, entry in enumerate(found):
            if not isinstance(entry, dict):
                raise self.fault(f"{key}[{number}]", f"{entry!r}: should be a table")
        return [Table(entry, self.source, f"{key}[{number}]") for number, entry in enumerate(found)]

    def text(self, key: str, pattern: re.Pattern[str] | None = None, default: str | None = None) -> str:
        value: str = self.get(key, str, "text", default)
        if pattern and not pattern.fullmatch(value):
            raise self.fault(key, f"{value!r}: should look like {pattern.pattern}")
        return value

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value: int = self.get(key, int, f"a whole number from {low} to {high}", default)
        if not low <= value <= high:
            raise self.fault(key, f"{value}: should be a whole number from {low} to {high}")
        return value

    def wholes(self, key: str, count: int, low: int, high: int) -> list[int]:
        value: list[Any] = self.get(key, list, f"{count} whole numbers")
        if len(value) != count or any(type(each) is not int or not low <= each <= high for each in value):
            raise self.fault(key, f"{value!r}: should be {count} whole numbers from {low} to {high}")
        return value

    def flag(self, key: str) -> bool:
        value: bool = self.get(key, bool, "true or false")
        return value

    def choice(self, key: str, words: Mapping[str, int]) -> int:
        value = self.get(key, str, f"one of {', '.join(words)}")
        if value not in words:
            raise self.fault(key, f"{value!r}: should be one of {', '.join(words)}")
        return words[value]

    def pairs(self, key: str, gpus: int, words: Mapping[str, int] | None) -> Iterator[tuple[int, int, int]]:
        """Entries [first, second, what], with first < second; ``what`` is one of WORDS, or a count of links."""
        for number, entry in enumerate(self.get(key, list, "a list of [GPU, GPU, ...]", [])):
            item = f"{key}[{number}]"
            if not isinstance(entry, list) or len(entry) != 3 or not all(type(gpu) is int and 0 <= gpu < gpus for gpu in entry[:2]):
                raise self.fault(item, f"{entry!r}: should be two GPUs by index, and what joins them")
            first, second, what = entry
            if first == second:
                raise self.fault(item, f"{entry!r}: a GPU is not joined with itself")
            if words is None and (type(what) is not int or not 0 <= what <= 36):
                raise self.fault(item, f"{what!r}: should be a number of links from 0 to 36")
            if words is not None and what not in words:
                raise self.fault(item, f"{what!r}: should be one of {', '.join(words)}")
            yield min(first, second), max(first, second), what if words is None else words[what]
