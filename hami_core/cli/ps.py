"""``hami ps``: who holds what on this machine, by process, and who waits for it; once, or again and again."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from hami_core.cli.output import Table, output, plain, show, show_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hami_core.cli.session import Session
    from hami_core.local.host import Host
    from hami_core.local.view import DeviceTotal, HoldingView, ProcessView, Ps, ShareView

MIB = 1 << 20
SHARES = (
    ("POD", "left"),
    ("CONTAINER", "left"),
    ("DEVICE", "left"),
    ("CHARGED", "right"),
    ("DRIVER", "right"),
    ("LIMIT MiB", "right"),
    ("CORES", "right"),
    ("STATE", "left"),
    ("AGE", "right"),
)
PROCESSES = (
    ("PID", "left"),
    ("POD", "left"),
    ("CONTAINER", "left"),
    ("DEVICE", "left"),
    ("CHARGED", "right"),
    ("DRIVER", "right"),
    ("COMMAND", "left"),
)
TOTALS = (
    ("#", "right"),
    ("MODEL", "left"),
    ("TASKS", "right"),
    ("GRANTED MiB", "right"),
    ("DRIVER MiB", "right"),
    ("OF", "right"),
    ("BUSY", "right"),
)
QUEUE = (("#", "right"), ("WAITS", "left"), ("AGE", "right"), ("WHY", "left"))


@click.command()
@click.option("-w", "--watch", is_flag=True, help="Again and again, until Ctrl-C; with -o json a line each time.")
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=2.0, show_default=True, metavar="SECONDS", help="Between two looks."
)
@output
@click.pass_obj
def ps(session: Session, watch: bool, interval: float, output: str) -> int | None:
    """Show who holds which share, by process, and who waits.

    DEVICE is the kind and the number that `hami devices` shows. CHARGED is what enforcement counts against the LIMIT, DRIVER
    what the driver counts, with what it needs for itself, both in MiB. A waiting pod's # is its place among those who want the
    same.
    """
    session.soon("hami_core.local.view")
    host = session.host
    if watch:
        return _watch(host, interval, output)
    from hami_core.local import view

    found = view.ps(host)
    if output == "json":
        show_json({"machine": host.name, **asdict(found)})
        return None
    if found.holdings or found.waiting:
        show(*_tables(host, found))
    elif not found.faults:
        click.echo(_nobody(host))
    for sentence in _sentences(found):
        click.echo(sentence)
    for fault in found.faults:
        click.echo(f"hami: {fault}", err=True)
    return None


# --- Again and again. -------------------------------------------------------------------------------------------------


def _watch(host: Host, interval: float, output: str) -> int:
    """Until Ctrl-C, which is the way to end it and no failure, or until our reader has gone."""
    try:
        if output == "json":
            for found in _looks(host, interval):
                show_json({"time": round(time.time(), 3), "machine": host.name, **asdict(found)}, one_line=True)
        elif _is_screen():
            _on_a_screen(host, interval)
        else:
            for number, found in enumerate(_looks(host, interval)):
                _one_after_another(host, found, number)
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    return 0


def _looks(host: Host, interval: float) -> Iterator[Ps]:
    from hami_core.local import view

    while True:
        began = time.monotonic()
        yield view.ps(host)
        time.sleep(max(began + interval - time.monotonic(), 0))


def _is_screen() -> bool:
    """Whether pictures can be drawn over one another: a terminal that knows how."""
    from rich.console import Console

    return sys.stdout.isatty() and not Console().is_dumb_terminal


def _on_a_screen(host: Host, interval: float) -> None:
    """On the terminal's other screen; what was on the first is there again in the end."""
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), screen=True, auto_refresh=False, transient=True) as live:
        for found in _looks(host, interval):
            live.update(_picture(host, found), refresh=True)


def _picture(host: Host, found: Ps) -> Any:
    from rich.console import Group
    from rich.text import Text

    clock = time.strftime("%H:%M:%S")
    totals = Table(TOTALS, [_total(one) for one in found.devices], title=f"machine {host.name}  {clock}")
    parts: list[Any] = []
    for one in (totals, *_tables(host, found, titled=False)):
        parts += [one.drawn(), Text("")]
    if not found.holdings:
        parts.append(Text(_nobody(host)))
    parts += [Text(sentence) for sentence in (*_sentences(found), *(f"hami: {fault}" for fault in found.faults))]
    return Group(*parts)


def _one_after_another(host: Host, found: Ps, number: int) -> None:
    if number:
        click.echo()
    clock = time.strftime("%H:%M:%S")
    show(Table(TOTALS, [_total(one) for one in found.devices], title=f"machine {host.name}  {clock}"))
    show(*_tables(host, found, titled=False))
    for sentence in _sentences(found):
        click.echo(sentence)
    for fault in found.faults:
        click.echo(f"hami: {fault}", err=True)
    sys.stdout.flush()


# --- Tables. ----------------------------------------------------------------------------------------------------------


def _tables(host: Host, found: Ps, titled: bool = True) -> list[Table]:
    """The shares, their processes and the queue, each if there are any."""
    devices = {one.device: f"{one.kind} {one.index}" for one in found.devices}
    shares = [_share(holding, share, devices) for holding in found.holdings for share in holding.shares]
    processes = [
        _process(holding, share, process, devices)
        for holding in found.holdings
        for share in holding.shares
        for process in share.processes
    ]
    queue: list[tuple[str, ...]] = [(str(one.position), one.name, _age(one.age_s), one.why) for one in found.waiting]
    made: list[tuple[Sequence[tuple[str, str]], list[tuple[str, ...]]]]
    made = [(SHARES, shares), (PROCESSES, processes), (QUEUE, queue)]
    title = f"machine {host.name}" if titled else ""
    tables = []
    for columns, rows in made:
        if rows:
            tables.append(Table(columns, rows, title=title, cut="COMMAND"))
            title = ""
    return tables


def _nobody(host: Host) -> str:
    return f"nobody holds anything on the machine {host.name}"


def _sentences(found: Ps) -> Iterator[str]:
    for holding in found.holdings:
        if not holding.owner_is_running:
            yield f"{holding.name}: its hami has ended; it holds its shares until its processes have ended, or `hami stop`"


def _share(holding: HoldingView, share: ShareView, devices: Mapping[str, str]) -> tuple[str, ...]:
    return (
        holding.name,
        share.container,
        devices.get(share.device, f"{share.kind} {share.device}"),
        _mib(share.charged, "-"),
        "?" if share.used is None else str(share.used),
        str(share.memory),
        f"{share.cores} %" if share.cores else "-",
        holding.state,
        _age(holding.age_s),
    )


def _process(holding: HoldingView, share: ShareView, process: ProcessView, devices: Mapping[str, str]) -> tuple[str, ...]:
    return (
        str(process.pid),
        holding.name,
        share.container,
        devices.get(share.device, f"{share.kind} {share.device}"),
        _mib(process.charged, "-"),
        "?" if process.driver is None else str(process.driver),
        plain(process.command) or "?",
    )


def _total(one: DeviceTotal) -> tuple[str, ...]:
    return (
        f"{one.kind} {one.index}",
        one.model,
        f"{one.slots_used}/{one.slots}",
        str(one.granted),
        "?" if one.used is None else str(one.used),
        str(one.memory),
        "?" if one.utilisation is None else f"{one.utilisation} %",
    )


def _mib(number: int | None, unknown: str) -> str:
    """Rounded up: who holds anything holds something."""
    return unknown if number is None else str(-(-number // MIB))


def _age(seconds: int) -> str:
    """Short, as kubectl writes it: the two largest units at most."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
