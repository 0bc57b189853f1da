"""A first list and a watch at full speed from a replay server on loopback, against the official client's raw dicts.

50,000 pods of 3.4 KB and 5,000 nodes of 10 KB in pages of 500, and a watch that brings 20,000 pods, a chunk for each. The
server is a process of its own that sends prepared bytes. How much memory a list takes is seen in a fresh process, and printed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.interleave import Row, compare
from hami_core.kube.connection import connect
from hami_core.kube.listing import PAGE, read_all
from hami_core.kube.objects import Node, Pod
from hami_core.kube.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hami_core.kube.connection import Connection

PODS, NODES, EVENTS = 50_000, 5_000, 20_000
ROUNDS = 3
LIST, WATCH = f"first list, {PODS:,} pods and {NODES:,} nodes", f"a watch, {EVENTS:,} events"
MIB = 1 << 20
GOAL = 200  # MiB that a first list may add to the process


def rows() -> list[Row]:
    """Both, and the memory beside them."""
    with _server() as config:
        measured = json.loads(
            subprocess.run([sys.executable, "-m", __name__, "memory", config], capture_output=True, check=True).stdout
        )
        print(
            f"{LIST}: the process grows by {measured['grown']:.0f} MiB, at most {measured['peak']:.0f}"
            f" ({'kept' if measured['peak'] <= GOAL else 'MISSED'}: {GOAL})"
        )
        connection = connect(Path(config))
        dicts = ("kubernetes, raw dicts", _listed_by_the_official_client(config))
        watched = ("kubernetes, raw dicts", _watched_by_the_official_client(config))
        return [
            *compare(LIST, dicts, {"hami_core.kube": (lambda: _listed(connection), 1.0)}, rounds=ROUNDS),
            *compare(WATCH, watched, {"hami_core.kube": (lambda: _watched(connection), EVENTS / 60_000)}, rounds=ROUNDS),
        ]


# -------------------------------------------------------------------------------------------------------- candidates


def _listed(connection: Connection) -> tuple[list[Pod], list[Node]]:
    pods = read_all(connection, "/api/v1/pods", Pod)
    nodes = read_all(connection, "/api/v1/nodes", Node)
    assert (len(pods.objects), len(nodes.objects)) == (PODS, NODES)
    return pods.objects, nodes.objects


class _Counting:
    """A sink that stops its reflector after the last event."""

    def __init__(self) -> None:
        self.stop, self.events = threading.Event(), 0

    def replaced(self, objects: list[Pod]) -> None:
        """Nothing yet."""

    def changed(self, batch: list[tuple[str, Pod]]) -> None:
        """A number of them."""
        self.events += len(batch)
        if self.events == EVENTS:
            self.stop.set()


def _watched(connection: Connection) -> None:
    sink = _Counting()
    Reflector(connection, "/api/v1/watched", Pod, sink).run(sink.stop)
    assert sink.events == EVENTS


def _listed_by_the_official_client(config: str) -> Callable[[], object]:
    api = _official(config)

    def pages(ask: Callable[..., Any]) -> list[Any]:
        objects, more = [], None
        while more != "":
            page = json.loads(ask(limit=PAGE, _continue=more, _preload_content=False).data)
            objects += page["items"]
            more = page["metadata"].get("continue", "")
        return objects

    return lambda: (pages(api.list_pod_for_all_namespaces), pages(api.list_node))


def _watched_by_the_official_client(config: str) -> Callable[[], object]:
    from kubernetes import watch

    api = _official(config)

    def watched() -> None:
        official: Any = watch
        events = official.Watch().stream(api.list_namespaced_pod, "watched", resource_version="1", deserialize=False)
        for number, _ in enumerate(events, 1):
            if number == EVENTS:
                return

    return watched


def _official(config: str) -> Any:
    from kubernetes import client
    from kubernetes import config as configuration

    settings = client.Configuration()
    configuration.load_kube_config(config, client_configuration=settings)  # type: ignore[no-untyped-call]
    return client.CoreV1Api(client.ApiClient(settings))


# ------------------------------------------------------------------------------------------------------------ memory


def _memory(config: str) -> None:
    """Print how much a first list adds, in MiB: at its end, and at its worst moment."""
    connection = connect(Path(config))
    before = _status("VmRSS")
    kept = _listed(connection)
    print(json.dumps({"grown": _status("VmRSS") - before, "peak": _status("VmHWM") - before, "objects": len(kept)}))


def _status(name: str) -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024 / MIB


# ------------------------------------------------------------------------------------------------- the replay server


@contextmanager
def _server() -> Iterator[str]:
    """A kubeconfig that leads to it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-m", __name__, "serve"], stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        path = Path(folder) / "config"
        path.write_text(json.dumps(_config(int(process.stdout.readline()))))
        try:
            yield str(path)
        finally:
            process.kill()


