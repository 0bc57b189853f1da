"""The settings of admission, by HAMi's names where HAMi has one."""

from __future__ import annotations

from attrs import frozen

from hami_core.settings import Form, setting

ADDRESS = Form(r"(\[[0-9a-fA-F:]+\]|[^:\[\]]*):[0-9]{1,5}", "HOST:PORT, or :PORT for all addresses")
URL = Form(r"(https://[^/?#@\s]+(/[^?#\s]*)?)?", "a URL as in https://192.0.2.7:9443/admit")
NAMESPACE = Form(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "the name of a namespace")


@frozen
class WebhookSettings:
    """Values of the chart that concern admission."""

    overwrite_scheduler: bool = setting(
        "scheduler.forceOverwriteDefaultScheduler",
        True,
        "A pod that asks for a share and names no scheduler, or default-scheduler, is given to ours. false: only pods that "
        "name ours are granted anything.",
    )
    refuse_privileged: bool = setting(
        "scheduler.admissionWebhook.refusePrivileged",
        True,
        "Pods that ask for a share are refused if one of their containers is privileged, or if they see the host's processes "
        "(hostPID): such a container reaches every device of its node, whatever it was granted.",
    )
    left_out: tuple[str, ...] = setting(
        "scheduler.admissionWebhook.whitelistNamespaces",
        (),
        "Namespaces whose pods admission does not see: nothing is prepared there, so nothing is granted. The same goes for "
        "namespaces with the label hami.io/webhook: ignore.",
        item=str,
        form=NAMESPACE,
    )
    bind_address: str = setting(
        "scheduler.admissionWebhook.bindAddress",
        ":9443",
        "Where the webhook listens, with HTTPS: /admit, /healthz, /readyz, /metrics.",
        form=ADDRESS,
    )
    url: str = setting(
        "scheduler.admissionWebhook.url",
        "",
        "Where API servers find a webhook that runs outside of the cluster; empty: by the Service hami-webhook.",
        form=URL,
    )
    certificate_folder: str = setting(
        "scheduler.admissionWebhook.certificateFolder",
        "",
        "Folder with tls.crt, tls.key and ca.crt that somebody else keeps (a mounted Secret of cert-manager), followed as they "
        "change. Empty: certificates of our own, in the Secret hami-webhook-tls.",
    )
    certificate_hours: float = setting(
        "scheduler.admissionWebhook.certificateHours",
        2160.0,
        "Hours that a certificate of our own lives; its authority lives four times as long. Both are renewed after two thirds.",
        low=0.005,
        high=8760,
    )
    trusted_users: tuple[str, ...] = setting(
        "scheduler.admissionWebhook.trustedUsers",
        (),
        "Users, beside hami's own service accounts, that may write what only hami writes: grants, and what nodes have.",
        item=str,
    )
    drain: float = setting(
        "scheduler.admissionWebhook.drainSeconds",
        3.0,
        "Seconds that the webhook still answers after it was told to end: as long as API servers take to hear of it.",
        low=0,
        high=60,
    )
