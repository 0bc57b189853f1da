"""What people see: tables that fit a terminal and are whole in a pipe, colours where wanted, help that is not cut off."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import HAMI, PATIENCE, PROBE, Node, a_container, a_pod

if TYPE_CHECKING:
    from tests.cli.command import OnMachine

pytestmark = pytest.mark.slow

UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STYLE = re.compile(r"\x1b\[[0-9;]*m")
COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*3[1-7]m")


def on_a_terminal(node: Node, *arguments: str, columns: int = 80, **env: str) -> str:
    """What a command writes on a terminal of that width, on both streams."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    machine = ("--machine", node.machine) if node.machine else ()
    process = subprocess.Popen(
        [HAMI, *machine, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=node.folder,
        env={**node.env, "TERM": "xterm-256color", **env},
    )
    os.close(theirs)
    written = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while chunk := _read(terminal.fileno()):
            written += chunk
    process.wait(PATIENCE)
    return written.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    """Empty at the end: a terminal whose other side has gone answers EIO."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@pytest.mark.parametrize("command", ["devices", "plugins", "config"])
def test_on_80_columns_no_line_is_longer_and_no_uuid_is_folded(on: OnMachine, command: str) -> None:
    node = on("dgx-a100")

    lines = STYLE.sub("", on_a_terminal(node, command)).splitlines()

    assert [line for line in lines if len(line) > 80 and "nvidiaDriverRoot" not in line] == []  # a path is not folded
    assert sum(UUID.search(line) is not None for line in lines) == (8 if command == "devices" else 0)


def test_in_a_pipe_every_row_is_one_plain_line(on: OnMachine) -> None:
    printed = on("dgx-a100").hami("devices").stdout

    title, head, *rows = printed.splitlines()
    assert title == "machine dgx-a100: nvidia, share"
    assert head.split("  ")[0] == "#"
    assert [bool(UUID.search(row)) for row in rows] == [True] * 8
    assert "\x1b" not in printed
    assert [line for line in printed.splitlines() if line != line.rstrip()] == []


def test_words_have_colours_on_a_terminal_and_none_with_no_color(t4: Node) -> None:
    assert COLOUR.search(on_a_terminal(t4, "run", "--", "true"))
    assert not COLOUR.search(on_a_terminal(t4, "run", "--", "true", NO_COLOR="1"))


def test_ps_shows_what_a_running_container_uses_of_its_share(t4: Node) -> None:
    meeting = t4.folder / "meeting"
    meeting.mkdir()
    (meeting / "held.test").touch()
    holder = t4.start("run", "--gpumem", "3000", "--gpucores", "30", "--", PROBE, "--barrier", str(meeting), "2")
    holder.until("all 2 hold")

    printed = t4.hami("ps").stdout
    devices = t4.hami("devices").stdout
    (meeting / "seen.test").touch()

    assert holder.end().status == 0
    _, head, row, *_ = printed.splitlines()
    assert re.split(r"  +", head) == "POD  CONTAINER  DEVICE  CHARGED  DRIVER  LIMIT MiB  CORES  STATE  AGE".split("  ")
    pod, container, device, charged, driver, limit, cores, state, _ = re.split(r"  +", row)
    assert (pod, container, device, limit, cores) == ("hami-probe", "hami-probe", "nvidia 0", "3000", "30 %")
    assert (charged, state) == ("3000", "running")
    assert int(driver) >= 2897
    assert re.search(r"12360/15360 +70 % +1/10$", devices, re.MULTILINE)


def test_config_says_where_a_value_came_from(t4: Node) -> None:
    t4.write("values.yaml", "scheduler: {defaultMem: 4000, defaultCores: 10}")

    options = ("--config", "values.yaml", "--set", "scheduler.defaultMem=6000")
    lines = t4.hami(*options, "config", env={"HAMI_SET": "scheduler.defaultMem=5500"}).stdout.splitlines()

    assert "scheduler.defaultMem = 6000  (--set; default 5000)" in lines
    assert "scheduler.defaultCores = 10  (values.yaml; default 0)" in lines
    assert "scheduler.defaultGPUNum = 1  (default)" in lines


def test_eight_shares_of_one_grant_stand_one_below_the_other(on: OnMachine) -> None:
    told = STYLE.sub("", on_a_terminal(on("dgx-a100"), "run", "--gpus", "8", "--", "true"))

    assert [line for line in told.splitlines() if len(line) > 80] == []
    assert len(UUID.findall(told)) == 8


def test_ps_watched_on_a_terminal_leaves_it_as_it_was(t4: Node) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        [HAMI, "--machine", "t4-node", "ps", "-w"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**t4.env, "TERM": "xterm-256color", "NO_COLOR": "1"},
    )
    written = b""
    while b"Tesla T4" not in written:
        written += _read(ours)
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE)
    after = termios.tcgetattr(theirs)
    os.close(theirs)
    while chunk := _read(ours):
        written += chunk
    os.close(ours)

    assert (process.returncode, after) == (0, before)
    assert written.count(b"\x1b[?1049h") == written.count(b"\x1b[?1049l") == 1  # the other screen, and back
    assert written.rindex(b"\x1b[?25h") > written.rindex(b"\x1b[?25l")  # the cursor is there again
    assert not COLOUR.search(written.decode())


def test_a_container_that_is_alone_sees_the_terminal_and_its_size_and_is_kept(t4: Node) -> None:
    script = 'test -t 1 && stty size <&1; printf "no line end"'
    t4.write("pod.json", json.dumps(a_pod(a_container(command=["sh", "-c", script], gpumem=1000), name="alone")))

    shown = on_a_terminal(t4, "play", "pod.json", columns=93)

    assert "24 93\nno line end" in shown
    assert t4.hami("logs", "alone").stdout == "24 93\nno line end\n"


def test_the_machine_may_be_named_behind_the_command_too(host: Node) -> None:
    assert host.ask("devices", "--machine", "t4x4")["machine"] == "t4x4"
    assert host.ask("mock", "truth", "--machine", "t4x4")["machine"] == "t4x4"
    assert host.ask("--machine", "t4-node", "ps", "--machine", "t4x4")["machine"] == "t4x4"


def test_a_machine_may_be_named_by_the_environment(host: Node) -> None:
    assert host.hami("devices", "-o", "json", env={"HAMI_MACHINE": "t4x4"}).document["machine"] == "t4x4"


def test_nobody_holds_anything_is_said(t4: Node) -> None:
    assert t4.hami("ps").stdout == "nobody holds anything on the machine t4-node\n"


COMMANDS = [
    *("play", "run", "ps", "logs", "wait", "stop", "devices", "topology", "health", "plugins", "config", "node"),
    *("explain", "mock", "nvidia", "scheduler", "webhook"),
]


def test_help_is_said_in_whole_sentences(t4: Node) -> None:
    told = t4.hami("--help").stdout

    commands = told.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in commands] == COMMANDS
    assert [line for line in commands if not line.endswith(".") or line.endswith("...")] == []


def test_a_reader_that_goes_early_is_no_error(t4: Node) -> None:
    script = f'"{HAMI}" config | head -n 1'

    done = subprocess.run(["sh", "-c", script], env=t4.env, capture_output=True, text=True, check=False, timeout=PATIENCE)

    assert (done.stdout, done.stderr) == ("# core\n", "")
