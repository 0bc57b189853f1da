"""Every string that another process sees: annotation keys, file names, environment variables, words of formats.

Written once, here (and in the C headers for what C reads); a literal ``hami.io/`` elsewhere fails a test.
No vendor's name stands here: those belong to the plugin that owns them.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

ENTRY_POINTS: Final = "hami"  # the group of entry points, and the project name that pluggy greps for

# --- Annotations on pods and nodes. By container name, never by index: other webhooks insert containers. ---
NODE_POLICY: Final = "hami.io/node-scheduler-policy"  # HAMi's key: binpack, spread
DEVICE_POLICY: Final = "hami.io/gpu-scheduler-policy"  # HAMi's key, kept for every vendor's devices
SCORING_WEIGHTS: Final = "hami.io/device-scoring-weights"  # HAMi's key: slot=1,core=1,memory=3
PREPARED: Final = "hami.io/prepared"  # label of every pod that admission has prepared; its value is "true"
DEFAULTED: Final = "hami.io/defaulted"  # which amounts admission wrote where the user gave none; refusals say so
WEBHOOK: Final = "hami.io/webhook"  # HAMi's label on namespaces and pods
WEBHOOK_IGNORE: Final = "ignore"  # its value for those that admission does not prepare
TERM: Final = "hami.io/term"  # on a Binding, and so on its pod: under which leadership it was granted
EXTENDER: Final = "hami.io/extender"  # on kube-scheduler's Lease: the word of the extender process that leads beside it
WAITING: Final = "hami.io/waiting"  # why a pod waits, for people
DEVICE_CORDON: Final = "hami.io/device-cordon"  # HAMi's key, on nodes: ids of devices that get nothing new


def grant_key(container: str) -> str:
    """Annotation that carries the limits text of one container, all kinds."""
    return f"grant.hami.io/{container}"


def visible_key(kind: str, container: str) -> str:
    """Annotation that carries the visible-devices value of one kind for one container."""
    return f"{kind}.hami.io/{container}"


def defaulted_amount(container: str, resource: str, amount: int) -> str:
    """One item of the comma list in DEFAULTED."""
    return f"{container}:{resource}={amount}"


def inventory_key(kind: str) -> str:
    """Annotation on a node that carries its devices of one kind."""
    return f"devices.hami.io/{kind}"


def kind_of_inventory(key: str) -> str:
    """The kind that such an annotation is about; empty: it is none."""
    prefix, _, kind = key.partition("/")
    return kind if f"{prefix}/" == inventory_key("") else ""


DEVICE_LABELS: Final = ("count", "memory", "model")  # of a node's devices of one kind, for selectors


def device_label(kind: str, what: str) -> str:
    """Label on a node that says one of DEVICE_LABELS of its devices of one kind."""
    return f"{kind}.hami.io/{what}"


def is_device_label(key: str) -> bool:
    """Whether it is such a label, of whatever kind."""
    prefix, _, what = key.partition("/")
    return what in DEVICE_LABELS and prefix.endswith(".hami.io")


# --- Who we are to the API server. ---
SCHEDULER: Final = "hami-scheduler"  # a service account
ADMISSION: Final = "hami-webhook"  # a service account, and the name of its Service and webhook configuration
NODE_AGENT: Final = "hami-node"  # a service account


def user(namespace: str, account: str) -> str:
    """A service account as RBAC, admission and the audit log call it."""
    return f"system:serviceaccount:{namespace}:{account}"


# --- The limits file (read by native/src; its grammar is native/include/limits.h). ---
LIMITS_HEADER: Final = "hami-limits 1"
LIMITS_END: Final = "end"
LIMITS_FILE: Final = "limits"
LIMITS_PATH: Final = "/etc/hami/grant/limits"
GRANT_FOLDER: Final = "/etc/hami/grant"  # where a container finds its limits file
REGION_FOLDER: Final = "/var/lib/hami/region"
PRELOAD_FILE: Final = "/etc/ld.so.preload"  # the loader's list of libraries that come first
LIBRARY_FOLDER: Final = "/var/lib/hami/lib"  # where a container finds the libraries that are loaded before its own
OWN_PATHS: Final = ("/etc/hami", "/var/lib/hami", PRELOAD_FILE)  # in a container that holds a share nobody else mounts there

GRANT_VOLUME: Final = "hami-grant-"  # of a pod, one for each container that asks: its limits file, by the downward API


def grant_volume(container: str) -> str:
    """The volume's name, a DNS label. Long ones are cut and told apart by a hash: 63 letters, which no other has."""
    name = f"{GRANT_VOLUME}{container}"
    return name if len(name) < 63 else f"{name[:54]}-{sha256(container.encode()).hexdigest()[:8]}"


def grant_id(uid: str, container: str) -> str:
    """Who holds a grant: one container of one pod. Stands in the limits file and in the region."""
    return f"{uid}/{container}"


def region_file(grant: str) -> str:
    """File name of a grant's region. A grant id has exactly one slash, so the name is as unique as the id."""
    return grant.replace("/", "_")


# --- Environment variables of our own. ---
ENV_LIMITS: Final = "HAMI_LIMITS"  # local mode: the limits file of this process
ENV_STATE: Final = "HAMI_STATE_DIR"  # local mode: where grants and simulated machines live
ENV_NODE: Final = "HAMI_NODE"  # the name of this node in the cluster
ENV_MACHINE: Final = "HAMI_MACHINE"  # a simulated machine to run on, instead of this one
ENV_CONFIG: Final = "HAMI_CONFIG"  # settings file, YAML in the chart's shape
ENV_SET: Final = "HAMI_SET"  # single settings, "a.b=c,d.e=f"
ENV_SCHEDULER: Final = "HAMI_SCHEDULER"  # URL of a scheduler to ask, instead of the one in the cluster
ENV_BLOCK: Final = "HAMI_BLOCK"  # plugins not to load, comma separated
