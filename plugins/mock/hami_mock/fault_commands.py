"""``hami mock fault``, ``xid``, ``lose`` and ``restore``: what is to go wrong on a simulated machine, and what has.

None of these commands asks a driver: that may be what hangs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from hami_core.cli.output import Table, output, show, show_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.cli.session import Session
    from hami_mock.script import Health, ScriptedFault


@click.command()
@output
@click.argument("gpu")
@click.argument("code", type=click.IntRange(1, 10**6))
@click.pass_obj
def xid(session: Session, gpu: str, code: int, output: str) -> None:
    """Report an Xid of a GPU.

    GPU is its index or UUID. Whoever is registered for its events sees CODE once.
    """
    _report(output, _add(session, {"kind": "xid", "gpu": _index(session, gpu), "code": code}))


@click.command()
@output
@click.argument("gpu")
@click.pass_obj
def lose(session: Session, gpu: str, output: str) -> None:
    """Take a GPU off the bus.

    GPU is its index or UUID. Xid 79, and "GPU is lost" from every call about it, until it is restored.
    """
    _report(output, _add(session, {"kind": "lost", "gpu": _index(session, gpu)}))


@click.command()
@output
@click.argument("gpu")
@click.pass_obj
def restore(session: Session, gpu: str, output: str) -> None:
    """Make a GPU well again.

    GPU is its index or UUID. It is back on the bus, wants no reset, and its error counters are at zero.
    """
    from hami_mock import script

    folder, index = folder_of(session), _index(session, gpu)
    script.restore(folder, index)
    if output == "json":
        show_json({"restored": index})
        return
    click.echo(f"GPU {index} is well")


@click.group()
def fault() -> None:
    """Script what is to go wrong."""


@fault.command("list")
@output
@click.pass_obj
def list_(session: Session, output: str) -> None:
    """Show the faults of the machine, and the GPUs that are not well."""
    from hami_mock import script

    found = script.read(folder_of(session))
    if output == "json":
        show_json(asdict(found))
        return
    show(_faults(found.faults))
    if sick := [one for one in found.health if one.is_notable]:
        show(_health(sick))


@fault.command()
@output
@click.argument("kind")
@click.option("--gpu", help="The GPU it is about, by index or UUID; for calls: any, if left out.")
@click.option("--call", help="The functions that it meets, such as 'nvmlDeviceGetMemoryInfo*'; none: it comes by the clock.")
@click.option("--nth", type=int, help="From the n-th such call on.")
@click.option("--times", type=int, help="For so many calls.")
@click.option("--after-mib", type=int, help="Only while programs hold more than so many MiB.")
@click.option("--in", "at", help="Not before so much time has passed, such as 5s or 250ms.")
@click.option("--code", type=int, help="error: what the call answers; xid: its number.")
@click.option("--ms", type=int, help="slow, driver_reload: how long.")
@click.option("--jitter", type=int, help="slow: milliseconds more or less, at random.")
@click.option("--corrected", type=int, help="ecc: errors of this sort.")
@click.option("--uncorrected", type=int, help="ecc: errors of this sort.")
@click.option("--xid", type=int, help="ecc: the Xid that comes with them; 0: none.")
@click.pass_obj
def add(session: Session, /, kind: str, output: str, **options: Any) -> None:
    """Arm one more fault of KIND: xid, lost, error, slow, hang, ecc, driver_reload, reset_required or in_use.

    The options are the keys of a description's [[faults]] (docs/simulated.md).
    """
    said = {key: value for key, value in options.items() if value is not None}
    when = {key: said.pop(key) for key in ("call", "nth", "after_mib") if key in said}
    if "gpu" in said:
        said["gpu"] = _index(session, said["gpu"])
    _report(output, _add(session, {"kind": kind, **said, **({"when": when} if when else {})}))


@fault.command()
@output
@click.argument("numbers", nargs=-1, type=click.IntRange(0), metavar="[NUMBER]...")
@click.pass_obj
def release(session: Session, numbers: tuple[int, ...], output: str) -> None:
    """Let calls that hang go on, and faults of these NUMBERS happen no more; without numbers every hang."""
    from hami_mock import script

    folder = folder_of(session)
    chosen = numbers or [one.number for one in script.read(folder).faults if one.kind == "hang" and one.state == "armed"]
    for number in chosen:
        script.release(folder, number)
    _report_changed(output, "released", chosen)


@fault.command()
@output
@click.argument("numbers", nargs=-1, type=click.IntRange(0), metavar="[NUMBER]...")
@click.pass_obj
def clear(session: Session, numbers: tuple[int, ...], output: str) -> None:
    """Forget the faults of these NUMBERS, or all. What they have broken stays so: see restore."""
    from hami_mock import script

    folder = folder_of(session)
    chosen = numbers or [one.number for one in script.read(folder).faults]
    for number in chosen:
        script.clear(folder, number)
    _report_changed(output, "cleared", chosen)


@fault.command()
@output
@click.pass_obj
def rearm(session: Session, output: str) -> None:
    """Start the machine's clock anew, with its description's faults and well GPUs."""
    from hami_mock import script

    folder = folder_of(session)
    script.rearm(folder)
    _report_changed(output, "armed", [one.number for one in script.read(folder).faults])


def folder_of(session: Session, why: str = "faults happen on simulated machines only") -> Path:
    """Of the machine that was asked for, which is made if it is not there. Asks no driver: that may be what hangs."""
    from hami_core.local import state
    from hami_mock import plugin

    if session.machine is None:
        raise click.UsageError(f"{why}: name one by --machine, for example t4-node")
    found = plugin.hami_machine(session.machine, state.root())
    if found is None:
        raise click.UsageError(f'machine "{session.machine}": is none of hami-mock (`hami mock machines` lists them)')
    return Path(found.folder)


def _index(session: Session, gpu: str) -> int:
    from hami_mock.script import uuids

    there = uuids(folder_of(session))
    if gpu in there:
        return there.index(gpu)
    if gpu.isdecimal() and int(gpu) < len(there):
        return int(gpu)
    raise click.UsageError(f"GPU {gpu}: the machine has no such GPU; name one by index (0 to {len(there) - 1}) or UUID")


def _add(session: Session, said: dict[str, Any]) -> ScriptedFault:
    from hami_mock import script

    folder = folder_of(session)
    number = script.add(folder, said)
    return next(one for one in script.read(folder).faults if one.number == number)


def _report(output: str, made: ScriptedFault) -> None:
    if output == "json":
        show_json({"fault": asdict(made)})
        return
    show(_faults([made]))


def _report_changed(output: str, word: str, numbers: Sequence[int]) -> None:
    if output == "json":
        show_json({word: list(numbers)})
        return
    click.echo(f"{word}: {', '.join(map(str, numbers)) or 'none'}")


def _faults(found: Sequence[ScriptedFault]) -> Table:
    columns = [("NUMBER", "right"), ("KIND", "left"), ("GPU", "left"), ("WHAT", "left"), ("WHEN", "left")]
    columns += [("CALLS", "right"), ("FIRED", "right"), ("STATE", "left")]
    rows = [
        (str(one.number), one.kind, one.about, one.what, one.when, str(one.seen), str(one.fired), one.state) for one in found
    ]
    return Table(columns, rows, title="faults")


def _health(sick: Sequence[Health]) -> Table:
    columns = [("#", "right"), ("DEVICE", "left"), ("STATE", "left"), ("LAST XID", "right")]
    columns += [("CORRECTED", "right"), ("UNCORRECTED", "right")]
    rows = [
        (str(one.index), one.uuid, one.state, str(one.last_xid or "-"), str(one.corrected), str(one.uncorrected))
        for one in sick
    ]
    return Table(columns, rows, title="GPUs with something to tell")


COMMANDS = (xid, lose, restore, fault)
