"""Pods that run on without the terminal, and the commands about single pods: wait, stop, logs."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import a_container, a_pod, kill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.command import Node

pytestmark = pytest.mark.slow


@pytest.fixture
def node(t4: Node) -> Iterator[Node]:
    """A machine on which nothing runs in the end."""
    yield t4
    t4.hami("stop", "--all", "--grace", "0")


def detached(node: Node, *pods: dict[str, Any]) -> dict[str, str]:
    """Name -> uid of pods that run on."""
    done = node.play(*pods, options=["--detach"])
    assert done.status == 0, done.stderr
    return dict(line.split("  ") for line in done.stdout.splitlines())


def a_shell(script: str, name: str = "train", gpumem: int = 3000, **spec: object) -> dict[str, Any]:
    return a_pod(a_container(command=["sh", "-c", script], gpumem=gpumem), name=name, **spec)


def test_a_detached_pod_has_a_supervisor_without_a_terminal(node: Node) -> None:
    done = node.play(a_shell("exec sleep 1000"), options=["-d", "-o", "json"])

    supervisor = done.document["supervisor"]
    (holding,) = node.ask("ps")["holdings"]
    assert os.getsid(supervisor) == supervisor
    assert (holding["owner"], holding["state"], holding["name"]) == (supervisor, "running", "train")
    assert holding["uid"] == done.document["pods"][0]["uid"]


def test_what_is_wrong_is_said_before_anything_is_detached(node: Node) -> None:
    done = node.play(a_shell("true", gpumem=99999), options=["-d"])

    assert (done.status, done.stdout) == (125, "")
    assert "can never run" in done.stderr


def test_wait_tells_the_end_and_has_its_status(node: Node) -> None:
    os.mkfifo(node.folder / "gate")
    uid = detached(node, a_shell("read line < gate; echo done; exit 7"))["train"]
    running = node.hami("wait", "--for", "running", "train")
    too_soon = node.hami("wait", "--timeout", "0.1", uid[:6])

    (node.folder / "gate").write_text("go\n")
    done = node.hami("wait", "train", "-o", "json")

    assert (running.status, too_soon.status, done.status) == (0, 124, 7)
    assert [(one["state"], one["status"], one["uid"]) for one in done.document["pods"]] == [("ended", 7, uid)]
    assert node.hami("logs", "train").stdout == "done\n"


def test_a_detached_pod_waits_in_the_queue_and_is_restarted(node: Node) -> None:
    detached(node, a_shell("exec sleep 1000", "first", 15000))
    script = "test -e second && { echo again; exec sleep 1000; }; touch second; echo failed; exit 5"
    detached(node, a_shell(script, gpumem=15000, restartPolicy="OnFailure"))
    (waiting,) = node.ask("ps")["waiting"]

    node.hami("stop", "first")
    follows = node.start("logs", "--follow", "train")
    follows.until("again")

    assert (waiting["name"], waiting["position"]) == ("train", 1)
    assert "first" in waiting["why"]
    assert node.hami("logs", "--previous", "train").stdout == "failed\n"
    assert node.hami("stop", "train").stdout == "train  stopped, with status 143\n"
    assert follows.end().status == 0  # with the pod


def test_stop_ends_a_pod_whose_supervisor_was_killed(node: Node) -> None:
    detached(node, a_shell("exec sleep 1000", restartPolicy="Always"))
    kill(node.ask("ps")["holdings"][0]["owner"])
    while node.ask("ps")["holdings"][0]["state"] != "orphaned":
        time.sleep(0)

    done = node.hami("stop", "train")

    assert (done.status, done.stdout) == (0, "train  stopped\n")
    assert node.ask("ps")["holdings"] == []
    lost = node.hami("wait", "train")
    assert (lost.status, lost.stdout) == (125, "train  has ended; its hami was killed before, so nobody knows how\n")


def test_logs_of_several_containers_are_told_apart_and_cut(node: Node) -> None:
    containers = [a_container(name, ["sh", "-c", f"echo {name} 1; echo {name} 2 >&2"], gpumem=500) for name in ("a", "b")]
    detached(node, a_pod(*containers, name="two"))
    node.hami("wait", "two")

    assert sorted(node.hami("logs", "two").stdout.splitlines()) == ["a | a 1", "a | a 2", "b | b 1", "b | b 2"]
    assert sorted(node.hami("logs", "two", "a", "--tail", "1").stdout.splitlines()) == ["a 2"]
    assert node.hami("logs", "two", "--since", "2099-01-01T00:00:00Z").stdout == ""
    assert node.hami("logs", "two", "c").stderr == 'hami: container "c": pod "two" has none of this name; it has a, b\n'


def test_of_run_nothing_is_kept_and_that_is_said(node: Node) -> None:
    node.hami("run", "--", "true")

    assert "nothing of it is kept" in node.hami("logs", "true").stderr


def test_a_name_that_means_several_stops_nobody(node: Node) -> None:
    detached(node, a_shell("exec sleep 1000", "one", 1000), a_shell("exec sleep 1000", "other", 1000))

    done = node.hami("stop", "o")

    assert done.status == 2
    assert 'pod "o": 2 are meant by it' in done.stderr
    assert len(node.ask("ps")["holdings"]) == 2


def test_run_is_stopped_by_name_too(node: Node) -> None:
    running = node.start("run", "--", "sleep", "1000")
    running.until("runs as process")

    node.hami("stop", "sleep")

    assert running.end().status == 128 + signal.SIGTERM
