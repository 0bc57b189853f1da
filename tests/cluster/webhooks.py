"""Our webhook as a process beside a real API server, and one of somebody else's."""

from __future__ import annotations

import base64
import json
import ssl
import sys
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_core import names
from hami_webhook.registration import WEBHOOK
from tests.cluster.admitting import ADMISSION, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.programs import Program

HOST = "127.0.0.1"
HAMI = Path(sys.executable).with_name("hami")
NO_SETTINGS: Mapping[str, object] = {}
_NUMBERS = count(1)
_TRUSTING = ssl._create_unverified_context()  # what is asked for here is public


@frozen
class Webhook:
    """``hami webhook serve`` with the rights of its account."""

    program: Program
    port: int
    begun: int = 0  # bytes of its log that are of others, before it

    def get(self, path: str) -> str:
        """What it says there; "" if it does not answer, or answers an error."""
        try:
            with urllib.request.urlopen(f"https://{HOST}:{self.port}{path}", context=_TRUSTING, timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""

    def ready(self) -> bool:
        """Whether it says so."""
        return self.get("/readyz") == "ok"

    def judged(self) -> dict[str, float]:
        """How many pods have come, by outcome."""
        counted: dict[str, float] = {}
        for line in self.get("/metrics").splitlines():
            if line.startswith("hami_webhook_requests_total{"):
                outcome = line.partition('outcome="')[2].partition('"')[0]
                counted[outcome] = counted.get(outcome, 0) + float(line.rpartition(" ")[2])
        return counted

    def logged(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        return [json.loads(line) for line in self.program.log.read_text()[self.begun :].splitlines() if line.startswith("{")]


def start(
    plane: ControlPlane, name: str = "webhook", settings: Mapping[str, object] = NO_SETTINGS, *, port_of: str = ""
) -> Webhook:
    """Start one, and wait until it is ready. ``port_of``: the one that API servers are sent to, if it is not this one."""
    port = plane.ports[name]
    found = {
        "scheduler.admissionWebhook.bindAddress": f"{HOST}:{port}",
        "scheduler.admissionWebhook.url": f"https://{HOST}:{plane.ports[port_of or name]}/admit",
        "scheduler.admissionWebhook.drainSeconds": 0,
        **settings,
    }
    words = [word for path, value in found.items() for word in ("--set", f"{path}={value}")]
    config = plane.kubeconfig(ADMISSION)
    log = plane.folder / f"{name}.log"
    begun = len(log.read_text()) if log.exists() else 0
    program = plane.run(name, [str(HAMI), *words, "webhook", "serve", f"--kubeconfig={config}"])
    started = Webhook(program, port, begun)
    program.wait_until(started.ready, 60)
    return started


@contextmanager
def running(
    plane: ControlPlane, name: str = "webhook", settings: Mapping[str, object] = NO_SETTINGS, *, port_of: str = ""
) -> Iterator[Webhook]:
    """One that ends with the block, with all that it has left."""
    try:
        yield start(plane, name, settings, port_of=port_of)
    finally:
        plane.kill(name)
        plane.kubectl("delete", "mutatingwebhookconfiguration", names.ADMISSION, "--ignore-not-found")


def bundle(plane: ControlPlane) -> bytes:
    """Whom API servers trust."""
    (hook,) = plane.get("mutatingwebhookconfiguration", names.ADMISSION)["webhooks"]
    assert hook["name"] == WEBHOOK
    return base64.b64decode(hook["clientConfig"]["caBundle"])


@contextmanager
def adding(plane: ControlPlane, added: Mapping[str, Any]) -> Iterator[None]:
    """Somebody else's webhook, called after ours, that adds a container to every pod that has none of this name."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["request"]
            there = any(one["name"] == added["name"] for one in asked["object"]["spec"]["containers"])
            patch = [] if there else [{"op": "add", "path": "/spec/containers/-", "value": added}]
            response = {
                "uid": asked["uid"],
                "allowed": True,
                "patchType": "JSONPatch",
                "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
            }
            body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.socket = _serving(plane).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        plane.apply(_registered(plane, server.server_port))
        yield
    finally:
        plane.kubectl("delete", "mutatingwebhookconfiguration", "zz-adding")
        server.shutdown()
        thread.join()
        server.server_close()


def _serving(plane: ControlPlane) -> ssl.SSLContext:
    certificate, key = plane.certificates.server_for(HOST)
    folder = plane.folder / "adding"
    folder.mkdir(exist_ok=True)
    (folder / "tls.crt").write_bytes(certificate)
    (folder / "tls.key").write_bytes(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


def _registered(plane: ControlPlane, port: int) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    hook = {
        "name": "adding.example.com",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "url": f"https://{HOST}:{port}/",
            "caBundle": base64.b64encode(plane.certificates.ca.read_bytes()).decode(),
        },
        "rules": [rule],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "zz-adding"},  # they are called in the order of their names
        "webhooks": [hook],
    }


def container(name: str = "main", which: str = "limits", **resources: object) -> dict[str, Any]:
    """Resources by the last part of NVIDIA's names."""
    asked = {f"nvidia.com/{key}": str(value) for key, value in resources.items()}
    return {"name": name, "image": "none", **({"resources": {which: asked}} if asked else {})}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """One that nobody else's name is like."""
    metadata = {"name": f"pod-{next(_NUMBERS)}"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": list(containers), **spec}}


def unprepared(plane: ControlPlane, path: str) -> bool:
    """Whether a pod that asks for a share passes as it is: the API server has not heard of us yet."""
    made = plane.api().create(f"{path}?dryRun=All", pod(container(gpu=1)))
    return names.PREPARED not in made["metadata"].get("labels", {})


def until_called(plane: ControlPlane, path: str) -> None:
    """Wait for the API server to send our pods."""
    wait_for(lambda: not unprepared(plane, path), "called")
