"""``hami explain`` by nothing but a kubeconfig: the pod from a real API server, the answer through its proxy."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.scheduler.gpus import A100, T4, a_cluster
from tests.scheduler.test_explain_command import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hami_core.testing.cluster import ControlPlane

HAMI = str(Path(sys.executable).with_name("hami"))
GPU, MEMORY = "nvidia.com/gpu", "nvidia.com/gpumem"


def address() -> str:
    """Of this host, as its neighbours see it; empty: it has none. The API server's proxy goes to no loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return ""
        return str(one.getsockname()[0])


@pytest.fixture
def service(control_plane: ControlPlane, namespace: str, needs: Callable[..., None]) -> Iterator[None]:
    """The scheduler's Service, with one pod behind it whose address is this host's."""
    here = address()
    needs("an address that is not loopback", here=here not in {"", "127.0.0.1"})
    api = control_plane.api()
    world = a_cluster({"a100-1": (A100,), "t4-1": (T4,)}, {})
    with answering(world, here) as url:
        port = {"name": "info", "port": int(url.rpartition(":")[2]), "protocol": "TCP"}
        pods = f"/api/v1/namespaces/{namespace}/pods"
        metadata = {"name": "hami-scheduler", "namespace": namespace}
        spec = {"nodeName": "nowhere", "containers": [{"name": "main", "image": "none"}]}
        api.create(pods, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        api.merge(f"{pods}/hami-scheduler/status", {"status": {"podIP": here, "podIPs": [{"ip": here}]}})
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [port]}}
        api.create(f"/api/v1/namespaces/{namespace}/services", service)
        behind = {"addresses": [here], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", **metadata}}
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "hami-scheduler"}},
            "addressType": "IPv4",
            "ports": [port],
            "endpoints": [behind],
        }
        api.create(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", slice_)
        subset = {"addresses": [{"ip": here, "targetRef": behind["targetRef"]}], "ports": [port]}
        endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset]}
        api.create(f"/api/v1/namespaces/{namespace}/endpoints", endpoints)  # what the proxy of Kubernetes 1.34 goes by
        yield


def explain(plane: ControlPlane, namespace: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Of the scheduler in this namespace."""
    command = [HAMI, "--set", f"namespaceOverride={namespace}", "explain", "--kubeconfig", str(plane.kubeconfig()), *words]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)


def create(plane: ControlPlane, namespace: str, **limits: Any) -> None:
    named = {f"nvidia.com/{knob}": str(value) for knob, value in limits.items()}
    containers = [{"name": "main", "image": "none", "resources": {"limits": named}}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "train"}, "spec": {"containers": containers}}
    plane.api().create(f"/api/v1/namespaces/{namespace}/pods", pod)


def test_a_pod_that_exists_is_explained_by_its_name(control_plane: ControlPlane, namespace: str, service: None) -> None:
    create(control_plane, namespace, gpu=1, gpumem=41000)

    done = explain(control_plane, namespace, "pod", "train", "-n", namespace)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:5] == [
        f"pod {namespace}/train: never",
        "no node could hold it, even idle: 0/2 nodes: 2 lack a device with 41000 MiB in all (largest 40960; nvidia.com/gpumem)",
        '  container "main" asks 1 device of the kind nvidia: 41000 MiB',
        "  note: admission has not prepared it, so nothing is granted to it; create it anew",
        "  note: spec.schedulerName: default-scheduler grants no shares; hami-scheduler does",
    ]


def test_a_name_that_nobody_has_is_told(control_plane: ControlPlane, namespace: str, service: None) -> None:
    done = explain(control_plane, namespace, "pod/nobody", "-n", namespace)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"hami: there is no pod nobody in the namespace {namespace}\n"


def test_what_the_scheduler_refuses_comes_through_the_proxy(control_plane: ControlPlane, namespace: str, service: None) -> None:
    manifest = "kind: Pod\nspec: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: 1, nvidia.com/gpumem: 3Gi}}}]}"

    done = explain(control_plane, namespace, "-f", "-", stdin=manifest)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'hami: nvidia.com/gpumem: 3Gi in container "main": give MiB as a plain number (3072)\n'


def test_a_scheduler_that_is_not_there_is_told(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, gpu=1)

    done = explain(control_plane, namespace, "pod", "train", "-n", namespace)

    assert (done.returncode, done.stdout) == (2, "")
    hint = "is it in another namespace (namespaceOverride), or elsewhere (--scheduler URL)?"
    start = f"hami: no scheduler answers as {namespace}/hami-scheduler; {hint} API server: "
    assert done.stderr.startswith((f"{start}503 ", f"{start}404 "))  # Kubernetes 1.34 says that there is no such Service
