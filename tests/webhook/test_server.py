"""The webhook's requests over HTTP: reviews in and out, refusals and faults, health, metrics, logs."""

from __future__ import annotations

import base64
import http.client
import json
import logging
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import jsonpatch
import pytest

from hami_core import hookimpl, names
from hami_core.errors import PluginError
from hami_webhook.metrics import Metrics
from hami_webhook.server import Admission
from tests.serving.running import HOST, running
from tests.webhook import door

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.model import Kind, Request
    from tests.serving.running import Running


@pytest.fixture
def webhook() -> Iterator[Running]:
    with serving() as server:
        yield server


@contextmanager
def serving(why: str = "") -> Iterator[Running]:
    catalogue, settings = door.world()
    metrics = Metrics(catalogue.resources())
    with running(Admission(door.installed().hook, catalogue, settings, metrics, lambda: why).app()) as server:
        yield server


def asked(server: Running, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(HOST, server.port, timeout=10)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def reviewed(server: Running, pod: Any, **more: Any) -> Any:
    """The response to a review of this pod."""
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "work",
        "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
        "object": pod,
        "oldObject": None,
        "dryRun": False,
        **more,
    }
    body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()
    status, answer = asked(server, "POST", "/admit", body)
    assert status == 200, answer
    document = json.loads(answer)
    assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert document["response"].pop("uid") == request["uid"]
    return document["response"]


def count(server: Running, line: str) -> float:
    _, text = asked(server, "GET", "/metrics")
    return next((float(one.rpartition(" ")[2]) for one in text.decode().splitlines() if one.startswith(line)), 0)


def test_a_pod_that_asks_is_answered_with_its_patch(webhook: Running) -> None:
    pod = door.asking(gpumem=3000)

    response = reviewed(webhook, pod)

    patch = json.loads(base64.b64decode(response.pop("patch")))
    assert response == {"allowed": True, "patchType": "JSONPatch"}
    assert jsonpatch.apply_patch(pod, patch) == door.prepared(pod)
    assert count(webhook, 'hami_webhook_requests_total{outcome="prepared"') == 1
    assert count(webhook, "hami_webhook_review_seconds_count") == 1


def test_a_prepared_pod_is_answered_without_one(webhook: Running) -> None:
    assert reviewed(webhook, door.prepared(door.asking(gpumem=3000))) == {"allowed": True}
    assert count(webhook, 'hami_webhook_requests_total{outcome="unchanged"') == 1


def test_a_bad_pod_is_refused_with_the_sentence_and_one_line_of_log(webhook: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hami_webhook"):
        response = reviewed(webhook, door.asking(gpumem="3Gi"))

    status = response["status"]
    assert not response["allowed"]
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["message"].startswith('nvidia.com/gpumem: 3Gi in container "')
    (record,) = caplog.records
    told = {key: getattr(record, key) for key in ("reason", "namespace", "user", "operation")}
    assert told == {"reason": status["message"], "namespace": "work", "user": "alice", "operation": "CREATE"}
    assert count(webhook, 'hami_webhook_requests_total{outcome="refused",reason="nvidia.com/gpumem"}') == 1


def test_the_reasons_in_metrics_are_few_whatever_users_write(webhook: Running) -> None:
    for number in range(20):
        pod = door.asking(gpumem=1000)
        pod["metadata"]["annotations"] = {names.grant_key(f"c{number}"): "x"}
        assert not reviewed(webhook, pod)["allowed"]

    assert count(webhook, 'hami_webhook_requests_total{outcome="refused",reason="annotation"}') == 20


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"request": {}}',
        b'{"request": {"uid": "x", "operation": "CREATE", "object": null}}',
        b'{"request": {"uid": "x", "operation": "CREATE", "object": "pod"}}',
        b'{"request": {"uid": 1, "operation": "CREATE", "object": {}}}',
        b'{"request": {"uid": "\xff", "operation": "CREATE", "object": {}}}',
        b'{"request":' * 100_000,
    ],
    ids=["empty", "nonsense", "list", "nothing", "no fields", "null", "text", "number", "not UTF-8", "deep"],
)
def test_what_is_no_review_is_400(webhook: Running, body: bytes) -> None:
    status, answer = asked(webhook, "POST", "/admit", body)

    assert status == 400
    assert json.loads(answer)["error"].startswith("no AdmissionReview: ")
    assert count(webhook, 'hami_webhook_requests_total{outcome="malformed"') == 1


@pytest.mark.parametrize(
    "pod",
    [
        {},
        {"spec": None},
        {"spec": {"containers": None}},
        {"spec": {"containers": [{}]}},
        {"spec": {"containers": [None]}},
        {"metadata": [], "spec": {"containers": "none"}},
        {"spec": {"containers": [{"name": "c", "resources": {"limits": ["nvidia.com/gpu"]}}]}},
        {"spec": {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": {}}}}]}},
        {"spec": {"containers": [{"name": "c", "env": {"name": "NVIDIA_VISIBLE_DEVICES"}}]}},
    ],
)
def test_whatever_comes_as_a_pod_is_answered_and_never_admitted_with_devices(webhook: Running, pod: Any) -> None:
    body = json.dumps({"request": {"uid": "x", "operation": "CREATE", "object": pod}}).encode()

    status, answer = asked(webhook, "POST", "/admit", body)

    assert status in {200, 500}
    if status == 200:
        assert "patch" not in json.loads(answer)["response"]


def test_a_plugins_fault_is_500_so_that_the_pod_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        @hookimpl(tryfirst=True)
        def hami_parse(self, kind: Kind) -> list[Request]:
            raise PluginError("acme", f"cannot say what {kind.name} is", "hami_parse")

    manager = door.installed().manager
    broken = Broken()
    manager.register(broken)
    try:
        with serving() as webhook, caplog.at_level(logging.ERROR):
            body = json.dumps({"request": {"uid": "x", "operation": "CREATE", "object": door.asking(gpumem=1000)}}).encode()
            status, answer = asked(webhook, "POST", "/admit", body)

            assert status == 500
            assert 'plugin "acme": hook hami_parse' in json.loads(answer)["error"]
            assert count(webhook, 'hami_webhook_requests_total{outcome="failed"') == 1
    finally:
        manager.unregister(broken)


def test_health_and_readiness(webhook: Running) -> None:
    assert asked(webhook, "GET", "/healthz") == (200, b"ok")
    assert asked(webhook, "GET", "/readyz") == (200, b"ok")
    with serving("not registered yet") as other:
        assert asked(other, "GET", "/healthz") == (200, b"ok")
        assert asked(other, "GET", "/readyz") == (503, b'{"error": "not registered yet"}')
