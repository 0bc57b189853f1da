"""The webhook's process: away, ending, two of them, its registration meddled with, its certificates renewed under load."""

from __future__ import annotations

import base64
import signal
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hami_core import names
from hami_core.testing.cluster.api import ApiRefused
from hami_webhook.keeping import SECRET
from tests.cluster import webhooks
from tests.cluster.admitting import ADMISSION, OURS, installed, message, wait_for
from tests.cluster.webhooks import container, pod

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hami_core.testing.cluster import ControlPlane

WORK = "work"
PODS = f"/api/v1/namespaces/{WORK}/pods"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with installed() as plane:
        plane.make_namespace(WORK)
        yield plane


def created(plane: ControlPlane, manifest: Mapping[str, Any]) -> Any:
    return plane.api().create(PODS, manifest)


# --- Without it, and around it ----------------------------------------------------------------------------------------


def test_while_it_is_away_our_pods_are_refused_and_others_pass(plane: ControlPlane) -> None:
    with webhooks.running(plane) as webhook:
        webhooks.until_called(plane, PODS)
        webhook.program.kill()

        with pytest.raises(ApiRefused) as told:
            created(plane, pod(container(gpu=1)))
        assert 'failed calling webhook "admission.hami.io"' in message(told.value.text)
        created(plane, pod(container()))


def test_a_namespace_that_is_left_out_is_not_seen(plane: ControlPlane) -> None:
    for name in ("left-out", "labelled"):
        plane.make_namespace(name)
    plane.kubectl("label", "namespace", "labelled", f"{names.WEBHOOK}={names.WEBHOOK_IGNORE}")

    with webhooks.running(plane, settings={"scheduler.admissionWebhook.whitelistNamespaces": "[left-out]"}) as webhook:
        webhooks.until_called(plane, PODS)
        before = webhook.judged()
        for name in ("left-out", "labelled"):
            stored = plane.api().create(f"/api/v1/namespaces/{name}/pods", pod(container(gpu=1)))
            assert names.PREPARED not in stored["metadata"].get("labels", {})

        assert webhook.judged() == before


def test_what_somebody_changes_in_the_registration_does_not_last(plane: ControlPlane) -> None:
    with webhooks.running(plane, settings=HASTY):
        webhooks.until_called(plane, PODS)
        open_ = '[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]'
        plane.kubectl("patch", "mutatingwebhookconfiguration", names.ADMISSION, "--type=json", f"-p={open_}")
        plane.kubectl("delete", "validatingadmissionpolicybinding", "hami-guard")

        def policy() -> str:
            (hook,) = plane.get("mutatingwebhookconfiguration", names.ADMISSION)["webhooks"]
            return str(hook["failurePolicy"])

        wait_for(lambda: policy() == "Fail", "mended")
        wait_for(lambda: plane.kubectl("get", "validatingadmissionpolicybinding", "hami-guard", "--ignore-not-found"), "back")


# --- Certificates -----------------------------------------------------------------------------------------------------

HASTY = {"scheduler.admissionWebhook.certificateHours": 20 / 3600}  # so many seconds, looked after once in one


@pytest.mark.long
def test_certificates_are_renewed_under_load_without_a_failure(plane: ControlPlane) -> None:
    """Until the second authority after the first: pods are made all the time, and each is prepared."""
    plane.kubectl("delete", "secret", SECRET, "-n", OURS, "--ignore-not-found")  # that of another test lives for months
    with webhooks.running(plane, settings=HASTY):
        webhooks.until_called(plane, PODS)
        bundles, leaves, made, failures = {webhooks.bundle(plane)}, {served(plane)}, 0, []
        over = threading.Event()

        def look() -> int:
            bundles.add(webhooks.bundle(plane))
            leaves.add(served(plane))
            return len(bundles)

        def make() -> None:
            nonlocal made
            api = plane.api()
            while not over.is_set():
                try:
                    stored = api.create(f"{PODS}?dryRun=All", pod(container(gpu=1)))
                    made += names.PREPARED in stored["metadata"]["labels"]
                except ApiRefused as error:
                    failures.append(message(error.text))

        threads = [threading.Thread(target=make) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: look() > 2, "renewed", 150)
        finally:
            over.set()
            for thread in threads:
                thread.join()

        assert failures == []
        assert made > 1000
        assert len(leaves) > 4
        assert b"" not in bundles


