"""``hami explain`` against ``hami scheduler serve`` beside a stock kube-scheduler: what it says is what happens."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hami_core import names
from hami_core.testing.cluster.nodes import publish, remove
from tests.cluster.scheduling import HAMI, Pair, a_pod, hami, placed, shares, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.nodes import Simulated

NODES = ("explain-a", "explain-b")


@pytest.fixture(scope="module")
def pair(control_plane: ControlPlane, simulated: Simulated) -> Iterator[Pair]:
    """Two nodes with a T4 each."""
    control_plane.kubectl("create", "namespace", "hami-system", check=False)
    control_plane.kubectl("apply", "-f", "-", stdin=hami("scheduler", "manifests"))
    publish(control_plane.api(), simulated, [simulated.node(name, devices=1) for name in NODES])
    started = Pair(control_plane, "explainer").start()
    wait_for(started.leads, "leading")
    yield started
    started.stop()
    remove(control_plane.api(), *NODES)


def explained(pair: Pair, namespace: str, name: str) -> str:
    """What the command prints, but for the first line."""
    port = pair.plane.ports[f"{pair.host}-info"]
    words = ["explain", "pod", name, "-n", namespace, "--scheduler", f"http://127.0.0.1:{port}"]
    env = {**os.environ, "KUBECONFIG": str(pair.plane.kubeconfig())}
    return subprocess.run([HAMI, *words], capture_output=True, text=True, check=True, env=env).stdout.partition("\n")[2]


def create(pair: Pair, namespace: str, name: str, **limits: Any) -> None:
    named = {f"nvidia.com/{knob}": value for knob, value in limits.items()}
    pair.plane.api().create(f"/api/v1/namespaces/{namespace}/pods", a_pod(name, named))


def test_a_pod_that_waits_is_told_the_same_as_in_its_annotation(pair: Pair, namespace: str) -> None:
    for name in ("one", "two"):
        create(pair, namespace, name, gpu=1, gpumem=9000)
    for name in ("one", "two"):
        placed(pair.plane, namespace, name)
    create(pair, namespace, "big", gpu=1, gpumem=10000)
    api, path = pair.plane.api(), f"/api/v1/namespaces/{namespace}/pods/big"

    told = wait_for(lambda: api.get(path)["metadata"].get("annotations", {}).get(names.WAITING), "told why it waits")

    sentence = "0/2 nodes: 2 lack a device with 10000 MiB free (largest 6360; nvidia.com/gpumem)"
    assert told == sentence
    lines = explained(pair, namespace, "big").splitlines()
    assert lines[0] == sentence
    held = {line.split()[1]: line.split()[0] for line in lines if f"{namespace}/" in line}
    assert held == {f"{namespace}/{name}": placed(pair.plane, namespace, name)["spec"]["nodeName"] for name in ("one", "two")}


def test_a_pod_that_is_placed_is_shown_with_the_device_of_its_own_annotations(pair: Pair, namespace: str) -> None:
    create(pair, namespace, "small", gpu=1, gpumem=1000)
    pod = placed(pair.plane, namespace, "small")
    ((_, device, memory, _),) = shares(pod)

    lines = wait_for(
        lambda: found if (found := explained(pair, namespace, "small")).startswith("it is on node") else "", "seen"
    ).splitlines()

    assert lines[0].startswith(f"it is on node {pod['spec']['nodeName']}, since 2")
    assert (device in lines[-1], str(memory) in lines[-1]) == (True, True)
