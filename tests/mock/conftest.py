"""Machines to test on, and programs that run on them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hami_mock import machine
from tests import judges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Needs

CLIENT = Path(__file__).with_name("client.py")
OUT = "out"
TEXT = "text"


def blob(layout: str, *values: int) -> dict[str, str]:
    """The bytes of a C structure as an argument of a call; ``layout`` is the struct module's, with native padding."""
    return {"bytes": struct.pack(layout, *values).hex()}


class Program:
    """A process on a machine that calls what it is told to; see client.py."""

    def __init__(self, on: machine.Machine) -> None:
        self.process = subprocess.Popen(
            [sys.executable, CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(on)
        )

    def tell(self, *command: object) -> None:
        """Send a command without waiting for its answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self) -> list[Any]:
        assert self.process.stdout
        found: list[Any] = json.loads(self.process.stdout.readline())
        return found

    def call(self, *command: object) -> list[Any]:
        """The result of a call, followed by what it wrote."""
        self.tell(*command)
        return self.answer()

    def good(self, *command: object) -> Any:
        """What a call wrote (the one value, or all of them), having succeeded."""
        result, *written = self.call(*command)
        assert result == 0, command
        return written[0] if len(written) == 1 else written

    def start(self, device: int = 0) -> Program:
        """With the primary context of a device current, so that memory can be had."""
        self.good("cuInit", 0)
        self.good("cuCtxSetCurrent", self.good("cuDevicePrimaryCtxRetain", OUT, device))
        return self

    def alloc(self, size: int) -> int:
        """The address of so much device memory."""
        address: int = self.good("cuMemAlloc_v2", OUT, size)
        return address

    def write(self, address: int, content: bytes) -> None:
        """Copy bytes to device memory."""
        self.good("cuMemcpyHtoD_v2", address, {"bytes": content.hex()}, len(content))

    def read(self, address: int, size: int) -> bytes:
        """Copy bytes from device memory."""
        return bytes.fromhex(self.good("cuMemcpyDtoH_v2", {"bytes": bytes(size).hex()}, address, size))

    def end(self) -> None:
        """Kill it and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()


def environment(on: machine.Machine) -> dict[str, str]:
    """The variables of a process on a machine."""
    return {**os.environ, "LD_LIBRARY_PATH": str(on.libraries)}


def debian(needs: Needs, package: str, name: str) -> Path:
    """A file of one of Debian's packages; skips the test where it cannot be had."""
    try:
        return judges.program(package, name)
    except judges.Missing as missing:
        needs(f"Debian's {package} ({missing})", here=False)
        raise


@pytest.fixture
def node(tmp_path: Path) -> machine.Machine:
    """A fresh machine with one T4."""
    return machine.install("t4-node", tmp_path / "t4-node")


@pytest.fixture
def start() -> Iterator[Callable[[machine.Machine], Program]]:
    """Starts programs on machines, and ends them after the test."""
    with ExitStack() as stack:

        def start(on: machine.Machine) -> Program:
            program = Program(on)
            stack.callback(program.end)
            return program

        yield start


@pytest.fixture
def program(node: machine.Machine, start: Callable[[machine.Machine], Program]) -> Program:
    """A program on the machine ``node`` that has called nothing yet."""
    return start(node)
