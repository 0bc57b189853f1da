"""A stock kube-scheduler behind each way of authentication, by the configuration that ``hami scheduler config`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from hami_core.testing.cluster.nodes import publish, remove
from tests.cluster.scheduling import GPU, MEMORY, Pair, a_pod, placed, prepare, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.testing.cluster import ControlPlane
    from hami_core.testing.cluster.nodes import Simulated


def by_token(folder: Path) -> str:
    (folder / "token").write_text("0123456789abcdef")
    return f"scheduler.extender.auth=token,scheduler.extender.tokenFile={folder / 'token'}"


def by_certificates(folder: Path) -> str:
    servers, clients = trustme.CA(), trustme.CA()
    own, theirs = servers.issue_cert("127.0.0.1"), clients.issue_cert("kube-scheduler")
    files = {
        "scheduler.extender.certFile": own.cert_chain_pems[0],
        "scheduler.extender.keyFile": own.private_key_pem,
        "scheduler.extender.clientCAFile": clients.cert_pem,
        "scheduler.kubeScheduler.clientCertFile": theirs.cert_chain_pems[0],
        "scheduler.kubeScheduler.clientKeyFile": theirs.private_key_pem,
        "scheduler.kubeScheduler.extenderCAFile": servers.cert_pem,
    }
    for path, content in files.items():
        content.write_to_path(folder / path)
    return ",".join(["scheduler.extender.auth=mtls", *(f"{path}={folder / path}" for path in files)])


WAYS = {"token": by_token, "mtls": by_certificates}


@pytest.mark.parametrize("way", WAYS)
def test_a_pod_is_placed(control_plane: ControlPlane, namespace: str, simulated: Simulated, tmp_path: Path, way: str) -> None:
    prepare(control_plane)
    api = control_plane.api()
    publish(api, simulated, [simulated.node(f"node-{way}", devices=1)])
    pair = Pair(control_plane, f"host-{way}", WAYS[way](tmp_path)).start()
    try:
        wait_for(pair.leads, "leading")
        api.create(f"/api/v1/namespaces/{namespace}/pods", a_pod("p", {GPU: 1, MEMORY: 3000}))

        assert placed(control_plane, namespace, "p")["spec"]["nodeName"] == f"node-{way}"
    finally:
        pair.stop()
        remove(api, f"node-{way}")
