"""The core's own plugin: devices cut into shares by memory, cores and slots. What an owner leaves open is answered here.

Ordinary implementations, marked trylast, of the hooks that a stranger would use. Arithmetic lives in ``placement``,
``policies`` and ``requests``, imported when first asked, because numpy is slow to load.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core.hookspecs import hookimpl
from hami_core.model import DEVICE_POLICIES, NODE_POLICIES, Capacity, Grant, Mounts, Policy
from hami_core.settings import Form, setting
from hami_core.wishes import device_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import DeviceInventory, Fit, Kind, Pod, Request, Score, Share, Splitting
    from hami_core.settings import Settings
    from hami_core.table import NodeTable

MIB = 1024 * 1024
WORD = "|".join(DEVICE_POLICIES)
NAMESPACE = Form(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "a name of lower-case letters, digits and dashes")
SCHEDULER = Form(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "a name of lower-case letters, digits, dots and dashes")


@frozen
class CoreSettings:
    """What a pod gets that names no policy of its own, by HAMi's names and defaults; who schedules it; a driver's patience."""

    node_policy: str = setting(
        "scheduler.defaultSchedulerPolicy.nodeSchedulerPolicy",
        "binpack",
        "Which of several fitting nodes is taken: the fullest (binpack) or the emptiest (spread).",
        choices=NODE_POLICIES,
    )
    device_policy: str = setting(
        "scheduler.defaultSchedulerPolicy.gpuSchedulerPolicy",
        "spread",
        "Which of several fitting devices of a node is taken; `docs/policies.md` says what each word does.",
        form=Form(rf"\s*({WORD})\s*(,\s*({WORD})\s*)*", f"one or more of {', '.join(DEVICE_POLICIES)}, separated by commas"),
    )
    scheduler_name: str = setting(
        "schedulerName",
        "hami-scheduler",
        "The name under which pods find hami's scheduler: admission writes it into pods that ask for a share, and the "
        "kube-scheduler beside the extender answers to it.",
        form=SCHEDULER,
    )
    namespace: str = setting(
        "namespaceOverride",
        "hami-system",
        "The namespace of hami's own parts: service accounts, the webhook's Service and certificates, the scheduler's Lease.",
        form=NAMESPACE,
    )
    driver_deadline: float = setting(
        "driver.deadlineSeconds",
        10.0,
        "Seconds that a plugin's driver has for one answer. Then it is given up, and the other plugins' answers stand.",
        low=0.1,
        high=600.0,
        per_node=True,
    )


@hookimpl
def hami_settings() -> type[CoreSettings]:
    """The default policies."""
    return CoreSettings


@hookimpl(trylast=True)
def hami_parse(kind: Kind, pod: Pod, settings: Settings) -> Sequence[Request]:
    """By the kind's resource names and defaults."""
    from hami_core.requests import parse

    return parse(kind, pod, default_policy(settings))


def default_policy(settings: Settings) -> Policy:
    """The policy of a pod that names none."""
    core = settings[CoreSettings]
    return _policy(core.node_policy, core.device_policy)


@cache
def _policy(node: str, device: str) -> Policy:
    return Policy(node, device_policy(device))


@hookimpl(trylast=True)
def hami_split(inventory: DeviceInventory) -> Sequence[Capacity]:
    """Every device once, one slot, all its memory."""
    return [
        Capacity(
            device=device.id,
            model=device.model,
            slots=1,
            memory=device.memory,
            physical=device.memory,
            cores=device.cores,
            numa=device.numa,
            healthy=not device.sick,
        )
        for device in inventory.devices
    ]


@hookimpl(trylast=True)
def hami_fit(requests: Sequence[Request], table: NodeTable) -> Fit:
    """By count, selectors, health, cordon, slots, memory, cores and NUMA nodes."""
    from hami_core.placement import fit

    return fit(requests, table)


@hookimpl(trylast=True)
def hami_score(requests: Sequence[Request], table: NodeTable, fit: Fit) -> Score:
    """By the pod's node policy, and by how devices are connected where the pod asks for that."""
    from hami_core.policies import score

    return score(requests, table, fit)


@hookimpl(trylast=True)
def hami_place(splitting: Splitting, requests: Sequence[Request], row: NodeTable) -> Sequence[Share]:
    """The devices that fit found, by the pod's device policy."""
    from hami_core.placement import place

    return place(requests, row, splitting.name)


@hookimpl(trylast=True)
def hami_grant(kind: Kind, shares: Sequence[Share]) -> Grant:
    """Device ids joined by commas; a ``device`` line for each share, in bytes, and the options of the request."""
    lines = [
        f"device {share.device} memory={share.memory * MIB} physical={share.physical * MIB} cores={share.cores}\n"
        for share in shares
    ]
    options = [f"{key}={value}\n" for key, value in shares[0].options]
    return Grant(
        container=shares[0].container,
        kind=kind.name,
        visible=",".join(share.device for share in shares),
        section="".join(lines + options),
    )


@hookimpl(trylast=True)
def hami_mounts(kind: Kind) -> Mounts:
    """Nothing to mount; the visible-devices variable shows nothing until a grant overrides it."""
    return Mounts(env=((kind.visible_env, kind.hidden),))
