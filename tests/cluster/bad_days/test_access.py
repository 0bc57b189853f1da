"""Who may ask the extender to bind, where it can be reached from elsewhere: who knows the token, or has a certificate."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.faults.scene import Scene, pair
from tests.cluster.scheduling import SHARE, a_pod, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.testing.cluster import ControlPlane


def stolen(world: Scene) -> dict[str, Any]:
    """A bind of a pod that nobody has decided about."""
    world.create(
        a_pod("stolen", SHARE, annotations={}) | {"spec": {**a_pod("stolen", SHARE)["spec"], "schedulerName": "nobody"}}
    )
    uid = world.pods()[0]["metadata"]["uid"]
    return {"PodName": "stolen", "PodNamespace": world.namespace, "PodUID": uid, "Node": world.there[0].name}


def test_with_a_token_only_who_knows_it_binds(plane: ControlPlane, world: Scene, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-secret-word-of-kube-scheduler\n")
    sets = f"scheduler.extender.auth=token,scheduler.extender.tokenFile={tmp_path / 'token'}"
    with pair(plane, "with-token", sets=sets) as one:
        body = json.dumps(stolen(world)).encode()
        refused = [one.status(path, body) for path in ("bind", "wrong-word-of-kube-scheduler/bind", "/bind")]
        unbound = world.bound()
        world.burst(2, SHARE)
        wait_for(lambda: world.bound() == 2, "bound by who knows it")

        assert (refused, unbound, world.verdict(one).doubles) == ([404, 404, 404], 0, ())


def test_with_certificates_only_who_has_one_binds(plane: ControlPlane, world: Scene, tmp_path: Path) -> None:
    certificates = plane.certificates
    for name, pem in zip(("cert", "key"), certificates.server_for("127.0.0.1"), strict=True):
        (tmp_path / name).write_bytes(pem)
    ours, key = certificates.client_files("kube-scheduler-beside-us")
    files = {
        "scheduler.extender.clientCAFile": certificates.ca,
        "scheduler.extender.certFile": tmp_path / "cert",
        "scheduler.extender.keyFile": tmp_path / "key",
        "scheduler.kubeScheduler.clientCertFile": ours,
        "scheduler.kubeScheduler.clientKeyFile": key,
        "scheduler.kubeScheduler.extenderCAFile": certificates.ca,
    }
    sets = ",".join(["scheduler.extender.auth=mtls", *(f"{path}={file}" for path, file in files.items())])
    with pair(plane, "with-mtls", sets=sets) as one:
        context = ssl.create_default_context(cafile=certificates.ca)
        request = urllib.request.Request(one.address.replace("http:", "https:") + "/bind", json.dumps(stolen(world)).encode())
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            urllib.request.urlopen(request, context=context, timeout=10)
        unbound = world.bound()
        world.burst(2, SHARE)
        wait_for(lambda: world.bound() == 2, "bound by who has one")

        assert (unbound, world.verdict(one).doubles) == (0, ())
