"""The promise, from both sides: what the article's Pod sees, and what the device really gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.cli.command import MIB, PROBE, a_container, a_pod, room, seen

if TYPE_CHECKING:
    from tests.cli.command import Node

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples/gpu-pod.yaml"
SHARE = 3000 * MIB
ROOM = room(3000)


def test_the_articles_pod_sees_3000_mib_by_both_apis_and_is_refused_the_next_byte(t4: Node) -> None:
    done = t4.hami("play", str(EXAMPLE))

    assert done.status == 0, done.stderr
    assert re.findall(r"(CUDA|NVML) device (\d+): Tesla T4, (\d+ MiB)", done.stdout) == [
        ("CUDA", "0", "3000 MiB"),
        ("NVML", "0", "3000 MiB"),
    ]
    assert f"held {ROOM // MIB} MiB ({ROOM} bytes)" in done.stdout
    assert "one byte more: CUDA_ERROR_OUT_OF_MEMORY" in done.stdout
    assert [(one["requested_peak"], one["requested"]) for one in t4.truth()] == [(ROOM, 0)]


def test_the_examples_pod_asks_what_the_articles_pod_asks() -> None:
    pod = yaml.safe_load(EXAMPLE.read_text())

    container = pod["spec"]["containers"][0]
    assert (pod["metadata"]["name"], container["name"], container["image"]) == ("gpu-pod", "ubuntu-container", "ubuntu:18.04")
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 1, "nvidia.com/gpumem": 3000, "nvidia.com/gpucores": 30}}


def test_what_a_program_holds_is_the_drivers_truth_to_the_byte(t4: Node) -> None:
    meeting = t4.folder / "meeting"
    meeting.mkdir()
    (meeting / "held.test").touch()
    holder = t4.start("run", "--gpumem", "3000", "--", PROBE, "--barrier", str(meeting), "2")
    holder.until("all 2 hold their memory")

    held = t4.ask("mock", "truth")
    shares = [share for holding in t4.ask("ps")["holdings"] for share in holding["shares"]]
    (meeting / "seen.test").touch()
    done = holder.end()

    assert done.status == 0, done.stderr
    assert [one["requested"] for one in held["devices"]] == [ROOM]
    assert [one["requested"] for one in held["processes"]] == [ROOM]
    assert [(one["pids"], one["memory"]) for one in shares] == [([held["processes"][0]["pid"]], 3000)]
    assert shares[0]["used"] == -(-held["processes"][0]["physical"] // MIB)


def test_two_share_one_t4_and_a_third_waits_until_there_is_room(t4: Node) -> None:
    """The test is the third party of both meetings: nobody goes on before it has looked."""
    meeting = t4.folder / "meeting"
    meeting.mkdir()
    pods = t4.write("pods.yaml", _yaml(*(a_pod(_holder(meeting), name=f"pod-{letter}") for letter in "ab")))
    both = t4.start("play", pods)
    (meeting / "held.test").touch()
    for _ in "ab":
        both.until("all 3 hold their memory")

    assert [one["requested"] for one in t4.truth()] == [2 * room(7000)]
    third = t4.start("run", "--gpumem", "7000", "--", PROBE, "--json")
    why = third.until("waits: ")
    waiting = t4.hami("ps").stdout
    (meeting / "seen.test").touch()
    third.until("granted")

    assert "7000 MiB asked, 1360 free on the emptiest of 1 device (nvidia.com/gpumem); held by pod-" in why
    assert "pod-a" in why
    assert "pod-b" in why
    assert "7000 MiB asked, 1360 free" in waiting
    assert both.end().status == 0
    done = third.end()
    assert (done.status, seen(done.stdout)[0]["filled"][0]["held"]) == (0, room(7000))
    assert t4.ask("ps")["holdings"] == []


def test_two_of_the_articles_pods_at_once_each_see_3000_and_the_device_gives_6000(t4: Node) -> None:
    meeting = t4.folder / "meeting"
    meeting.mkdir()
    pod = a_pod(
        a_container("ubuntu-container", [PROBE, "--json", "--barrier", str(meeting), "2"], gpu=1, gpumem=3000), name="gpu-pod"
    )

    done = t4.play(pod, pod)

    assert done.status == 0, done.stderr
    assert [one["nvml"][0]["total"] for one in seen(done.stdout)] == [SHARE, SHARE]
    assert [one["filled"][0]["held"] for one in seen(done.stdout)] == [ROOM, ROOM]
    (truth,) = t4.truth()
    assert truth["requested_peak"] == 2 * ROOM
    assert 2 * SHARE <= truth["physical_peak"] < 2 * (SHARE + 2 * MIB), "contexts and all, up to the rounding of the last piece"
    assert sorted(line.split(" | ")[0] for line in done.stdout.splitlines()) == ["gpu-pod", "gpu-pod#2"]


def _holder(meeting: Path) -> dict[str, object]:
    return a_container(command=[PROBE, "--barrier", str(meeting), "3"], gpumem=7000)


def _yaml(*documents: object) -> str:
    return yaml.safe_dump_all(documents)
