"""What a node's programs are told: containerd, the CNI plug-in, the kubelet. Pure: names and ports in, files and words out.

The paths are the standard ones, as each node has a file system of its own.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from hami_core.testing.cluster.commands import REAL
from hami_core.testing.cluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SOCKET = "/run/containerd/containerd.sock"
PAUSE = "localhost/pause:hami"
PODS = IPv4Network("100.64.0.0/10")  # shared address space: nobody routes it, and few have it at home
MOST_PODS = 110

CONTAINERD = f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_tcp_service = true
  restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE nobody may lower it, and runc would not start a container
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""


def cni(port: int) -> str:
    """A pair of interfaces for each pod: they go with the pod, and leave no bridge behind. Addresses by the kubelet's port.

    Leases are in /run: after a reboot none of the pods that held them is there.
    """
    ipam = {"type": "host-local", "ranges": [[{"subnet": str(_network(port))}]], "dataDir": "/run/cni/networks"}
    plugin = {"type": "ptp", "ipMasq": False, "ipam": ipam}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]}, indent=1)


def _network(port: int) -> IPv4Network:
    """No two nodes of this machine have one port, so none share addresses: 2^15 networks of 126 addresses."""
    return IPv4Network((int(PODS.network_address) + (port % 2**15) * 2**7, 25))


def kubelet_settings(port: int, health_port: int, ca: Path, group: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """KubeletConfiguration. ``group``: the control group of this node. ``own``: what a test wants otherwise."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",  # noqa: S104  # the API server comes by the node's address
        "port": port,
        "readOnlyPort": 0,
        "healthzBindAddress": LOOPBACK,
        "healthzPort": health_port,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(ca)}},
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": group,
        "failCgroupV1": False,
        "failSwapOn": False,
        "featureGates": {"KubeletInUserNamespace": True},  # as root, but /proc/sys is not its own, and /dev/kmsg may be missing
        "oomScoreAdj": 0,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        "clusterDNS": ["10.96.0.10"],  # where nobody answers; without one every pod gets a warning
        "maxPods": MOST_PODS,
        "imageGCHighThresholdPercent": 100,  # images come from nowhere but the test
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "2s",
        "syncFrequency": "10s",
        "registerWithTaints": [],
        **own,
    }


def kubelet(program: Path, settings: str, kubeconfig: Path, name: str) -> tuple[str, ...]:
    """Its root is /var/lib/kubelet, as device plugins are looked for there whatever it is told."""
    return (
        str(program),
        f"--config={settings}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={name}",
        f"--node-labels={REAL}=true",
        "--root-dir=/var/lib/kubelet",
        "--v=2",
    )
