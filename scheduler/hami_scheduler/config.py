"""The configuration of the kube-scheduler beside the extender, made from the same settings and the same catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hami_core.sharing import CoreSettings
from hami_scheduler.auth import access
from hami_scheduler.settings import MTLS, SchedulerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings

ELECTION = {"leaseDuration": "3s", "renewDeadline": "2s", "retryPeriod": "500ms"}
"""A standby takes over within five seconds. Short is safe: the Lease fences Bindings, so nothing rests on clocks."""

CLIENT = {"qps": 500, "burst": 1000}
"""kube-scheduler's own events and statuses; its defaults of 50 and 100 are less than it schedules in a second."""


def kube_scheduler(catalogue: Catalogue, settings: Settings) -> dict[str, Any]:
    """KubeSchedulerConfiguration. SettingsError: the extender's address and authentication do not go together."""
    core, own = settings[CoreSettings], settings[SchedulerSettings]
    configuration: dict[str, Any] = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {
            "leaderElect": True,
            "resourceLock": "leases",
            "resourceName": core.scheduler_name,
            "resourceNamespace": core.namespace,
            **ELECTION,
        },
        "clientConnection": dict(CLIENT),
        "profiles": [{"schedulerName": core.scheduler_name}],
        "extenders": [_extender(catalogue, own)],
    }
    if own.share_of_nodes:
        configuration["percentageOfNodesToScore"] = own.share_of_nodes
    return configuration


def _extender(catalogue: Catalogue, own: SchedulerSettings) -> dict[str, Any]:
    found = access(own)
    extender: dict[str, Any] = {
        "urlPrefix": found.url,
        "filterVerb": "filter",
        "prioritizeVerb": "prioritize",
        "bindVerb": "bind",
        "weight": 1,
        "nodeCacheCapable": True,
        "httpTimeout": f"{own.timeout:g}s",
        "ignorable": False,
        "managedResources": list(_managed(catalogue)),
    }
    if own.auth == MTLS:
        extender["enableHTTPS"] = True
        extender["tlsConfig"] = {"caFile": own.server_ca_file, "certFile": own.client_cert_file, "keyFile": own.client_key_file}
    return extender


def _managed(catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    """Every resource name. The count is what kubelets advertise: kube-scheduler counts it too, so it is checked twice."""
    for kind in catalogue.kinds:
        for name in kind.resources.names():
            yield {"name": name, "ignoredByScheduler": name != kind.resources.count}