def served(plane: ControlPlane) -> str:
    return str(plane.get("secret", SECRET, "-n", OURS)["data"]["tls.crt"])


def test_two_that_begin_at_once_end_with_one_authority_and_serve_the_same(plane: ControlPlane) -> None:
    plane.kubectl("delete", "secret", SECRET, "-n", OURS, "--ignore-not-found")
    both = ("one", "other")
    ports = [plane.ports[name] for name in both]  # before there are threads
    plane.kubeconfig(ADMISSION)

    threads = [threading.Thread(target=webhooks.start, args=(plane, name), kwargs={"port_of": "one"}) for name in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        kept = plane.get("secret", SECRET, "-n", OURS)["data"]
        assert webhooks.bundle(plane) == base64.b64decode(kept["ca.crt"])
        wait_for(lambda: {shown(port) for port in ports} == {base64.b64decode(kept["tls.crt"]).decode()}, "served by both")
        webhooks.until_called(plane, PODS)
    finally:
        for name in both:
            plane.kill(name)
        plane.kubectl("delete", "mutatingwebhookconfiguration", names.ADMISSION, "--ignore-not-found")


def shown(port: int) -> str:
    return ssl.get_server_certificate((webhooks.HOST, port))


def is_up(plane: ControlPlane) -> bool:
    try:
        return not webhooks.unprepared(plane, PODS)
    except ApiRefused:
        return False


def test_a_secret_that_is_deleted_or_damaged_comes_back(plane: ControlPlane) -> None:
    with webhooks.running(plane, settings=HASTY):
        webhooks.until_called(plane, PODS)

        plane.kubectl("delete", "secret", SECRET, "-n", OURS)
        wait_for(lambda: plane.kubectl("get", "secret", SECRET, "-n", OURS, "--ignore-not-found"), "back")
        plane.kubectl("patch", "secret", SECRET, "-n", OURS, "-p", '{"data": {"tls.key": "bm9uc2Vuc2U="}}')
        wait_for(lambda: b"PRIVATE" in base64.b64decode(plane.get("secret", SECRET, "-n", OURS)["data"]["tls.key"]), "mended")

        assert is_up(plane)


def test_certificates_of_somebody_else_are_followed(plane: ControlPlane) -> None:
    folder = plane.folder / "mounted"
    folder.mkdir()

    def issue() -> None:
        certificate, key = plane.certificates.server_for(webhooks.HOST)
        for name, content in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", plane.certificates.ca.read_bytes())):
            (folder / f".{name}").write_bytes(content)
            (folder / f".{name}").rename(folder / name)

    issue()
    with webhooks.running(plane, settings={**HASTY, "scheduler.admissionWebhook.certificateFolder": folder}) as webhook:
        webhooks.until_called(plane, PODS)
        expiry = "hami_webhook_certificate_expiry_timestamp_seconds"
        (folder / "tls.key").write_text("nonsense")
        wait_for(lambda: [line for line in webhook.logged() if line["message"] == "not looked after"], "told")
        assert is_up(plane)
        issue()

        wait_for(lambda: expiry in webhook.get("/metrics"), "served")
        assert is_up(plane)


def test_it_still_answers_for_a_while_after_it_is_told_to_end(plane: ControlPlane) -> None:
    with webhooks.running(plane, settings={"scheduler.admissionWebhook.drainSeconds": 3}) as webhook:
        webhooks.until_called(plane, PODS)
        webhook.program.send(signal.SIGTERM)

        wait_for(lambda: not webhook.ready(), "known to be ending")
        assert webhook.get("/healthz") == "ok"
        assert names.PREPARED in created(plane, pod(container(gpu=1)))["metadata"]["labels"]
        wait_for(lambda: not webhook.program.running, "ended")
        assert [line["message"] for line in webhook.logged()] == ["serving", "ready", "ending"]
