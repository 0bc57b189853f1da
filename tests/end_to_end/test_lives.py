"""From start to end: exit statuses, signals, restarts, a killed hami, and what becomes of the share."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import PROBE, a_container, a_pod, kill, seen, wait_until_dead

if TYPE_CHECKING:
    from tests.cli.command import Node

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("exec /etc/passwd", 126), ("exec nosuchprogram", 127)],
)
def test_the_workloads_exit_status_is_ours(t4: Node, script: str, status: int) -> None:
    assert t4.hami("run", "--", "sh", "-c", script).status == status


def test_the_status_of_several_pods_is_that_of_the_first_that_failed(t4: Node) -> None:
    pods = [a_pod(a_container(command=["sh", "-c", f"exit {status}"], gpumem=200), name=f"p{status}") for status in (0, 7, 3)]

    done = t4.play(*pods, options=["-o", "json"])

    assert [pod["status"] for pod in done.document["pods"]] == [0, 7, 3]
    assert done.status == 7


def test_125_means_that_hami_itself_could_not(t4: Node) -> None:
    assert t4.hami("run", "nosuchprogram").status == 125
    assert t4.hami("run", "--gpumem", "16000", "--", "true").status == 125


def test_sigterm_ends_the_workload_and_gives_the_share_back(t4: Node) -> None:
    running = t4.start("run", "--gpumem", "3000", "--", "cat")
    workload = int(running.until("runs as process").split()[-1])

    running.signal(signal.SIGTERM)

    assert running.end().status == 128 + signal.SIGTERM
    wait_until_dead(workload)
    assert t4.ask("ps")["holdings"] == []


def test_sigterm_while_it_waits_leaves_no_place_in_the_queue(t4: Node) -> None:
    holder = t4.start("run", "--gpumem", "15000", "--", "cat")
    holder.until("runs as process")
    waiter = t4.start("run", "--gpumem", "15000", "--", "true")
    waiter.until("waits")

    waiter.signal(signal.SIGTERM)

    assert waiter.end().status == 128 + signal.SIGTERM
    assert t4.ask("ps")["waiting"] == []
    holder.close_input()
    assert holder.end().status == 0


def test_after_kill_9_of_hami_its_workload_holds_the_share_until_it_ends(t4: Node) -> None:
    running = t4.start("run", "--gpumem", "3000", "--", "cat")
    workload = int(running.until("runs as process").split()[-1])

    kill(running.process.pid)
    running.process.wait()
    orphan = t4.ask("ps")["holdings"]
    told = t4.hami("ps").stdout
    free = [device["memory_free"] for device in t4.ask("devices")["devices"]]
    running.close_input()
    wait_until_dead(workload)

    assert [(one["owner_is_running"], [share["pids"] for share in one["shares"]]) for one in orphan] == [(False, [[workload]])]
    assert "its hami has ended" in told
    assert free == [15360 - 3000]
    assert t4.ask("ps")["holdings"] == []
    assert [device["memory_free"] for device in t4.ask("devices")["devices"]] == [15360]


def test_a_waiting_pod_starts_when_an_orphaned_workload_ends(t4: Node) -> None:
    orphan = t4.start("run", "--gpumem", "15000", "--", "cat")
    orphan.until("runs as process")
    kill(orphan.process.pid)
    waiter = t4.start("run", "--gpumem", "15000", "--", "true")
    waiter.until("waits")

    orphan.close_input()

    assert waiter.end().status == 0


def test_init_containers_run_before_and_a_sidecar_beside_the_main_one(t4: Node) -> None:
    sidecar = a_container(
        "sidecar", ["sh", "-c", "echo sidecar >> order; trap 'echo stopped >> order; exit' TERM; echo > up; read x < hold"]
    )
    sidecar["restartPolicy"] = "Always"
    main = a_container("main", ["sh", "-c", "read x < up; echo main >> order"], gpumem=1000)
    init = a_container("init", ["sh", "-c", "echo init >> order; mkfifo up hold"], gpumem=1000)
    pod = a_pod(main, initContainers=[init, sidecar])

    done = t4.play(pod, options=["-o", "json"])

    assert done.status == 0, done.stderr
    assert (t4.folder / "order").read_text().split() == ["init", "sidecar", "main", "stopped"]
    containers = done.document["pods"][0]["containers"]
    assert [(one["name"], one["role"]) for one in containers] == [("init", "init"), ("sidecar", "sidecar"), ("main", "main")]


def test_a_failed_init_container_is_the_end_of_the_pod(t4: Node) -> None:
    pod = a_pod(a_container(gpumem=1000), initContainers=[a_container("init", ["sh", "-c", "exit 4"])])

    done = t4.play(pod, options=["-o", "json"])

    played = done.document["pods"][0]
    assert (done.status, played["reason"]) == (4, 'init container "init" failed')
    assert [one["status"] for one in played["containers"]] == [4, None]


def test_on_failure_starts_it_again_and_keeps_the_share(t4: Node) -> None:
    script = "test -e second || { touch second; exit 5; }; exec " + f"{PROBE} --json"
    pod = a_pod(a_container(command=["sh", "-c", script], gpumem=3000), restartPolicy="OnFailure")

    done = t4.play(pod, options=["-o", "json"])

    assert done.status == 0, done.stderr
    assert [one["restarts"] for one in done.document["pods"][0]["containers"]] == [1]
    assert done.stderr.count("granted") == 1
    assert [one["coherent"] for one in seen(done.stderr)] == [True]


def test_env_args_and_working_folder_are_carried_out(t4: Node) -> None:
    (t4.folder / "inner").mkdir()
    container = a_container(command=["sh", "-c", 'echo "$GREETING $1 from ${PWD##*/}"', "sh"], gpumem=1000)
    container |= {
        "args": ["$(NAME), $$(NAME)"],
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "GREETING", "value": "hello to $(NAME):"},
        ],
        "workingDir": str(t4.folder / "inner"),
    }

    done = t4.play(a_pod(container, name="greeter"))

    assert done.stdout == "hello to greeter: greeter, $(NAME) from inner\n"


def test_a_file_may_hold_several_pods(t4: Node) -> None:
    pods = [a_pod(a_container(command=["echo", name], gpumem=1000), name=name) for name in ("one", "two")]
    manifest = t4.write("pods.yaml", "\n---\n".join(json.dumps(pod) for pod in pods))

    done = t4.hami("play", manifest)

    assert (done.status, sorted(done.stdout.splitlines())) == (0, ["one | one", "two | two"])


def test_the_deadline_of_a_pod_ends_it(t4: Node) -> None:
    pod = a_pod(a_container(command=["sleep", "1000"], gpumem=1000), activeDeadlineSeconds=1)

    done = t4.play(pod, options=["-o", "json"])

    assert (done.status, done.document["pods"][0]["reason"]) == (143, "activeDeadlineSeconds: 1 are over")
