"""The fields of a Pod and what local mode does with each: carries it out, says that it has no effect here, or refuses it.

Data only; ``manifest`` reads it. A field that is missing from these tables is a spelling mistake, or newer than this build, and
is refused. Carried out: READ. Harmless on one host: the words of the note. What would make the process do something
else than on a cluster: REFUSED with what would be right. Source: the Pod of Kubernetes 1.34, core/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen


@frozen
class Noted:
    """Has no effect here, and need not have one."""

    why: str


@frozen
class Refused:
    """Cannot be carried out, and the process would notice."""

    instead: str


READ: Final = None
Fields = Mapping[str, Noted | Refused | None]

_ONE_HOST = Noted("there is one host to run on, this one")
_IDENTITY = Noted("processes run as the user who called hami")
_CLUSTER = Noted("it belongs to a cluster's copy of the pod")
_HOST_ALREADY = Noted("processes run in this host's own namespaces anyway")
_NETWORK = Noted("processes use this host's network")
_FILES = Refused("volumes are not mounted here; let the command use paths of this host, and remove this field")
_SECURITY = Refused("processes run with the rights of the user who called hami; remove this field, or run the pod on a cluster")
_PROBE = Refused("nobody would act on the probe here; remove this field")
_TERMINAL = Refused("a pod's standard input is empty here; use `hami run -- command` for a terminal")
_NAME = Refused("this host keeps its name and its hosts file; remove this field")

DOCUMENT: Fields = {
    "apiVersion": READ,
    "kind": READ,
    "metadata": READ,
    "spec": READ,
    "status": _CLUSTER,
}

METADATA: Fields = {
    "name": READ,
    "namespace": READ,
    "labels": READ,
    "annotations": READ,
    "generateName": Refused("give metadata.name"),
    **dict.fromkeys(
        (
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "ownerReferences",
            "finalizers",
            "managedFields",
            "selfLink",
        ),
        _CLUSTER,
    ),
}

SPEC: Fields = {
    "containers": READ,
    "initContainers": READ,
    "restartPolicy": READ,
    "terminationGracePeriodSeconds": READ,
    "activeDeadlineSeconds": READ,
    **dict.fromkeys(
        (
            "affinity",
            "nodeName",
            "nodeSelector",
            "os",
            "overhead",
            "preemptionPolicy",
            "priority",
            "priorityClassName",
            "runtimeClassName",
            "schedulerName",
            "tolerations",
            "topologySpreadConstraints",
        ),
        _ONE_HOST,
    ),
    **dict.fromkeys(("automountServiceAccountToken", "imagePullSecrets", "serviceAccount", "serviceAccountName"), _IDENTITY),
    **dict.fromkeys(("hostIPC", "hostNetwork", "hostPID", "shareProcessNamespace"), _HOST_ALREADY),
    **dict.fromkeys(("dnsPolicy", "enableServiceLinks", "readinessGates"), _NETWORK),
    **dict.fromkeys(("hostAliases", "hostname", "hostnameOverride", "setHostnameAsFQDN", "subdomain"), _NAME),
    "dnsConfig": Refused("names are looked up as this host does it; remove this field"),
    "volumes": Noted("no container mounts them"),  # one that did would be refused
    "resources": Noted("limits of a whole pod are not enforced here"),
    "ephemeralContainers": Refused("start the command in a container of its own"),
    "hostUsers": _SECURITY,
    "securityContext": _SECURITY,
    "resourceClaims": Refused("ask for devices by resource limits"),
    "schedulingGates": Refused("nobody would open the gate here; remove this field"),
}

CONTAINER: Fields = {
    "name": READ,
    "image": READ,
    "command": READ,
    "args": READ,
    "env": READ,
    "workingDir": READ,
    "resources": READ,
    "restartPolicy": READ,
    "imagePullPolicy": Noted("no image is pulled"),
    "ports": _NETWORK,
    "readinessProbe": Noted("nobody sends requests to the pod here"),
    "resizePolicy": _CLUSTER,
    "terminationMessagePath": _CLUSTER,
    "terminationMessagePolicy": _CLUSTER,
    "envFrom": Refused("there are no ConfigMaps and Secrets here; write the variables into env"),
    "lifecycle": Refused("put it into the container's command"),
    "livenessProbe": _PROBE,
    "startupProbe": _PROBE,
    "restartPolicyRules": Refused("give restartPolicy"),
    "securityContext": _SECURITY,
    "stdin": _TERMINAL,
    "stdinOnce": _TERMINAL,
    "tty": _TERMINAL,
    "volumeDevices": _FILES,
    "volumeMounts": _FILES,
}

VARIABLE: Fields = {"name": READ, "value": READ, "valueFrom": READ}

SOURCE: Fields = {
    "fieldRef": READ,
    **dict.fromkeys(
        ("configMapKeyRef", "secretKeyRef", "fileKeyRef"),
        Refused("there are no ConfigMaps and Secrets here; give the value itself"),
    ),
    "resourceFieldRef": Refused("cpu and memory are not limited here; give the value itself"),
}

RESOURCES: Fields = {"limits": READ, "requests": READ, "claims": Refused("ask for devices by resource limits")}
