"""``hami ps``: by process, and again and again."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import PROBE, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.command import Running

MIB = 1 << 20


@pytest.fixture
def meeting(t4: Node) -> Iterator[Path]:
    """A probe holds 3000 MiB inside."""
    folder = t4.folder / "meeting"
    folder.mkdir()
    (folder / "held.test").touch()
    holder = t4.start("run", "--gpumem", "3000", "--gpucores", "30", "--", PROBE, "--barrier", str(folder), "2")
    holder.until("all 2 hold")
    yield folder
    (folder / "seen.test").touch()
    assert holder.end().status == 0


def watching(node: Node, *options: str) -> Running:
    return node.start("ps", "--watch", "--interval", "0.1", *options)


@pytest.mark.usefixtures("meeting")
def test_a_process_is_shown_with_what_it_is_charged_and_what_the_driver_counts(t4: Node) -> None:
    (holding,) = t4.ask("ps")["holdings"]
    printed = t4.hami("ps").stdout

    (share,) = holding["shares"]
    (process,) = share["processes"]
    assert share["charged"] == process["charged"] == 3000 * MIB
    assert share["peak"] >= share["charged"]
    assert share["refused"] >= 1
    assert process["driver"] == share["used"] >= 2000
    assert PROBE in process["command"]
    row = next(line for line in printed.splitlines() if line.split()[0] == str(process["pid"]))
    assert re.split(r"  +", row.strip())[:6] == [
        str(process["pid"]),
        "hami-probe",
        "hami-probe",
        "nvidia 0",
        "3000",
        str(share["used"]),
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("meeting")
def test_watched_in_a_pipe_it_is_printed_again_and_again_until_ctrl_c(t4: Node) -> None:
    watch = watching(t4)
    for _ in range(3):
        watch.until("Tesla T4")
        watch.until("running")

    watch.signal(signal.SIGINT)

    done = watch.end()
    assert (done.status, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("meeting")
def test_watched_by_a_program_it_is_a_stream_of_documents(t4: Node) -> None:
    watch = watching(t4, "-o", "json")
    first, second = (json.loads(watch.until('"v": 1')) for _ in range(2))

    watch.signal(signal.SIGINT)

    assert watch.end().status == 0
    assert first["time"] < second["time"]
    (device,) = second["devices"]
    assert (device["slots_used"], device["granted"], device["memory"]) == (1, 3000, 15360)


def test_a_broken_book_is_told_and_hides_nothing(t4: Node) -> None:
    running = t4.start("run", "--gpumem", "3000", "--", "cat")
    running.until("runs as process")
    (holding,) = t4.ask("ps")["holdings"]
    (grant,) = (t4.folder.parent / "state" / "t4-node" / "holdings" / holding["uid"]).glob("cat")
    (grant / f"{holding['uid']}_cat").write_text("no region")

    found = t4.ask("ps")

    assert len(found["faults"]) == 1
    assert str(grant) in found["faults"][0]
    assert found["holdings"][0]["shares"][0]["charged"] is None
    running.close_input()
    assert running.end().status == 0
