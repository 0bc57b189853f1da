from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hami_core.errors import UserError
from hami_core.local import logs, output, play
from hami_core.local.containers import Backoff
from hami_core.local.events import Event, Exited, Finished, Granted, Noted, Queued, Restarting, Started
from hami_core.local.output import TO_STDERR
from hami_core.model import Share
from tests.local.acme import a_container, a_host, a_pod, card, played

if TYPE_CHECKING:
    from hami_core.local.host import Host

pytestmark = pytest.mark.slow

AT_ONCE = Backoff(first_s=0.0, most_s=0.0)


@pytest.fixture
def here(tmp_path: Path) -> Host:
    return a_host(tmp_path)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Any:
    """Whatever a test does, nothing is held and nobody waits after it."""
    yield
    assert list((tmp_path / "host" / "holdings").iterdir()) == []
    assert list((tmp_path / "host" / "queue").iterdir()) == []


def statuses(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.container, event.status) for event in events if isinstance(event, Exited)]


def started(events: list[Event]) -> list[str]:
    return [event.container for event in events if isinstance(event, Started)]


@pytest.mark.parametrize(("program", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_the_exit_status_of_the_workload_is_ours(here: Host, program: str, status: int) -> None:
    result, _ = played(here, a_pod(here, a_container(program)))

    assert result.status == status


def test_the_first_container_that_failed_gives_the_status(here: Host) -> None:
    result, _ = played(here, a_pod(here, a_container("exit 0", "a"), a_container("exit 3", "b"), a_container("exit 4", "c")))

    assert result.status == 3
    assert [(one.name, one.status) for one in result.pods[0].containers] == [("a", 0), ("b", 3), ("c", 4)]


def test_a_pod_is_told_from_its_grant_to_its_end(here: Host) -> None:
    pod = a_pod(here, a_container(limits=card(3000)))

    result, events = played(here, pod)

    share = Share("main", "acme", "card-0", 3000, 8000, 0)
    kinds = [type(event) for event in events]
    assert kinds == [Granted, Started, Exited, Finished]
    assert result.pods[0].shares == (share,)
    assert (result.machine, result.simulated) == ("host", False)


def test_a_container_sees_its_grant_and_its_limits(here: Host, tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = f'echo "$ACME_VISIBLE" > {out}; cat "$HAMI_LIMITS" >> {out}'
    pod = a_pod(here, a_container(program, limits=card(3000)))

    played(here, pod)

    visible, header, grant, *_, end = out.read_text().splitlines()
    assert (visible, header, grant, end) == ("card-0", "hami-limits 1", f"grant {pod.uid}/main", "end")


def test_a_container_without_a_grant_has_closed_limits(here: Host, tmp_path: Path) -> None:
    out = tmp_path / "out"
    containers = [a_container(name="with", limits=card(3000)), a_container(f'cat "$HAMI_LIMITS" > {out}', "without")]

    played(here, a_pod(here, *containers))

    assert "card-0" not in out.read_text()


def test_init_containers_run_in_order_before_the_others_and_sidecars_beside_them(here: Host, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    inits = [
        a_container("exit 0", "first"),
        a_container(f"echo here > {gate}; exec sleep 1000", "side", restartPolicy="Always"),
        a_container(f"read line < {gate}", "second"),  # ends only if the sidecar runs
    ]

    result, events = played(here, a_pod(here, a_container("exit 0"), initContainers=inits))

    assert started(events) == ["first", "side", "second", "main"]
    assert statuses(events) == [("first", 0), ("second", 0), ("main", 0), ("side", 143)]
    assert result.status == 0


def test_an_init_container_that_fails_ends_the_pod(here: Host) -> None:
    result, events = played(here, a_pod(here, a_container(), initContainers=[a_container("exit 5", "prepare")]))

    assert started(events) == ["prepare"]
    assert (result.status, result.pods[0].reason) == (5, 'init container "prepare" failed')
    assert [(one.name, one.status) for one in result.pods[0].containers] == [("prepare", 5), ("main", None)]


def test_on_failure_a_container_runs_again_until_it_succeeds(here: Host, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    pod = a_pod(here, a_container(f"echo x >> {tries}; test $(wc -l < {tries}) -ge 3"), restartPolicy="OnFailure")

    result, events = played(here, pod, backoff=AT_ONCE)

    assert statuses(events) == [("main", 1), ("main", 1), ("main", 0)]
    assert (result.status, result.pods[0].containers[0].restarts) == (0, 2)
    assert sum(isinstance(event, Restarting) for event in events) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_the_workload_to_end_and_its_answer_is_our_status(here: Host, number: int, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    program = f"trap 'exit 9' TERM; echo ready > {gate}; while :; do read line < {gate}; done"
    listener = a_container(f"read line < {gate}; kill -{number} $PPID; exec sleep 1000", "listener")

    result, _ = played(here, a_pod(here, a_container(program), listener))

    assert result.pods[0].reason == "interrupted"
    assert [(one.name, one.status) for one in result.pods[0].containers] == [("main", 9), ("listener", 143)]
    assert result.status == 9


def test_who_does_not_listen_is_killed_after_the_grace_period(here: Host, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    deaf = a_container(f"trap '' TERM; echo ready > {gate}; while :; do read line < {gate}; done")
    listener = a_container(f"read line < {gate}; kill -TERM $PPID", "listener")

    result, _ = played(here, a_pod(here, deaf, listener, terminationGracePeriodSeconds=0))

    assert result.pods[0].containers[0].status == 137


def test_a_second_signal_kills_at_once(here: Host, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    deaf = a_container(f"trap 'kill -INT '$PPID TERM; echo ready > {gate}; while :; do read line < {gate}; done")
    listener = a_container(f"read line < {gate}; kill -INT $PPID", "listener")

    result, _ = played(here, a_pod(here, deaf, listener, terminationGracePeriodSeconds=1000))

    assert result.pods[0].containers[0].status == 137


def test_a_signal_while_it_waits_leaves_the_queue(here: Host) -> None:
    pods = [a_pod(here, a_container("exec sleep 1000", limits=card(8000)), name=name) for name in ("holds", "waits")]
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        if isinstance(event, Queued):
            os.kill(os.getpid(), signal.SIGINT)

    result = play.play(here, pods, tell)

    assert [pod.status for pod in result.pods] == [143, 130]
    assert [event.pod for event in events if isinstance(event, Granted)] == ["holds"]


def test_what_is_left_of_a_containers_processes_ends_with_it(here: Host, tmp_path: Path) -> None:
    out = tmp_path / "pid"

    played(here, a_pod(here, a_container(f"sleep 1000 & echo $! > {out}")))

    assert not Path(f"/proc/{out.read_text().strip()}/exe").exists()


def test_a_pod_that_waited_runs_when_the_first_has_ended(here: Host, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    opened = os.open(gate, os.O_RDWR)  # both ends: the first may not be reading yet
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        if isinstance(event, Queued):
            os.write(opened, b"go\n")  # the first ends once the second waits

    first = a_pod(here, a_container(f"read line < {gate}", limits=card(5000)), name="first")
    second = a_pod(here, a_container("exit 0", limits=card(5000)), name="second")

    result = play.play(here, [first, second], tell)

    assert [event.why for event in events if isinstance(event, Queued)] == [
        'container "main": 5000 MiB asked, 3000 free on the emptiest of 1 device (acme.dev/mem); held by first'
    ]
    assert result.status == 0
    os.close(opened)


def test_two_pods_share_one_card_at_the_same_time(here: Host, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    reader = a_pod(here, a_container(f"read line < {gate}", limits=card(4000)))
    writer = a_pod(here, a_container(f"echo x > {gate}", limits=card(4000)))

    result, _ = played(here, reader, writer)  # each ends only if the other runs

    assert result.status == 0


def test_a_deadline_ends_the_pod(here: Host) -> None:
    result, _ = played(here, a_pod(here, a_container("exec sleep 1000"), activeDeadlineSeconds=1))

    assert (result.status, result.pods[0].reason) == (143, "activeDeadlineSeconds: 1 are over")


def written(log: str) -> list[str]:
    """The lines that are kept."""
    return [line.text.decode() for line in logs.read(Path(log))]


def test_lines_of_several_containers_are_told_apart(here: Host, capfd: pytest.CaptureFixture[str]) -> None:
    pod = a_pod(here, a_container("echo one; printf two", "a"), a_container("echo three >&2", "b"))

    result, _ = played(here, pod)

    out, err = capfd.readouterr()
    assert (out, err) == ("a | one\na | two\n", "b | three\n")
    assert [written(one.log) for one in result.pods[0].containers] == [["one", "two"], ["three"]]


def test_one_container_alone_writes_as_it_is(here: Host, capfd: pytest.CaptureFixture[str]) -> None:
    result, _ = played(here, a_pod(here, a_container("printf one; echo two >&2")))

    assert capfd.readouterr() == ("one", "two\n")
    assert sorted(written(result.pods[0].containers[0].log)) == ["one", "two"]


def test_a_full_disk_behind_our_output_is_noted_and_the_log_goes_on(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(output, "STDOUT", full)

    result, events = played(here, a_pod(here, a_container("echo one; echo two")))

    os.close(full)
    notes = [event.text for event in events if isinstance(event, Noted)]
    assert result.status == 0
    assert notes == ["stdout: No space left on device; what came after is in its log alone"]
    assert written(result.pods[0].containers[0].log) == ["one", "two"]


def test_for_json_our_standard_output_stays_empty(here: Host, capfd: pytest.CaptureFixture[str]) -> None:
    result, _ = played(here, a_pod(here, a_container("echo one; echo two >&2")), passed_on=TO_STDERR)

    out, err = capfd.readouterr()
    assert (out, sorted(err.splitlines())) == ("", ["one", "two"])
    assert sorted(written(result.pods[0].containers[0].log)) == ["one", "two"]


def test_the_input_of_a_pod_is_empty(here: Host) -> None:
    result, _ = played(here, a_pod(here, a_container("read line")))

    assert result.status == 1


def test_a_container_runs_in_its_working_folder(here: Host, tmp_path: Path) -> None:
    played(here, a_pod(here, a_container("pwd > out", workingDir=str(tmp_path))))

    assert (tmp_path / "out").read_text() == f"{tmp_path}\n"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"command": ["no-such-program"]},
            (
                'pod "pod", container "main": command no-such-program: '
                "there is no such program on this host (images are not used here)"
            ),
        ),
        (
            {"command": ["sh"], "workingDir": "/no/such"},
            'pod "pod", container "main": workingDir /no/such: there is no such folder on this host',
        ),
    ],
)
def test_what_this_host_does_not_have_is_told_before_anything_starts(here: Host, fields: dict[str, Any], sentence: str) -> None:
    good = a_pod(here, a_container(), name="good")
    bad = a_pod(here, {**a_container(), **fields})
    events: list[Event] = []

    with pytest.raises(UserError) as caught:
        play.play(here, [good, bad], events.append)

    assert (str(caught.value), events) == (sentence, [])


def test_a_program_that_cannot_be_executed_has_the_shells_status(here: Host, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("no program")
    program.chmod(0o700)

    result, events = played(here, a_pod(here, a_container([str(program)])))

    assert result.status == 126
    assert [event.why for event in events if isinstance(event, Exited)] == [f"{program}: Exec format error"]


def test_a_start_that_fails_leaves_no_descriptor_open(here: Host, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("no program")
    program.chmod(0o700)
    pod = a_pod(here, a_container([str(program)]))
    before = len(list(Path("/proc/self/fd").iterdir()))

    played(here, pod, passed_on=TO_STDERR)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_listener_that_fails_leaves_no_process_and_no_holding(here: Host) -> None:
    pids: list[int] = []

    def tell(event: Event) -> None:
        if isinstance(event, Started):
            pids.append(event.pid)
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        play.play(here, [a_pod(here, a_container("exec sleep 1000"))], tell)

    assert not Path(f"/proc/{pids[0]}").exists()
