"""NVIDIA's own tool, under a share. The program is Debian's, unpacked beside the tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests import judges
from tests.cli.command import PROBE, room

if TYPE_CHECKING:
    from tests.cli.command import OnMachine
    from tests.conftest import Needs

pytestmark = pytest.mark.slow


@pytest.fixture
def smi(needs: Needs) -> str:
    """The path of the real nvidia-smi."""
    try:
        return str(judges.program(judges.SMI, "nvidia-smi"))
    except judges.Missing as missing:
        needs(f"Debian's nvidia-smi ({missing})", here=False)
        raise


@pytest.mark.parametrize("machine", ["t4-node", "t4x4"])
def test_its_table_shows_one_gpu_of_3000_mib(on: OnMachine, smi: str, machine: str) -> None:
    done = on(machine).hami("run", "--gpumem", "3000", "--", smi)

    assert done.status == 0, done.stderr
    assert re.findall(r"\d+MiB / +\d+MiB", done.stdout) == ["0MiB /  3000MiB"]
    assert done.stdout.count("Tesla T4") == 1
    assert "No running processes found" in done.stdout


def test_its_list_is_one_line(on: OnMachine, smi: str) -> None:
    node = on("t4x4")

    done = node.hami("run", "--gpumem", "3000", "-o", "json", "--", smi, "-L")

    (share,) = done.document["pods"][0]["shares"]
    assert [line for line in done.stderr.splitlines() if line.startswith("GPU ")] == [
        f"GPU 0: Tesla T4 (UUID: {share['device']})"
    ]


def test_the_articles_first_pod_works_unchanged(on: OnMachine, smi: str) -> None:
    """Written for a stock cluster: one GPU, no word of memory, nvidia-smi by its name."""
    node = on("t4x4")
    manifest = node.write("pod.yaml", FIRST_POD)

    done = node.hami("play", manifest, env={"PATH": f"{smi.removesuffix('/nvidia-smi')}:{node.env['PATH']}"})

    assert done.status == 0, done.stderr
    assert re.findall(r"\d+MiB / +\d+MiB", done.stdout) == ["0MiB /  5000MiB"]


def test_it_shows_what_a_neighbour_in_the_container_holds(on: OnMachine, smi: str) -> None:
    """Both programs belong to one container: one starts the other and holds its memory meanwhile."""
    node = on("t4-node")
    (node.folder / "meeting").mkdir()
    (node.folder / "meeting/held.test").touch()
    look = f"grep -m 1 'all 2 hold'; {smi}; touch meeting/seen.test; cat > /dev/null"
    script = f"{PROBE} --barrier meeting 2 | {{ {look}; }}"

    done = node.hami("run", "--gpumem", "3000", "--", "sh", "-c", script)

    assert done.status == 0, done.stderr
    assert re.findall(r"\d+MiB / +\d+MiB", done.stdout) == ["3000MiB /  3000MiB"]
    assert node.truth()[0]["requested_peak"] == room(3000)


FIRST_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: gpu-pod
spec:
  containers:
  - name: gpu-container
    image: nvidia/cuda:11.0-base
    resources:
      limits:
        nvidia.com/gpu: 1
    command: ["nvidia-smi"]
  restartPolicy: OnFailure
"""
