"""The settings of admission, by HAMi's names where HAMi has one."""

from __future__ import annotations

from attrs import frozen

from hami_core.settings import setting


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
