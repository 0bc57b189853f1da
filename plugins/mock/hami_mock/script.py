"""What is to go wrong on an installed machine, and what has: faults added, released, listed; GPUs that are not well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_mock import faults, state
from hami_mock.drivers import functions
from hami_mock.toml_table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SOURCE = "hami mock"
STAGES = {1: "armed", 2: "done"}
KINDS = {number: kind for kind, number in reversed(faults.KINDS.items())}
LOST, RESET_WANTED = 1, 2
SECOND = 10**9
MILLISECOND = 10**6


@frozen
class ScriptedFault:
    """One fault of a machine. Its texts are for people; ``state`` is "armed" or "done"."""

    number: int
    kind: str
    gpu: int | None  # None: any
    what: str
    when: str
    state: str
    seen: int  # matching calls
    fired: int
    delayed: int  # nanoseconds of the machine's clock that slow calls waited

    @property
    def about(self) -> str:
        return "any" if self.gpu is None else str(self.gpu)


@frozen
class Health:
    """What is wrong, or was, with one GPU. ``state`` is "well", "lost" or "reset wanted"."""

    index: int
    uuid: str
    state: str
    last_xid: int  # 0: none
    corrected: int  # memory errors
    uncorrected: int

    @property
    def is_notable(self) -> bool:
        return self.state != "well" or bool(self.last_xid or self.corrected or self.uncorrected)


@frozen
class Script:
    faults: tuple[ScriptedFault, ...]
    health: tuple[Health, ...]


def read(folder: Path) -> Script:
    """The faults of the machine in FOLDER and the health of its GPUs, once what is due has happened. Raises StateError."""
    path = folder / "state"
    facts = state.read_facts(path)
    statuses, health = state.read_faults(path)
    return Script(
        faults=tuple(_fault(one) for one in statuses),
        health=tuple(_health(index, facts.chip[index], health[index]) for index in range(facts.chips)),
    )


def add(folder: Path, said: Mapping[str, Any]) -> int:
    """Arm the fault that a table like a description's ``[[faults]]`` says; ``at`` counts from now. Its number.

    Raises DescriptionError; StateError.
    """
    path = folder / "state"
    gpus = state.read_facts(path).chips
    return state.add_fault(path, faults.parse(Table(said, SOURCE, ""), gpus, functions()))


def release(folder: Path, number: int) -> None:
    """Calls that hang in this fault go on, and it happens no more. Raises StateError."""
    state.release_fault(folder / "state", number)


def clear(folder: Path, number: int) -> None:
    """Release it, and forget it. Raises StateError."""
    state.remove_fault(folder / "state", number)


def restore(folder: Path, gpu: int) -> None:
    """Make a GPU well. Raises StateError."""
    state.restore(folder / "state", gpu)


def rearm(folder: Path) -> None:
    """The machine's clock at zero, with its description's faults and well GPUs. Raises StateError."""
    state.rearm(folder / "state")


def uuids(folder: Path) -> tuple[str, ...]:
    """By index. Raises StateError."""
    facts = state.read_facts(folder / "state")
    return tuple(state.uuid_of(facts.chip[index]) for index in range(facts.chips))


def _fault(status: Any) -> ScriptedFault:
    fault = status.fault
    kind = KINDS[fault.kind]
    return ScriptedFault(
        number=status.place,
        kind=kind,
        gpu=None if fault.gpu < 0 else fault.gpu,
        what=_what(kind, fault),
        when=_when(fault),
        state=STAGES[status.stage],
        seen=status.seen,
        fired=status.fired,
        delayed=status.delayed_ns,
    )


def _what(kind: str, fault: Any) -> str:
    """The kind's own numbers in words."""
    if kind in {"error", "xid"}:
        return f"code {fault.code}"
    if kind in {"slow", "driver_reload"}:
        jitter = f" +- {fault.jitter_ns // MILLISECOND}" if fault.jitter_ns else ""
        return f"{fault.duration_ns // MILLISECOND}{jitter} ms"
    if kind == "ecc":
        return f"{fault.corrected} corrected, {fault.uncorrected} uncorrected{f', Xid {fault.code}' if fault.code else ''}"
    return ""


def _when(fault: Any) -> str:
    parts = []
    if call := state.text(fault.call):
        last = f" to {fault.nth + fault.times - 1}" if fault.times > 1 else "" if fault.times else " and on"
        parts.append(f"{call} {fault.nth}{last}")
    if fault.at_ns or not parts:
        parts.append(f"from {fault.at_ns / SECOND:.3f} s")
    if fault.after_bytes:
        parts.append(f"above {fault.after_bytes // state.MIB} MiB")
    return ", ".join(parts)


def _health(index: int, chip: Any, health: Any) -> Health:
    return Health(
        index=index,
        uuid=state.uuid_of(chip),
        state="lost" if health.condition & LOST else "reset wanted" if health.condition & RESET_WANTED else "well",
        last_xid=health.last_xid,
        corrected=health.corrected,
        uncorrected=health.uncorrected,
    )
