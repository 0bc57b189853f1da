"""The article's walk-through on a real kubelet and containerd: the Pod as it is printed there, and NVIDIA's own nvidia-smi."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import hami_core
from tests.cli.command import room

if TYPE_CHECKING:
    from tests.e2e.stage import GpuNode, Stage, Work

ARTICLE = Path(hami_core.__file__).parents[1] / "examples/gpu-test.yaml"
TABLE = r"\d+MiB / +\d+MiB"


def started(work: Work) -> None:
    work.kubectl("apply", "-f", str(ARTICLE))
    work.until_ready("gpu-pod")


def test_a_node_with_one_gpu_offers_ten(stage: Stage, t4: GpuNode) -> None:
    status = stage.plane.get("node", "n1")["status"]

    assert (status["capacity"]["nvidia.com/gpu"], status["allocatable"]["nvidia.com/gpu"]) == ("10", "10")


def test_the_pod_runs(work: Work) -> None:
    started(work)

    (line,) = work.kubectl("get", "pods", "--no-headers").splitlines()
    assert line.split()[:4] == ["gpu-pod", "1/1", "Running", "0"]


def test_nvidia_smi_shows_one_gpu_of_3000_mib(work: Work) -> None:
    started(work)

    shown = work.kubectl("exec", "gpu-pod", "--", "nvidia-smi")

    assert re.findall(TABLE, shown) == ["0MiB /  3000MiB"]
    assert shown.count("Tesla T4") == 1
    assert re.search(r"Driver Version: 580\.65\.06 +CUDA Version: 13\.0", shown)
    assert "No running processes found" in shown


def test_the_limit_is_in_force_and_the_drivers_own_books_say_so(work: Work, t4: GpuNode) -> None:
    started(work)

    said = work.bash("gpu-pod", "hami-probe --hold 3600 < /dev/null &> /tmp/said & until grep -s held /tmp/said; do :; done")

    assert said == f"device 0: held {room(3000) >> 20} MiB ({room(3000)} bytes); one byte more: CUDA_ERROR_OUT_OF_MEMORY\n"
    assert re.findall(TABLE, work.bash("gpu-pod", "nvidia-smi")) == ["3000MiB /  3000MiB"]
    assert list(t4.held().values()) == [room(3000)]


def test_a_program_says_nothing_of_the_library_unless_it_is_asked_to(work: Work) -> None:
    started(work)

    plain = work.bash("gpu-pod", "hami-probe")
    asked = work.bash("gpu-pod", "LIBCUDA_LOG_LEVEL=3 hami-probe")

    assert "HAMI-core" not in plain
    assert re.search(r"^\[HAMI-core Msg\(\d+:\d+:\w+\.c:\d+\)\]: Initializing\.\.\.\.\.$", asked, re.MULTILINE)
    assert re.search(r"^\[HAMI-core Msg\(\d+:\d+:\w+\.c:\d+\)\]: Calling exit handler \d+$", asked, re.MULTILINE)
