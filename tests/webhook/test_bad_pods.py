"""Pods that are refused, each with the whole sentence that its author reads: the field, the value, what would be right."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from hami_core.errors import ValidationError
from tests.webhook.door import NO_VALUES, a_container, a_pod, asking, prepared, review


def crowd(number: int) -> dict[str, Any]:
    """A pod of so many containers that ask, an init container among them."""
    limits = {"nvidia.com/gpu": "1"}
    others = [a_container(f"c{n}", limits=limits) for n in range(number - 1)]
    return a_pod(*others, initContainers=[a_container("first", limits=limits)])


BAD: dict[str, tuple[str, str]] = {
    "memory in a unit of bytes": (
        """
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1, nvidia.com/gpumem: 3Gi}}
        """,
        'nvidia.com/gpumem: 3Gi in container "train": give MiB as a plain number (3072)',
    ),
    "memory in bytes": (
        """
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1, nvidia.com/gpumem: 3G}}
        """,
        (
            'nvidia.com/gpumem: 3G in container "train": that is 3000000000 MiB, more than any device has; the unit is MiB '
            "already, so 3 GB are written 3000"
        ),
    ),
    "half a device": (
        """
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: "0.5"}}
        """,
        'nvidia.com/gpu: 0.5 in container "train": fractions are not possible; give a whole number (1)',
    ),
    "more compute than there is": (
        """
        spec:
          initContainers:
          - name: warm-up
            resources: {limits: {nvidia.com/gpu: 1, nvidia.com/gpucores: 101}}
        """,
        'nvidia.com/gpucores: 101 in container "warm-up": give a whole number from 0 to 100',
    ),
    "a share of no device": (
        """
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 0, nvidia.com/gpumem: 3000}}
        """,
        'nvidia.com/gpu: 0 in container "train": a share of no device; give 1 or more, or remove nvidia.com/gpumem',
    ),
    "requests and limits that differ": (
        """
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 2}, requests: {nvidia.com/gpu: 1}}
        """,
        (
            'resources.requests.nvidia.com/gpu: 1 in container "train": requests and limits of an accelerator must be equal; '
            "limits say 2"
        ),
    ),
    "a policy that there is not": (
        """
        metadata: {annotations: {hami.io/gpu-scheduler-policy: fullest}}
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
        """,
        (
            "hami.io/gpu-scheduler-policy: fullest in the pod's annotations: give one or more of binpack, spread, mutex, "
            "topology-aware, numa, separated by commas"
        ),
    ),
    "a variable with a word that there is not": (
        """
        spec:
          containers:
          - name: train
            env: [{name: GPU_CORE_UTILIZATION_POLICY, value: forced}]
            resources: {limits: {nvidia.com/gpu: 1}}
        """,
        'GPU_CORE_UTILIZATION_POLICY: forced in container "train": give one of default, force, disable',
    ),
    "devices of one's own choice": (
        """
        spec:
          containers:
          - name: train
            env: [{name: NVIDIA_VISIBLE_DEVICES, value: all}]
        """,
        (
            'NVIDIA_VISIBLE_DEVICES: all in container "train": devices are chosen by hami; ask for them by nvidia.com/gpu and '
            "remove the variable"
        ),
    ),
    "devices out of a ConfigMap": (
        """
        spec:
          containers:
          - name: train
            env: [{name: NVIDIA_VISIBLE_DEVICES, valueFrom: {configMapKeyRef: {name: mine, key: devices}}}]
            resources: {limits: {nvidia.com/gpu: 1}}
        """,
        (
            'NVIDIA_VISIBLE_DEVICES: valueFrom in container "train": devices are chosen by hami; ask for them by '
            "nvidia.com/gpu and remove the variable"
        ),
    ),
    "the devices of a neighbour": (
        """
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
          - name: beside
            env:
            - name: NVIDIA_VISIBLE_DEVICES
              valueFrom: {fieldRef: {fieldPath: "metadata.annotations['nvidia.hami.io/train']"}}
        """,
        (
            'NVIDIA_VISIBLE_DEVICES: valueFrom in container "beside": devices are chosen by hami; ask for them by '
            "nvidia.com/gpu and remove the variable"
        ),
    ),
    "a grant that was copied along": (
        """
        metadata: {annotations: {grant.hami.io/train: "hami-limits 1"}}
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
        """,
        (
            "grant.hami.io/train: set by the pod in the pod's annotations: hami alone writes this annotation, and a copied one "
            "is somebody else's; remove it"
        ),
    ),
    "a reason for waiting that was copied along": (
        """
        metadata: {annotations: {hami.io/waiting: "0/3 nodes"}}
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
        """,
        (
            "hami.io/waiting: set by the pod in the pod's annotations: hami alone writes this annotation, and a copied one is "
            "somebody else's; remove it"
        ),
    ),
    "the label of a prepared pod on one that asks for nothing": (
        """
        metadata: {labels: {hami.io/prepared: "true"}}
        spec:
          containers:
          - name: train
        """,
        (
            "hami.io/prepared: set by the pod in the pod's labels: admission sets this label on pods that get a share, and "
            "this one gets none; remove it"
        ),
    ),
    "a privileged container": (
        """
        spec:
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
          - name: beside
            securityContext: {privileged: true}
        """,
        (
            'securityContext.privileged: true in container "beside": a privileged container reaches every device of its node, '
            "whatever it is granted; remove it, or ask for no share in this pod"
        ),
    ),
    "the host's processes": (
        """
        spec:
          hostPID: true
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
        """,
        (
            "spec.hostPID: true: a pod that sees the host's processes reaches what others were granted; remove it, or ask for "
            "no share"
        ),
    ),
    "a node of one's own choice": (
        """
        spec:
          nodeName: gpu-1
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
        """,
        (
            "spec.nodeName: gpu-1: a share is granted by the scheduler, which this goes past; remove it, and choose nodes by "
            "spec.nodeSelector"
        ),
    ),
    "a device of the whole pod": (
        """
        spec:
          resources: {limits: {nvidia.com/gpu: 1}}
          containers:
          - name: train
        """,
        (
            "spec.resources.limits.nvidia.com/gpu: 1: devices are asked for by a container; move it to "
            "spec.containers[].resources.limits"
        ),
    ),
    "limits of one's own": (
        """
        spec:
          volumes: [{name: mine, emptyDir: {}}]
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
            volumeMounts: [{name: mine, mountPath: /etc/../etc/hami//grant/}]
        """,
        (
            'volumeMounts.mountPath: /etc/../etc/hami//grant/ in container "train": hami\'s own files are there in a container '
            "with a share; mount it at another path"
        ),
    ),
    "a folder in which our own files are": (
        """
        spec:
          volumes: [{name: mine, configMap: {name: etc}}]
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
            volumeMounts: [{name: mine, mountPath: /etc}]
        """,
        (
            'volumeMounts.mountPath: /etc in container "train": hami\'s own files are below (/etc/hami, /var/lib/hami, '
            "/etc/ld.so.preload); mount what is needed below /etc one by one"
        ),
    ),
    "a volume with the name of ours": (
        """
        spec:
          volumes: [{name: hami-grant-train, emptyDir: {}}]
          containers:
          - name: train
            resources: {limits: {nvidia.com/gpu: 1}}
        """,
        "spec.volumes.name: hami-grant-train: hami's own volume with the limits file has this name; give this one another",
    ),
    "more containers with a share than can be granted": (
        yaml.dump(crowd(65)),
        (
            "spec.containers: 65: at most 64 containers of a pod, init containers included, may ask for nvidia devices; "
            "split the pod"
        ),
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_pod_is_refused_with_one_sentence(what: str) -> None:
    manifest, sentence = BAD[what]

    with pytest.raises(ValidationError) as refused:
        review(yaml.safe_load(manifest))

    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "path", ["/etc/ld.so.preload", "/var/lib/hami/region/x", "etc/hami", "/", "/var", "//etc/", "/etc/hami/grant"]
)
def test_every_way_to_write_one_of_our_paths_is_refused(path: str) -> None:
    container = a_container(limits={"nvidia.com/gpu": "1"}, volumeMounts=[{"name": "mine", "mountPath": path}])

    with pytest.raises(ValidationError, match="hami's own files"):
        review(a_pod(container))


def test_a_block_device_is_no_way_to_one_of_our_paths() -> None:
    container = a_container(
        limits={"nvidia.com/gpu": "1"}, volumeDevices=[{"name": "mine", "devicePath": "/etc/ld.so.preload"}]
    )

    with pytest.raises(ValidationError, match=r"volumeDevices\.devicePath: /etc/ld\.so\.preload"):
        review(a_pod(container))


@pytest.mark.parametrize("path", ["/etc/hamilton", "/etc/ssl", "/var/lib/hami-data", "/data", "/var/run"])
def test_a_mount_beside_our_paths_is_nobody_s_business(path: str) -> None:
    container = a_container(limits={"nvidia.com/gpu": "1"}, volumeMounts=[{"name": "mine", "mountPath": path}])

    assert prepared(a_pod(container))["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] == path


def test_what_a_container_without_a_share_mounts_is_its_own_business() -> None:
    beside = a_container("beside", volumeMounts=[{"name": "mine", "mountPath": "/etc"}])

    assert prepared(a_pod(a_container(limits={"nvidia.com/gpu": "1"}), beside))["spec"]["containers"][1] == beside


def test_a_container_may_be_told_that_it_sees_no_device() -> None:
    hidden = a_container("beside", env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}])

    assert prepared(a_pod(a_container(limits={"nvidia.com/gpu": "1"}), hidden))["spec"]["containers"][1] == hidden


def test_preloading_a_library_of_one_s_own_is_allowed() -> None:
    own = {"name": "LD_PRELOAD", "value": "/usr/lib/libjemalloc.so"}

    assert prepared(a_pod(a_container(limits={"nvidia.com/gpu": "1"}, env=[own])))["spec"]["containers"][0]["env"][0] == own


@pytest.mark.parametrize(
    "spec", [{"hostPID": True}, {"initContainers": [{"name": "i", "securityContext": {"privileged": True}}]}]
)
def test_the_operator_may_allow_privileged_pods(spec: dict[str, Any]) -> None:
    pod = asking(gpumem=3000)
    pod["spec"] |= spec

    with pytest.raises(ValidationError, match="ask for no share"):
        review(pod, NO_VALUES)
    assert review(pod, {"scheduler.admissionWebhook.refusePrivileged": False}).patch


def test_a_container_without_a_name_is_refused_before_its_grant_has_none() -> None:
    with pytest.raises(ValidationError) as refused:
        review({"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}})

    assert str(refused.value) == "spec.containers[0].name: missing: give the container a name"


def test_as_many_containers_as_can_be_granted_are_prepared() -> None:
    spec = prepared(crowd(64))["spec"]

    assert all("volumeMounts" in container for container in (*spec["initContainers"], *spec["containers"]))
