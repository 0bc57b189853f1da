"""Models of GPU: what a profile's keys mean, and how one extends another. Shipped ones lie in profiles/."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_mock.attributes import NUMBERS
from hami_mock.toml_table import Table, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parent / "profiles"
ARCHITECTURES = {"volta": 5, "turing": 6, "ampere": 7, "ada": 8, "hopper": 9, "blackwell": 10}  # NVML's numbers
BRANDS = {"tesla": 2, "nvidia-rtx": 13, "nvidia": 14}  # NVML's numbers
ECC = {"none": 0, "off": 1, "on": 2}
MIG = {"none": 0, "disabled": 1}
NVLINK = {"none": 0, "2.0": 2, "3.0": 4, "4.0": 6, "5.0": 7}  # NVML's numbers of versions
NVLINK_MBPS = {0: 0, 2: 25781, 4: 25000, 6: 26562, 7: 53125}  # MB/s of one link, one way


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
    nvlink: int  # version; 0: none
    unified: bool  # memory is the host's, and NVML does not answer for it
    attributes: tuple[tuple[int, int], ...]  # CUdevice_attribute, value


def finder(own: Table, default: Table) -> Callable[[Table], Profile]:
    """The way from a table that may name a ``profile`` to that profile; DEFAULT names it for those that do not."""

    def find(table: Table) -> Profile:
        holder = table if "profile" in table.data else default
        return _profile(_merged(holder, "profile", own, ()))

    return find


def _merged(holder: Table, key: str, own: Table, seen: tuple[str, ...]) -> Table:
    """The profile that HOLDER names, its keys over those of the one that it extends, down to the last.

    A description's own profile goes before a shipped one of its name, and may extend that.
    """
    name = holder.text(key)
    table = _look_up(name, own, seen)
    if table is None:
        reason = f"this profile extends itself by way of {', '.join(seen)}" if name in seen else "there is no such profile"
        raise holder.fault(key, f"{name}: {reason}{nearest(name, {*own.data, *_shipped()}) if name not in seen else ''}")
    if "extends" not in table.data:
        return table
    below = _merged(table, "extends", own, (*seen, name))
    attributes = {**below.table("attributes", {}).data, **table.table("attributes", {}).data}
    return Table({**below.data, **table.data, "attributes": attributes}, table.source, table.path)


def _look_up(name: str, own: Table, seen: tuple[str, ...]) -> Table | None:
    if name in own.data and name not in seen:
        return own.table(name)
    if name in _shipped() and seen.count(name) <= (name in own.data):
        return Table(_shipped()[name], f"profile {name}", "")
    return None


@cache
def _shipped() -> dict[str, dict[str, Any]]:
    return {path.stem: tomllib.loads(path.read_text()) for path in sorted(FOLDER.glob("*.toml"))}


KEYS = (
    "name arch brand pci_device pci_subsystem cc memory_mib reserved_mib context_mib sm cores_per_sm clock_mhz "
    "memory_clock_mhz power_limit_w power_idle_w temperature pcie_generation pcie_width ecc mig fan nvlink unified "
    "attributes extends"
).split()


def _profile(table: Table) -> Profile:
    table.only(*KEYS)
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
        nvlink=table.choice("nvlink", NVLINK),
        unified=table.flag("unified"),
        attributes=tuple(sorted(attributes.items())),
    )


def _attributes(table: Table) -> Iterator[tuple[int, int]]:
    table.only(*NUMBERS)
    for name in table.data:
        yield NUMBERS[name], table.whole(name, 0, 2**31 - 1)
