"""The command lines of the parts, and the files that they read. Pure: paths and ports in, words out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_core.testing.cluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hami_core.testing.cluster.certificates import Certificates

CLUSTER_IPS = "10.96.0.0/16"
ISSUER = "https://kubernetes.default.svc"
LONG = 100 << 10  # MiB of log before it is turned over: never, as readers follow one file

AUDIT_POLICY_FILE, AUDIT_LOG = "audit-policy.yaml", "audit.log"
ADMIN, ADMINS = "admin", "system:masters"
KUBELET_CLIENT = "kube-apiserver-kubelet-client"  # who the API server is to a kubelet: for exec, logs and port-forward
REAL = "hami.test/real"  # the label of nodes that have a kubelet

# Bodies where they tell what was decided about a pod; elsewhere who did what to which object. Bindings also when they come in:
# a server that is killed has carried out some whose answer it did not live to write down.
_ANSWERED = {"omitStages": ["RequestReceived"]}
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "rules": [
        {"level": "Request", "verbs": ["create"], "resources": [{"group": "", "resources": ["pods/binding"]}]},
        {"level": "Request", "verbs": ["patch", "update"], "resources": [{"group": "", "resources": ["pods"]}], **_ANSWERED},
        {"level": "RequestResponse", "verbs": ["create"], "resources": [{"group": "", "resources": ["pods"]}], **_ANSWERED},
        {"level": "None", "nonResourceURLs": ["/healthz*", "/readyz*", "/livez*", "/openapi/*", "/api*", "/version"]},
        {"level": "Metadata", **_ANSWERED},
    ],
}


@frozen
class Options:
    """How a control plane differs from the ordinary one."""

    controllers: bool = True  # kube-controller-manager: service accounts, Deployments, Jobs, garbage collection
    kwok: bool = True  # nodes that are only objects, kept ready, whose pods run
    node_lifecycle: bool = False  # taints and evictions for nodes without a heartbeat; then kwok's heart beats
    audit: bool = True  # the audit log; a benchmark does without
    admission: tuple[str, ...] = ()  # admission plugins beside those that are on by default
    api_arguments: tuple[str, ...] = ()  # further words for kube-apiserver


def etcd(program: Path, data: Path, client: int, peer: int) -> tuple[str, ...]:
    """Plain HTTP on loopback; no fsync, as nothing has to survive the machine."""
    return (
        str(program),
        f"--data-dir={data}",
        f"--listen-client-urls=http://{LOOPBACK}:{client}",
        f"--advertise-client-urls=http://{LOOPBACK}:{client}",
        f"--listen-peer-urls=http://{LOOPBACK}:{peer}",
        f"--initial-advertise-peer-urls=http://{LOOPBACK}:{peer}",
        f"--initial-cluster=default=http://{LOOPBACK}:{peer}",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
    )


def apiserver(
    program: Path, folder: Path, certificates: Certificates, etcd_port: int, port: int, options: Options
) -> tuple[str, ...]:
    """RBAC as in production. Flow control is off: one client of a benchmark would wait for its turn."""
    certificate, key = certificates.server
    client_certificate, client_key = certificates.client_files(KUBELET_CLIENT, (ADMINS,))
    off = [] if options.node_lifecycle else ["TaintNodesByCondition"]  # nobody would take the taint of a new node away
    off += [] if options.controllers else ["ServiceAccount"]  # nobody would make the accounts
    return (
        str(program),
        f"--etcd-servers=http://{LOOPBACK}:{etcd_port}",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--client-ca-file={certificates.ca}",
        f"--requestheader-client-ca-file={certificates.ca}",
        "--requestheader-allowed-names=front-proxy",
        f"--service-account-key-file={certificates.service_account_key}",
        f"--service-account-signing-key-file={certificates.service_account_key}",
        f"--service-account-issuer={ISSUER}",
        f"--service-cluster-ip-range={CLUSTER_IPS}",
        "--endpoint-reconciler-type=none",  # a loopback address is refused as an endpoint, again and again
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={client_certificate}",
        f"--kubelet-client-key={client_key}",
        "--enable-priority-and-fairness=false",
        "--max-requests-inflight=0",
        "--max-mutating-requests-inflight=0",
        *([f"--enable-admission-plugins={','.join(options.admission)}"] if options.admission else []),
        *([f"--disable-admission-plugins={','.join(off)}"] if off else []),
        *(_audit(folder) if options.audit else ()),
        *options.api_arguments,
    )


def _audit(folder: Path) -> tuple[str, ...]:
    files = (f"--audit-policy-file={folder / AUDIT_POLICY_FILE}", f"--audit-log-path={folder / AUDIT_LOG}")
    return (*files, f"--audit-log-maxsize={LONG}")


def controller_manager(
    program: Path, kubeconfig: Path, certificates: Certificates, port: int, options: Options
) -> tuple[str, ...]:
    """All controllers but those that watch over nodes' heartbeats, unless they are wanted."""
    unwanted = [] if options.node_lifecycle else ["-node-lifecycle-controller", "-taint-eviction-controller"]
    return (
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--controllers={','.join(['*', *unwanted])}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={certificates.service_account_key}",
        f"--root-ca-file={certificates.ca}",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    )


def scheduler(program: Path, configuration: Path, kubeconfig: Path, port: int) -> tuple[str, ...]:
    """With a configuration file; metrics and health on a port of its own."""
    return (
        str(program),
        f"--config={configuration}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
    )


def scheduler_configuration(given: Mapping[str, Any], kubeconfig: Path) -> dict[str, Any]:
    """What was given, with our way to the API server; leader election only where it is asked for."""
    connection = {"qps": 1000, "burst": 2000, **given.get("clientConnection", {}), "kubeconfig": str(kubeconfig)}
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        **given,
        "leaderElection": {"leaderElect": False, **given.get("leaderElection", {})},
        "clientConnection": connection,
    }


def kwok(program: Path, kubeconfig: Path, stages: Path, options: Options) -> tuple[str, ...]:
    """All nodes are its own but those that have a kubelet. Leases are renewed only where somebody looks: 5,000 cost a core."""
    return (
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--config={stages}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-label-selector=!{REAL}",
        f"--node-ip={LOOPBACK}",
        f"--node-lease-duration-seconds={40 if options.node_lifecycle else 0}",
    )


def kubeconfig(url: str, ca: bytes, user: str, certificate: bytes, key: bytes) -> dict[str, Any]:
    """A kubeconfig of one user, with everything in it."""
    from base64 import b64encode

    def text(data: bytes) -> str:
        return b64encode(data).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "hami", "cluster": {"server": url, "certificate-authority-data": text(ca)}}],
        "users": [{"name": user, "user": {"client-certificate-data": text(certificate), "client-key-data": text(key)}}],
        "contexts": [{"name": "hami", "context": {"cluster": "hami", "user": user}}],
        "current-context": "hami",
    }
