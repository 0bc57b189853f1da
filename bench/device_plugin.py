"""The kubelet's questions to a device plugin, against the question that needs no answer of its own (its options).

Server and client are processes of their own. One call after the other, as the kubelet asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import grpc

from bench.interleave import Measured, Row, ratio
from hami_core.model import Kind, Mount, Mounts, Resources
from hami_core.node.api import deviceplugin_pb2 as api
from hami_core.node.device_plugin import SERVICE, DevicePlugin
from hami_core.node.offers import Advertised, Offer, Offers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hami_core.node.tokens import Token

    Ask = Callable[[], object]

ROUNDS, CALLS = 9, 200
GOAL = 10e-3
KIND = Kind("acme", Resources(count="acme.example/chip"), visible_env="ACME_VISIBLE")
OPTIONS = "the plugin's options"


def rows() -> list[Row]:
    """Median and 99th percentile of each round, by turns."""
    return [row for devices, slots in ((8, 10), (16, 100)) for row in _of(devices, slots)]


def _of(devices: int, slots: int) -> list[Row]:
    with _serving(devices, slots) as channel:
        taken = _rounds(_asks(channel, _tokens(devices, slots)))
    found = []
    for name, percent in (("p50", 50), ("p99", 99)):
        timings = {
            ask: Measured([quantiles(one, n=100, method="inclusive")[percent - 1] for one in taken[ask]]) for ask in taken
        }
        baseline = f"{name}, {OPTIONS}"
        subject = f"device plugin, {devices} x {slots} tokens"
        options = timings.pop(OPTIONS)
        found.append(Row(subject, baseline, options))
        for ask, timing in timings.items():
            goal = GOAL if (name, ask) == ("p99", "Allocate") else None
            found.append(Row(subject, f"{name}, {ask}", timing, baseline, ratio(timing, options), goal))
    return found


def _rounds(asks: dict[str, Ask]) -> dict[str, list[list[float]]]:
    """For each question the latencies of every round; one round before is not counted."""
    taken: dict[str, list[list[float]]] = {name: [] for name in asks}
    for number in range(ROUNDS + 1):
        for name in sorted(asks, reverse=bool(number % 2)):
            latencies = [_timed(asks[name]) for _ in range(CALLS)]
            if number:
                taken[name].append(latencies)
    return taken


def _timed(ask: Ask) -> float:
    start = time.perf_counter()
    ask()
    return time.perf_counter() - start


def _tokens(devices: int, slots: int) -> list[str]:
    return [f"GPU-{number:08d}-0000-0000-0000-000000000000::{slot}" for number in range(devices) for slot in range(slots)]


def _asks(channel: grpc.Channel, ids: list[str]) -> dict[str, Ask]:
    def ask(method: str, request: Any, answer: Any) -> Ask:
        call: Any = channel.unary_unary(f"/{SERVICE}/{method}", type(request).SerializeToString, answer.FromString)
        return lambda: call(request)

    two = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids[:2])])
    all_free = api.ContainerPreferredAllocationRequest(available_deviceIDs=ids, allocation_size=2)
    hint = api.PreferredAllocationRequest(container_requests=[all_free])
    return {
        OPTIONS: ask("GetDevicePluginOptions", api.Empty(), api.DevicePluginOptions),
        "Allocate": ask("Allocate", two, api.AllocateResponse),
        "GetPreferredAllocation": ask("GetPreferredAllocation", hint, api.PreferredAllocationResponse),
    }


# --- The server -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _serving(devices: int, slots: int) -> Iterator[grpc.Channel]:
    with tempfile.TemporaryDirectory(prefix="hami-") as folder:
        command = [sys.executable, "-c", f"from bench.device_plugin import serve; serve({folder!r}, {devices}, {slots})"]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            path = server.stdout.readline().strip()
            with grpc.insecure_channel(f"unix://{path}", options=[("grpc.default_authority", "localhost")]) as channel:
                yield channel
        finally:
            server.communicate()  # the end of its input is its end


class _Agent:
    """Prepares a container with three files, and has ten that wait."""

    def __init__(self, folder: Path, devices: list[str]) -> None:
        self._waiting = [(device,) for device in devices][:10]
        self._mounts = Mounts(files=tuple(Mount(str(folder / name), f"/{name}") for name in ("library", "preload", "region")))
        for mount in self._mounts.files:
            Path(mount.source).touch()

    def kind(self, name: str) -> Kind:  # noqa: ARG002
        return KIND

    async def mounts(self, kind: Kind, taken: Sequence[Token]) -> Mounts:  # noqa: ARG002
        return self._mounts

    def waiting(self, kind: Kind) -> Sequence[Sequence[str]]:  # noqa: ARG002
        return self._waiting


def serve(folder: str, devices: int, slots: int) -> None:
    """One plugin, until standard input ends."""
    asyncio.run(_serve(Path(folder), _tokens(devices, slots)))


async def _serve(folder: Path, tokens: list[str]) -> None:
    offers = Offers()
    offers.put(Offer(KIND.resources.count, KIND.name, tuple(map(Advertised, tokens))))
    agent = _Agent(folder, sorted({token.partition("::")[0] for token in tokens}))
    server = await DevicePlugin(KIND.resources.count, offers, agent).serve(folder / "plugin.sock")
    print(folder / "plugin.sock", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)
