"""Shares of real containers: several on one GPU, several in one pod, and pods that come by another way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hami_core import names
from hami_core.testing.cluster.control_plane import KubectlFailed
from tests.cli.command import room
from tests.cluster.admitting import wait_for
from tests.e2e.stage import container, limits, pod

if TYPE_CHECKING:
    from tests.e2e.stage import GpuNode, Work

OWN = ("NVIDIA_VISIBLE_DEVICES=all", "CUDA_VISIBLE_DEVICES=0", "HAMI_LIMITS=/dev/null")  # what a program may try
HOLDS = "exec hami-probe --hold 3600"


def totals(work: Work, name: str, container: str = "main") -> list[str]:
    """What nvidia-smi shows of memory."""
    return re.findall(r"\d+MiB / +(\d+)MiB", work.bash(name, "nvidia-smi", container))


def held(work: Work, name: str, container: str = "main") -> list[str]:
    return re.findall(r"held \d+ MiB \((\d+) bytes\)", work.kubectl("logs", name, "-c", container))


def test_ten_pods_share_one_gpu_and_each_holds_its_own(work: Work, t4: GpuNode) -> None:
    pods = [work.make(pod(f"p{n}", container(script=HOLDS, asks=limits(1000)))) for n in range(10)]
    for name in pods:
        work.until_ready(name)
    wait_for(lambda: [held(work, name) for name in pods] == [[str(room(1000))]] * 10, "held")

    assert len({work.device(name) for name in pods}) == 1
    assert list(t4.held().values()) == [10 * room(1000)]
    assert [totals(work, name) for name in pods] == [["1000"]] * 10


def test_the_eleventh_waits_until_one_goes(work: Work, t4: GpuNode) -> None:
    for n in range(10):
        work.make(pod(f"p{n}", container(asks=limits(1000))))
    for n in range(10):
        work.until_ready(f"p{n}")
    work.make(pod("late", container(asks=limits(1000))))
    wait_for(lambda: "FailedScheduling" in work.kubectl("get", "events"), "refused")
    assert work.get("late")["status"]["phase"] == "Pending"

    work.kubectl("delete", "pod", "p3", "--timeout=30s")

    work.until_ready("late")


def test_two_containers_of_a_pod_have_different_shares(work: Work, t4: GpuNode) -> None:
    small, large = (container(name, asks=limits(size)) for name, size in (("small", 1000), ("large", 2000)))
    name = work.start(pod("two", small, large))

    assert (totals(work, name, "small"), totals(work, name, "large")) == (["1000"], ["2000"])


def test_an_init_container_has_its_share_before_the_main_one(work: Work, t4: GpuNode) -> None:
    first = container("first", script="hami-probe", asks=limits(3000))
    name = work.start(pod("after", container(asks=limits(1000)), initContainers=[first]))

    assert held(work, name, "first") == [str(room(3000))]
    assert totals(work, name) == ["1000"]


def test_a_container_of_the_pod_that_asks_for_nothing_sees_nothing(work: Work, t4: GpuNode) -> None:
    name = work.start(pod("beside", container(asks=limits(1000)), container("other")))

    assert "Tesla" not in work.bash(name, "nvidia-smi || true", "other")


def test_a_container_that_is_started_again_has_its_share_again(work: Work, t4: GpuNode) -> None:
    name = work.start(
        pod("falls", container(script="hami-probe; read < /tmp/end || mkfifo /tmp/end; read < /tmp/end", asks=limits(1000)))
    )
    device = work.device(name)

    work.bash(name, "until echo > /tmp/end; do :; done")

    wait_for(lambda: work.get(name)["status"]["containerStatuses"][0]["restartCount"] == 1, "started again")
    work.until_ready(name)
    wait_for(lambda: held(work, name) == [str(room(1000))], "held")
    assert (work.device(name), totals(work, name)) == (device, ["1000"])


def test_a_pod_that_goes_past_the_scheduler_is_refused(work: Work, t4: GpuNode) -> None:
    with pytest.raises(KubectlFailed, match=r"spec\.nodeName: n1: a share is granted by the scheduler"):
        work.make(pod("past", container(asks=limits(1000)), nodeName="n1"))


def test_a_pod_that_goes_past_the_webhook_too_gets_no_device(work: Work, t4: GpuNode) -> None:
    work.kubectl("label", "namespace", work.namespace, f"{names.WEBHOOK}={names.WEBHOOK_IGNORE}")

    name = work.start(pod("past", container(asks={"nvidia.com/gpu": "1"}), nodeName="n1"))

    visible, told, shown = work.bash(name, "echo $NVIDIA_VISIBLE_DEVICES; nvidia-smi || true").splitlines()
    assert (visible, shown) == ("void", "No devices were found")
    assert "no device is granted: /etc/hami/grant/limits: there is no such file" in told
    assert "no device is here" in work.bash(name, "hami-probe || true")
    assert [work.bash(name, f"env {own} hami-probe || true").count("no device is here") for own in OWN] == [1] * len(OWN)


def test_a_pod_that_names_our_variable_itself_is_refused(work: Work, t4: GpuNode) -> None:
    own = container(asks=limits(1000), env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}])

    with pytest.raises(KubectlFailed, match="NVIDIA_VISIBLE_DEVICES"):
        work.make(pod("clever", own))


def test_a_pod_of_another_user_than_root_has_its_limit(work: Work, t4: GpuNode) -> None:
    name = work.start(
        pod("nobody", container(asks=limits(1000), securityContext={"runAsUser": 65534, "readOnlyRootFilesystem": True}))
    )

    assert re.findall(r"held \d+ MiB \((\d+) bytes\)", work.bash(name, "hami-probe")) == [str(room(1000))]
