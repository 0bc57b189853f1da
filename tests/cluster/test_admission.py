"""A real API server calls our real webhook: what pods are afterwards, and what their authors are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from hami_core import names
from hami_core.testing.cluster.api import ApiRefused
from hami_core.testing.cluster.control_plane import KubectlFailed
from tests.cluster import webhooks
from tests.cluster.admitting import installed, wait_for
from tests.cluster.webhooks import container, pod

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hami_core.testing.cluster import ControlPlane
    from tests.cluster.webhooks import Webhook

WORK = "work"
PODS = f"/api/v1/namespaces/{WORK}/pods"
GPU, MEMORY, CORES = "nvidia.com/gpu", "nvidia.com/gpumem", "nvidia.com/gpucores"
VISIBLE = "NVIDIA_VISIBLE_DEVICES"
STRATEGIC = "application/strategic-merge-patch+json"

ARTICLE = """
apiVersion: v1
kind: Pod
metadata:
  name: gpu-pod
spec:
  containers:
    - name: ubuntu-container
      image: ubuntu:18.04
      command: ["bash", "-c", "sleep 86400"]
      resources:
        limits:
          nvidia.com/gpu: 1
          nvidia.com/gpumem: 3000
          nvidia.com/gpucores: 30
"""


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with installed() as plane:
        plane.make_namespace(WORK)
        yield plane


@pytest.fixture(scope="module")
def webhook(plane: ControlPlane) -> Iterator[Webhook]:
    """One that the API server calls."""
    with webhooks.running(plane) as webhook:
        webhooks.until_called(plane, PODS)
        yield webhook


def created(plane: ControlPlane, manifest: Mapping[str, Any]) -> Any:
    return plane.api().create(PODS, manifest)


def of(stored: Any, name: str, where: str = "containers") -> Any:
    return next(one for one in stored["spec"][where] if one["name"] == name)


def is_prepared(stored: Any, name: str, where: str = "containers", kind: str = "nvidia", variable: str = VISIBLE) -> bool:
    """Whether a container reads its grant: its variable, its volume."""
    found = of(stored, name, where)
    field = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{names.visible_key(kind, name)}']"}}
    mounts = {one["mountPath"]: one["name"] for one in found.get("volumeMounts", [])}
    volumes = {one["name"] for one in stored["spec"].get("volumes", [])}
    return {"name": variable, "valueFrom": field} in found.get("env", []) and mounts.get(names.GRANT_FOLDER) in volumes


# --- What pods are afterwards -----------------------------------------------------------------------------------------


def test_the_articles_pod_is_prepared(plane: ControlPlane, webhook: Webhook) -> None:
    plane.kubectl("apply", "-n", WORK, "-f", "-", stdin=ARTICLE)

    stored = plane.get("pod", "gpu-pod", "-n", WORK)
    main = of(stored, "ubuntu-container")
    assert stored["metadata"]["labels"] == {names.PREPARED: "true"}
    assert stored["spec"]["schedulerName"] == "hami-scheduler"
    assert is_prepared(stored, "ubuntu-container")
    assert main["resources"]["limits"] == {GPU: "1", MEMORY: "3k", CORES: "30"}
    assert main["resources"]["requests"] == main["resources"]["limits"]
    (volume,) = (one for one in stored["spec"]["volumes"] if one["name"] == names.grant_volume("ubuntu-container"))
    (item,) = volume["downwardAPI"]["items"]
    assert (item["path"], item["fieldRef"]["fieldPath"]) == (
        names.LIMITS_FILE,
        f"metadata.annotations['{names.grant_key('ubuntu-container')}']",
    )
    plane.kubectl("delete", "pod", "gpu-pod", "-n", WORK, "--now")


def test_the_pods_of_a_deployment_are_prepared_and_its_template_stays(plane: ControlPlane, webhook: Webhook) -> None:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container(gpu=1, gpumem=1000)]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    metadata = {"name": "d", "namespace": WORK}
    plane.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})

    def pods() -> list[Any]:
        found: list[Any] = plane.get("pods", "-n", WORK, "-l", f"app=d,{names.PREPARED}=true")["items"]
        return found

    wait_for(lambda: len(pods()) == 2, "made")
    assert all(is_prepared(one, "main") for one in pods())
    assert "env" not in plane.get("deployment", "d", "-n", WORK)["spec"]["template"]["spec"]["containers"][0]
    plane.kubectl("set", "resources", "deployment", "d", "-n", WORK, f"--limits={GPU}=2")
    wait_for(lambda: [one for one in pods() if of(one, "main")["resources"]["limits"][GPU] == "2"], "made anew")
    plane.kubectl("delete", "deployment", "d", "-n", WORK)


def test_every_container_that_asks_is_prepared_and_no_other(plane: ControlPlane, webhook: Webhook) -> None:
    sidecar = {**container("sidecar", gpu=1, gpumem=500), "restartPolicy": "Always"}
    card = {"name": "card", "image": "none", "resources": {"limits": {"mock.dev/device": "1"}}}
    manifest = pod(
        container("main", gpu=1, gpumem=1000),
        container("plain"),
        card,
        initContainers=[container("before", gpu=2), sidecar],
    )

    stored = created(plane, manifest)

    assert is_prepared(stored, "main")
    assert is_prepared(stored, "before", "initContainers")
    assert is_prepared(stored, "sidecar", "initContainers")
    assert is_prepared(stored, "card", kind="mock", variable="MOCK_VISIBLE_DEVICES")
    assert "volumes" in stored["spec"]
    assert not is_prepared(stored, "plain")


def test_what_is_only_requested_becomes_a_limit(plane: ControlPlane, webhook: Webhook) -> None:
    stored = created(plane, pod(container(which="requests", gpu=1, gpumem=3000)))

    limits = of(stored, "main")["resources"]["limits"]
    assert (limits[GPU], limits[MEMORY]) == ("1", "3k")
    assert is_prepared(stored, "main")


def test_a_pod_that_is_not_ours_is_never_sent(plane: ControlPlane, webhook: Webhook) -> None:
    before = webhook.judged()

    for _ in range(20):
        created(plane, pod(container()))
    name = created(plane, pod(container()))["metadata"]["name"]
    debugger = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "none"}]}}
    plane.api().send("PATCH", f"{PODS}/{name}/ephemeralcontainers", json.dumps(debugger).encode(), STRATEGIC)

    assert webhook.judged() == before
    created(plane, pod(container(gpu=1)))
    assert webhook.judged()["prepared"] == before["prepared"] + 1


def test_a_container_that_another_webhook_adds_after_us_is_prepared_too(plane: ControlPlane, webhook: Webhook) -> None:
    with webhooks.adding(plane, container("added", gpu=1, gpumem=700)):
        wait_for(lambda: len(created(plane, pod(container()))["spec"]["containers"]) == 2, "called")

        stored = created(plane, pod(container(gpu=1, gpumem=1000)))

    assert is_prepared(stored, "main")
    assert is_prepared(stored, "added")


# --- What their authors are told --------------------------------------------------------------------------------------


BAD: Mapping[str, tuple[dict[str, Any], str]] = {
    "a suffix": (pod(container(gpu=1, gpumem="3Gi")), "nvidia.com/gpumem: 3Gi"),
    "too much of a device": (pod(container(gpu=1, gpucores=130)), "nvidia.com/gpucores: 130"),
    "a variable": (pod({**container(gpu=1), "env": [{"name": VISIBLE, "value": "all"}]}), f"{VISIBLE}: all"),
    "a variable alone": (pod({**container(), "env": [{"name": VISIBLE, "value": "all"}]}), f"{VISIBLE}: all"),
    "privileged": (pod({**container(gpu=1), "securityContext": {"privileged": True}}), "securityContext.privileged"),
    "the host's processes": (pod(container(gpu=1), hostPID=True), "spec.hostPID"),
    "a node": (pod(container(gpu=1), nodeName="node-1"), "spec.nodeName: node-1"),
}


@pytest.mark.parametrize(("manifest", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_pod_is_refused_in_a_sentence(
    plane: ControlPlane, webhook: Webhook, manifest: dict[str, Any], sentence: str
) -> None:
    before = webhook.judged().get("refused", 0)

    with pytest.raises(KubectlFailed) as told:
        plane.kubectl("create", "-n", WORK, "-f", "-", stdin=yaml.safe_dump(manifest), user="admin")

    assert f'admission webhook "admission.hami.io" denied the request: {sentence}' in str(told.value)
    line = [line for line in webhook.logged() if line["message"] == "refused"][-1]
    assert line["reason"].startswith(sentence)
    assert (line["namespace"], line["pod"], line["user"]) == (WORK, manifest["metadata"]["name"], "admin")
    assert webhook.judged()["refused"] == before + 1


def test_a_warning_reaches_the_author(plane: ControlPlane, webhook: Webhook) -> None:
    both = {**container(), "resources": {"limits": {GPU: "1", MEMORY: "3000", "nvidia.com/gpumem-percentage": "50"}}}
    manifest = pod(both)

    said = plane.kubectl("create", "-n", WORK, "-f", "-", stdin=yaml.safe_dump(manifest), check=False)

    assert "Warning: nvidia.com/gpumem: 3000 is used; nvidia.com/gpumem-percentage beside it is ignored" in said


def test_a_debugger_sees_no_device(plane: ControlPlane, webhook: Webhook) -> None:
    name = created(plane, pod(container(gpu=1)))["metadata"]["name"]
    greedy = {"name": "debug", "image": "none", "env": [{"name": VISIBLE, "value": "all"}]}
    patch = json.dumps({"spec": {"ephemeralContainers": [greedy]}}).encode()

    with pytest.raises(ApiRefused, match="an ephemeral container is granted no device"):
        plane.api().send("PATCH", f"{PODS}/{name}/ephemeralcontainers", patch, STRATEGIC)
