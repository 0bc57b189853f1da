"""Which pods the API server would send to admission, by its own reading of our expression: behind it is nobody.

So a pod that is sent is refused, because admission cannot be reached, and all others are created.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from hami_core.testing.cluster.api import ApiRefused
from hami_webhook import rules
from tests.webhook.door import CARD, GPU, MEMORY, a_container, a_pod, world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.api import Api

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
NAME = "nobody.hami.test"
SECONDS = 30.0

SENT = {
    "a limit of ours": a_pod(a_container(limits={GPU: "1"})),
    "a limit of ours, without a count": a_pod(a_container(limits={"cpu": "1", MEMORY: "3000"})),
    "a request of ours alone": a_pod(a_container(resources={"requests": {GPU: "1"}})),
    "another vendor's": a_pod(a_container(limits={CARD: "1"})),
    "the second container": a_pod(a_container("a"), a_container("b", {GPU: "1"})),
    "an init container": a_pod(a_container("a"), initContainers=[a_container("b", {GPU: "1"})]),
    "a sidecar": a_pod(a_container("a"), initContainers=[a_container("b", {GPU: "1"}, restartPolicy="Always")]),
    "the whole pod": a_pod(a_container(), resources={"limits": {GPU: "1"}}),
    "devices of one's own choice": a_pod(a_container(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}])),
    "the label": a_pod(a_container(), metadata={"labels": {"hami.io/prepared": "no"}}),
    "a grant": a_pod(a_container(), metadata={"annotations": {"grant.hami.io/main": ""}}),
    "visible devices": a_pod(a_container(), metadata={"annotations": {"mock.hami.io/main": ""}}),
    "an inventory": a_pod(a_container(), metadata={"annotations": {"devices.hami.io/nvidia": ""}}),
    "a term": a_pod(a_container(), metadata={"annotations": {"hami.io/term": ""}}),
    "a reason for waiting": a_pod(a_container(), metadata={"annotations": {"hami.io/waiting": ""}}),
    "opted out, and yet asking": a_pod(a_container(limits={GPU: "1"}), metadata={"labels": {"hami.io/webhook": "ignore"}}),
}
LEFT_ALONE = {
    "nothing": a_pod(a_container()),
    "empty fields": a_pod({"name": "main", "image": "x", "env": None, "resources": {"limits": None}}, initContainers=[]),
    "cpu and memory": a_pod(a_container(limits={"cpu": "1", "memory": "1Gi"}), resources={"limits": {"cpu": "2"}}),
    "somebody else's resource": a_pod(a_container(limits={"nvidia.com.example/gpu": "1"})),
    "other variables": a_pod(a_container(env=[{"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "all"}])),
    "wishes without a share": a_pod(a_container(), metadata={"annotations": {"hami.io/gpu-scheduler-policy": "binpack"}}),
    "the opt-out": a_pod(a_container(), metadata={"labels": {"hami.io/webhook": "ignore"}}),
    "thousands of variables": a_pod(
        *(a_container(f"c{c}", env=[{"name": f"V{v}", "value": ""} for v in range(500)]) for c in range(20))
    ),
}


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """With our match conditions in force in one namespace."""
    api = control_plane.api()
    control_plane.make_namespace("matched")
    webhook = {
        "name": NAME,
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "matched"}},
        "matchConditions": rules.match_conditions(world()[0]),
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    api.create(CONFIGURATIONS, {**kind, "metadata": {"name": NAME}, "webhooks": [webhook]})
    end = time.monotonic() + SECONDS
    while not is_sent(api, SENT["a limit of ours"]):
        assert time.monotonic() < end, "the configuration is not in force"
    yield api
    api.delete(f"{CONFIGURATIONS}/{NAME}")
    api.delete("/api/v1/namespaces/matched")


def is_sent(api: Api, pod: dict[str, Any]) -> bool:
    try:
        api.create("/api/v1/namespaces/matched/pods?dryRun=All", pod)
    except ApiRefused as refused:
        assert f'failed calling webhook \\"{NAME}\\"' in refused.text, refused  # quoted in JSON
        return True
    return False


@pytest.mark.parametrize("what", SENT)
def test_a_pod_of_ours_is_sent(api: Api, what: str) -> None:
    assert is_sent(api, SENT[what])


@pytest.mark.parametrize("what", LEFT_ALONE)
def test_another_pod_does_not_notice_that_admission_is_away(api: Api, what: str) -> None:
    assert not is_sent(api, LEFT_ALONE[what])


def test_a_pod_without_containers_is_refused_in_the_words_of_the_api_server(api: Api) -> None:
    empty = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "empty"}, "spec": {"containers": None}}

    with pytest.raises(ApiRefused, match=r"spec\.containers: Required value"):
        api.create("/api/v1/namespaces/matched/pods?dryRun=All", empty)
