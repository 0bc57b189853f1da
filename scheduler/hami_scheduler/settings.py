"""What an operator may set of the scheduler, under the names of HAMi's chart where it has one."""

from __future__ import annotations

from attrs import frozen

from hami_core.settings import Form, setting

_ADDRESS = Form(r"(\[[0-9a-fA-F:]+\]|[^:\[\]]*):[0-9]{1,5}", "HOST:PORT, or :PORT for all addresses")
_IDENTITY = Form(r"[^/\s]*", "a word without blanks and slashes")

_NODES = 100_000  # more than any cluster has

LOOPBACK, TOKEN, MTLS = "loopback", "token", "mtls"


@frozen
class SchedulerSettings:
    """The extender, its place beside kube-scheduler, and what it tells."""

    bind_address: str = setting(
        "scheduler.extender.bindAddress",
        "127.0.0.1:9396",
        "Where kube-scheduler reaches the extender.",
        form=_ADDRESS,
    )
    auth: str = setting(
        "scheduler.extender.auth",
        LOOPBACK,
        "Who may call the extender: loopback (it listens on a loopback address, so only what shares the pod's network reaches "
        "it), token (who knows the word in scheduler.extender.tokenFile, a part of the URL), mtls (who has a certificate of "
        "scheduler.extender.clientCAFile).",
        choices=(LOOPBACK, TOKEN, MTLS),
    )
    token_file: str = setting(
        "scheduler.extender.tokenFile",
        "",
        "File with the secret word of the URL, at least 16 letters, digits, hyphens and underscores; for auth=token.",
    )
    client_ca_file: str = setting(
        "scheduler.extender.clientCAFile", "", "File with the CA that signs kube-scheduler's certificate; for auth=mtls."
    )
    cert_file: str = setting(
        "scheduler.extender.certFile", "", "The extender's own certificate, read again when it changes; for auth=mtls."
    )
    key_file: str = setting("scheduler.extender.keyFile", "", "The key of that certificate; for auth=mtls.")
    timeout: float = setting(
        "scheduler.extender.httpTimeoutSeconds",
        5.0,
        "Seconds that kube-scheduler waits for an answer. A Binding that the API server has not answered one second before is "
        "told as a failure, and followed until it is known.",
        low=2,
        high=60,
    )
    nodes_returned: int = setting(
        "scheduler.extender.nodesReturned",
        16,
        "How many of the fitting nodes kube-scheduler gets to choose from, the best first. 1: hami alone decides; all: each of "
        "them costs kube-scheduler time.",
        low=1,
        high=_NODES,
        words=(("all", _NODES),),
    )
    hold: float = setting(
        "scheduler.extender.holdSeconds",
        10.0,
        "Seconds that the room on the likely node is kept for a pod between filter and bind.",
        low=0.1,
        high=600,
    )
    log_level: str = setting(
        "scheduler.extender.logLevel",
        "info",
        "Least grave kind of line that is logged.",
        choices=("debug", "info", "warning", "error"),
    )
    metrics_address: str = setting(
        "scheduler.metricsBindAddress",
        ":9395",
        "Where metrics, /healthz, /readyz and /explain are served.",
        form=_ADDRESS,
    )
    identity: str = setting(
        "scheduler.identity",
        "",
        "The first part of the holder identity in kube-scheduler's Lease, which is its host name: the extender leads while the "
        "kube-scheduler of this name does. Empty: this host's name.",
        form=_IDENTITY,
    )
    client_cert_file: str = setting(
        "scheduler.kubeScheduler.clientCertFile", "", "kube-scheduler's certificate towards the extender; for auth=mtls."
    )
    client_key_file: str = setting("scheduler.kubeScheduler.clientKeyFile", "", "The key of that certificate; for auth=mtls.")
    server_ca_file: str = setting(
        "scheduler.kubeScheduler.extenderCAFile", "", "The CA by which kube-scheduler knows the extender; for auth=mtls."
    )
    share_of_nodes: int = setting(
        "scheduler.kubeScheduler.percentageOfNodesToScore",
        0,
        "Percent of the nodes that kube-scheduler looks at for one pod; only those reach the extender. 0: kube-scheduler's own "
        "choice, fewer the larger the cluster. Packing across a whole large cluster needs 100.",
        low=0,
        high=100,
    )