def _config(port: int) -> dict[str, object]:
    return {
        "current-context": "replay",
        "contexts": [{"name": "replay", "context": {"cluster": "replay", "user": ""}}],
        "clusters": [{"name": "replay", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [],
    }


def _serve() -> None:
    answers = {
        "/api/v1/pods": _pages("PodList", [_encoded(_pod(number)) for number in range(PODS)]),
        "/api/v1/nodes": _pages("NodeList", [_encoded(_node(number)) for number in range(NODES)]),
        "/api/v1/watched": _pages("PodList", []),
    }
    events = [b'{"type":"MODIFIED","object":%s}\n' % _encoded(_pod(number, 10**6 + number)) for number in range(EVENTS)]
    watch = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%s\r\n" % (len(one), one) for one in events
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=_answer, args=(sock, answers, watch), daemon=True).start()


def _answer(sock: socket.socket, answers: dict[str, list[bytes]], watch: bytes) -> None:
    with sock, suppress(OSError):
        while head := sock.recv(65536):
            path, _, query = head.split(b" ", 2)[1].decode().partition("?")
            asked = dict(part.split("=", 1) for part in query.split("&") if part)
            if "watch" in asked:
                sock.sendall(watch)
            else:
                sock.sendall(answers[path][int(asked.get("continue", 0))])


def _pages(kind: str, items: list[bytes]) -> list[bytes]:
    starts = range(0, len(items), PAGE) if items else [0]
    return [
        _page(kind, items[start : start + PAGE], number + 1 if start + PAGE < len(items) else 0)
        for number, start in enumerate(starts)
    ]


def _page(kind: str, items: list[bytes], following: int) -> bytes:
    meta = _encoded({"resourceVersion": "1000000", **({"continue": str(following)} if following else {})})
    body = b'{"kind":"%s","apiVersion":"v1","metadata":%s,"items":[%s]}\n' % (kind.encode(), meta, b",".join(items))
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _encoded(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _meta(name: str, number: int, version: int, **more: Any) -> dict[str, Any]:
    uid = f"{number:08x}-1c4b-4a59-8f21-8bde2fa8f792"
    return {"name": name, "uid": uid, "resourceVersion": str(version), "creationTimestamp": "2026-01-01T00:00:00Z", **more}


def _pod(number: int, version: int = 0) -> dict[str, Any]:
    """Of 3.4 KB: a pod of a Deployment with one share."""
    uid = f"{number:08x}-1c4b-4a59-8f21-8bde2fa8f792"
    limits = f"hami-limits 1\ngrant {uid}/main\n[nvidia]\ndevice GPU-{number:08x}-0000-0000-0000-000000000000 memory=3145728000"
    meta = _meta(
        f"trainer-{number % 97}-6d4cf56db6-{number:05d}",
        number,
        version or 1000 + number,
        generateName="trainer-6d4cf56db6-",
        namespace=f"team-{number % 40}",
        labels={"app": f"trainer-{number % 97}", "pod-template-hash": "6d4cf56db6", "hami.io/prepared": "true"},
        annotations={
            "grant.hami.io/main": f"{limits} physical=17179869184 cores=30 context=268435456\npolicy=default\nend\n",
            "nvidia.hami.io/main": f"GPU-{number:08x}-0000-0000-0000-000000000000",
            "hami.io/term": "scheduler-0_5b1e/7",
        },
        ownerReferences=[{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "trainer", "uid": uid, "controller": True}],
        managedFields=[_managed("kube-controller-manager", 20), _managed("kubelet", 24)],
    )
    resources = {"limits": {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "3k"}, "requests": {"nvidia.com/gpu": "1"}}
    container = {
        "name": "main",
        "image": "registry.example/team/trainer:1.17",
        "command": ["python", "train.py"],
        "resources": resources,
    }
    condition = {"status": "True", "lastProbeTime": None, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {
        "phase": "Running",
        "conditions": [{"type": kind, **condition} for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")],
        "hostIP": "10.0.0.1",
        "podIP": "10.1.0.1",
        "startTime": "2026-01-01T00:00:00Z",
        "qosClass": "BestEffort",
    }
    spec = {"containers": [container], "nodeName": f"node-{number % NODES:05d}", "schedulerName": "hami-scheduler"}
    return {"metadata": meta, "spec": spec, "status": status}


def _node(number: int) -> dict[str, Any]:
    """Of 10 KB: eight devices in its annotation, fifty images in its status."""
    name = f"node-{number:05d}"
    device = {"model": "NVIDIA A100-SXM4-80GB", "memory": 81920, "cores": 100, "slots": 10, "healthy": True, "numa": 0}
    devices = [
        {"id": f"GPU-{number:08x}-0000-0000-0000-{n:012d}", **device, "links": {str(m): 12 for m in range(8)}} for n in range(8)
    ]
    meta = _meta(
        name,
        number,
        500 + number,
        labels={"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number % 3}", "pool": "gpu"},
        annotations={"devices.hami.io/nvidia": json.dumps({"v": 1, "devices": devices})},
        managedFields=[_managed("kubelet", 25)],
    )
    images = [{"names": [f"registry.example/image-{n}@sha256:{n:064x}"], "sizeBytes": 10**8 + n} for n in range(50)]
    amounts = {"cpu": "96", "memory": "1056Gi", "pods": "110", "nvidia.com/gpu": "80"}
    return {"metadata": meta, "spec": {}, "status": {"capacity": amounts, "allocatable": amounts, "images": images}}


def _managed(manager: str, fields: int) -> dict[str, Any]:
    names: dict[str, Any] = {f"f:field{n}": {".": {}, "f:value": {}} for n in range(fields)}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": names},
    }


if __name__ == "__main__":
    cast("Callable[..., None]", {"serve": _serve, "memory": _memory}[sys.argv[1]])(*sys.argv[2:])
