"""The registration, the policies and the manifests, as data: what of them follows the settings."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from hami_core import names, plugins
from hami_core.errors import PluginError
from hami_core.plugins import Failure
from hami_webhook import daemon, guard, registration
from hami_webhook.manifests import manifests
from hami_webhook.metrics import Metrics
from tests.webhook import door

URL = {"scheduler.admissionWebhook.url": "https://192.0.2.7:9443/admit"}


def test_the_registration_is_closed_and_trusts_the_bundle() -> None:
    found = registration.registration(*door.world(), b"PEM")

    (hook,) = found["webhooks"]
    assert (found["kind"], found["metadata"]["name"]) == ("MutatingWebhookConfiguration", "hami-webhook")
    assert (hook["failurePolicy"], hook["sideEffects"], hook["reinvocationPolicy"]) == ("Fail", "None", "IfNeeded")
    assert base64.b64decode(hook["clientConfig"]["caBundle"]) == b"PEM"
    assert hook["clientConfig"]["service"] == {
        "name": "hami-webhook",
        "namespace": "hami-system",
        "path": "/admit",
        "port": 443,
    }
    assert registration.hosts(door.world()[1])[0] == "hami-webhook.hami-system.svc"


def test_without_an_authority_there_is_no_registration() -> None:
    with pytest.raises(AssertionError, match="trusts nobody"):
        registration.registration(*door.world(), b"")


def test_outside_of_the_cluster_it_is_found_by_its_url() -> None:
    catalogue, settings = door.world(URL)

    config = registration.registration(catalogue, settings, b"PEM")["webhooks"][0]["clientConfig"]

    assert (config["url"], "service" in config) == ("https://192.0.2.7:9443/admit", False)
    assert registration.hosts(settings) == ("192.0.2.7",)
    assert "Service" not in {one["kind"] for one in manifests(catalogue, settings)}


def test_a_plugin_that_failed_is_no_reason_to_leave_its_pods_unseen() -> None:
    loaded = plugins.load(block="")
    broken = plugins.Plugins(loaded.manager, loaded.loaded, (Failure("acme", ImportError("no acme")),))

    with pytest.raises(PluginError, match=r"no acme; pods that ask for its devices would not be seen; .* HAMI_BLOCK"):
        daemon.refuse_failures(broken, door.world()[0])


def test_every_kind_of_the_catalogue_is_guarded() -> None:
    catalogue, settings = door.world()

    policy = json.dumps(guard.policies(catalogue, settings))

    assert len(catalogue.kinds) > 1
    for kind in catalogue.kinds:
        assert names.visible_key(kind.name, "") in policy


def test_rights_are_given_by_name() -> None:
    found = manifests(*door.world())

    rules = [(one["kind"], rule) for one in found if one["kind"] in {"Role", "ClusterRole"} for rule in one["rules"]]
    unnamed = [(kind, rule["resources"], rule["verbs"]) for kind, rule in rules if "resourceNames" not in rule]
    assert unnamed == [("ClusterRole", ["leases"], ["get"]), ("Role", ["secrets"], ["create"])]
    assert "*" not in {verb for _, rule in rules for verb in rule["verbs"]}


def test_the_page_about_the_webhook_names_every_metric() -> None:
    catalogue, _ = door.world()
    shown = {
        line.split()[2] for line in Metrics(catalogue.resources()).text().decode().splitlines() if line.startswith("# HELP")
    }
    page = (Path(__file__).parents[2] / "docs/webhook.md").read_text()

    named = set(re.findall(r"^\| `(hami_webhook_\w+)", page, re.MULTILINE))
    assert named == {name for name in shown if not name.endswith("_created")}
