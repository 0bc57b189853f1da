"""The webhook over TLS at 200 requests a second that do not wait for one another, against a handler that does nothing.

The load is open: a request is sent at its time, whether or not the one before it was answered, and its latency counts from that
time. Server and client are processes of their own; with the rest of the machine they share what cores there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import uvloop

from bench.interleave import Measured, Row, ratio
from hami_core import plugins, settings
from hami_core.serving.certificates import Lives, renewed
from hami_core.serving.exchange import Answer, Routes
from hami_core.serving.server import Address, Server
from hami_core.serving.tls import CertSwap
from hami_webhook.metrics import Metrics
from hami_webhook.server import PATH, Admission

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
RATE, SECONDS, ROUNDS, CONNECTIONS = 200, 2.5, 9, 16
GOAL = 5e-3
NOTHING = "/nothing"
SUBJECT = f"webhook, {RATE} requests/s"


def rows() -> list[Row]:
    """Median and 99th percentile of each round, by turns; ratios to the handler that does nothing."""
    with _serving() as (port, authority):
        taken = uvloop.run(_rounds(port, authority))
    found = []
    for name, percentile in (("p50", 50), ("p99", 99)):
        nothing, article = (Measured([_percentile(one, percentile) for one in taken[path]]) for path in (NOTHING, PATH))
        baseline = f"{name}, a handler that does nothing"
        goal = GOAL if name == "p99" else None
        found.append(Row(SUBJECT, baseline, nothing))
        found.append(Row(SUBJECT, f"{name}, the article's pod", article, baseline, ratio(article, nothing), goal))
    return found


def _percentile(seconds: list[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


# --- The client -------------------------------------------------------------------------------------------------------


async def _rounds(port: int, authority: str) -> dict[str, list[list[float]]]:
    """Path -> for each round the latencies. One round before is not counted."""
    client = _Client(port, ssl.create_default_context(cadata=authority))
    taken: dict[str, list[list[float]]] = {NOTHING: [], PATH: []}
    for number in range(ROUNDS + 1):
        for path in (NOTHING, PATH) if number % 2 else (PATH, NOTHING):
            latencies = await client.load(path)
            if number:
                taken[path].append(latencies)
    await client.close()
    return taken


class _Client:
    """Connections that stay open, as an API server's do."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port, self._context = port, context
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def load(self, path: str) -> list[float]:
        """One round."""
        message = _message(path)
        begin, tasks = time.perf_counter() + 0.05, []
        for number in range(int(RATE * SECONDS)):
            due = begin + number / RATE
            await asyncio.sleep(due - time.perf_counter())
            tasks.append(asyncio.create_task(self._one(message, due)))
        return list(await asyncio.gather(*tasks))

    async def _one(self, message: bytes, due: float) -> float:
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection(HOST, self._port, ssl=self._context)
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200"), body
        self._free.append((reader, writer))
        return time.perf_counter() - due

    async def close(self) -> None:
        """End all connections."""
        for _, writer in self._free:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _message(path: str) -> bytes:
    body = json.dumps(_review()).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _review() -> dict[str, Any]:
    """The article's pod, as an API server sends it."""
    limits = {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "3k", "nvidia.com/gpucores": "30"}
    mount = {"name": "kube-api-access-x2x4p", "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    container = {
        "name": "ubuntu-container",
        "image": "ubuntu:18.04",
        "command": ["bash", "-c", "sleep 86400"],
        "resources": {"limits": limits, "requests": limits},
        "volumeMounts": [mount],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    spec = {
        "volumes": [{"name": mount["name"], "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        "containers": [container],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
    }
    pod = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "gpu-pod", "namespace": "default"},
        "spec": spec,
        "status": {},
    }
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "name": "gpu-pod",
        "namespace": "default",
        "operation": "CREATE",
        "userInfo": {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]},
        "object": pod,
        "oldObject": None,
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


# --- The server -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _serving() -> Iterator[tuple[int, str]]:
    command = [sys.executable, "-c", "from bench.webhook import serve; serve()"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        told = json.loads(server.stdout.readline())
        yield told["port"], told["authority"]
    finally:
        server.communicate()  # the end of its input is its end


def serve() -> None:
    """Both handlers on one port, until standard input ends."""
    uvloop.run(_serve())


async def _serve() -> None:
    loaded = plugins.load(block="")
    found = settings.resolve(plugins.settings_classes(loaded), ())
    catalogue = plugins.catalogue(loaded, found)
    admission = Admission(loaded.hook, catalogue, found, Metrics(catalogue.resources()), lambda: "")
    made = renewed(datetime.now(UTC), [HOST], None, Lives())
    app = Routes({PATH: {"POST": admission.admit}, NOTHING: {"POST": _nothing}})
    server = Server(app, Address(HOST, 0), tls=CertSwap(made.leaf))
    address = await server.start()
    print(json.dumps({"port": address.port, "authority": made.bundle.decode()}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1)


async def _nothing(body: bytes) -> Answer:  # noqa: ARG001
    return Answer(b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"","allowed":true}}')
