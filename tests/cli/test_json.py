"""docs/json.md is what the commands print: every field, with its type, and no field more."""

from __future__ import annotations

import json
import re
import signal
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import PROBE, Node, a_container, a_pod, nodes
from tests.cli.test_strangers import installed
from tests.scheduler.gpus import T4, a_cluster
from tests.scheduler.gpus import a_pod as a_gpu_pod
from tests.scheduler.test_explain_command import answering

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs/json.md"
TYPES = {bool: "boolean", int: "integer", float: "number", str: "text", type(None): "null"}
FREE_KEYS = {"options", "value", "setting"}  # objects whose keys are data

Documents = Mapping[str, list[Any]]


def described() -> dict[str, dict[str, set[str]]]:
    """Command -> field -> its types, as the tables have it."""
    found: dict[str, dict[str, set[str]]] = {}
    for section in DOCUMENT.read_text().split("\n## ")[1:]:
        rows = dict(re.findall(r"^\| `(.+?)` \| ([a-z ]+?) \|", section, re.MULTILINE))
        table = {field: set(types.split(" or ")) for field, types in rows.items()}
        found |= dict.fromkeys(re.findall(r"`(hami [a-z -]+)`", section.split("\n")[0]), table)
    return found


def fields(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """(field, type) of every leaf of a document."""
    if isinstance(value, dict):
        free = path.rpartition(".")[2] in FREE_KEYS
        for key, item in value.items():
            yield from fields(item, f"{path}{{}}" if free else f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for item in value:
            yield from fields(item, f"{path}[]")
    else:
        yield path, TYPES[type(value)]


def test_the_fields_of_a_document_are_found_with_their_types() -> None:
    document = {"a": [{"b": None, "c": [1]}, {"b": "x", "c": []}], "options": {"any": "x"}}

    assert list(fields(document)) == [("a[].b", "null"), ("a[].c[]", "integer"), ("a[].b", "text"), ("options{}", "text")]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    """What every command prints while a pod holds a share, another waits, and a plugin is broken."""
    folder = tmp_path_factory.mktemp("json")
    found: dict[str, list[Any]] = defaultdict(list)
    with nodes(folder) as on:
        node = on("t4-node")
        stranger = installed(folder / "site", "acme", "raise RuntimeError('no licence')")
        _while_held(node, found)
        failing = a_pod(a_container(gpumem=1000) | {"image": "ubuntu"}, initContainers=[a_container("init", ["false"])])
        found["hami play"].append(node.play(failing, options=["-o", "json"]).document)
        found["hami play"].append(node.play(a_pod(), options=["--detach", "-o", "json"]).document)
        found["hami plugins"].append(node.hami_anew("plugins", "-o", "json", env={"HAMI_BLOCK": "nvidia", **stranger}).document)
        found["hami config"].append(node.ask("config"))
        lists_and_mappings = "devicePlugin.filterDevices.index=[3],devices.nvidia.contextMemory.Tesla T4=104"
        found["hami config"].append(node.hami("--set", lists_and_mappings, "config", "-o", "json").document)
        found["hami nvidia measure-context"].append(node.ask("nvidia", "measure-context"))
        found["hami mock machines"].append(node.ask("mock", "machines"))
        _faults(on("a-machine.toml"), found)
        found["hami health"].append(node.ask("health"))
        _explained(node, found)
        four = on("t4x4")
        found["hami topology"].append(four.ask("topology"))
        four.hami("mock", "lose", "2")
        found["hami health"].append(four.hami("health", "-o", "json").document)
    return found


def _explained(node: Node, found: dict[str, list[Any]]) -> None:
    """A pod that fits, one that waits, and one that misspells a wish and asks by percent."""
    world = a_cluster({"n0": (T4,)}, {})
    placed = a_gpu_pod("other", gpu=1, gpumem=9000)
    world.filter(placed, "n0")
    pods = [
        a_gpu_pod("a", gpu=1, gpumem=1000),
        a_gpu_pod("b", annotations={"nvidia.com/use-gputypes": "A100"}, gpu=1, gpumem_percentage=90),
    ]
    with answering(world) as url:
        for pod in pods:
            ask = ("explain", "-f", "-", "--scheduler", url, "-o", "json")
            found["hami explain"].append(node.hami(*ask, stdin=json.dumps(pod)).document)


WITH_A_FAULT = """
schema = "hami-mock/v1"
machine = "with-a-fault"
driver = {version = "580.65.06", nvml = "13.580.65.06", cuda = 13000}
defaults = {profile = "t4"}
gpus = [{index = 0, bus = "0000:3B:00.0"}]
faults = [{kind = "error", when = {call = "nvmlDeviceGetName", nth = 99}}]
"""


def _faults(node: Node, found: dict[str, list[Any]]) -> None:
    node.write("a-machine.toml", WITH_A_FAULT)
    found["hami mock lose"].append(node.ask("mock", "lose", "0"))
    found["hami mock xid"] += [node.ask("mock", "xid", "0", "48")]
    found["hami mock fault add"].append(node.ask("mock", "fault", "add", "hang", "--call", "cuMemAlloc*"))
    found["hami mock fault list"].append(node.ask("mock", "fault", "list"))
    found["hami mock fault release"].append(node.ask("mock", "fault", "release"))
    found["hami mock fault clear"].append(node.ask("mock", "fault", "clear"))
    found["hami mock fault rearm"].append(node.ask("mock", "fault", "rearm"))
    found["hami mock restore"].append(node.ask("mock", "restore", "0"))
    found["hami mock kernel"] += [node.ask("mock", "kernel", "5ms"), node.ask("mock", "kernel", "5ms", "matmul")]
    for command in ("hami mock lose", "hami mock xid"):
        found[command] += found["hami mock fault add"]


def _while_held(node: Node, found: dict[str, list[Any]]) -> None:
    meeting = node.folder / "meeting"
    meeting.mkdir()
    (meeting / "held.test").touch()
    held = node.start("run", "-o", "json", "--gpumem", "15000", "--gpucores", "30", "--", PROBE, "--barrier", str(meeting), "2")
    held.until("all 2 hold")
    waits = node.start("run", "--gpumem", "15000", "-o", "json", "--", "true")
    waits.until("waits")
    found["hami mock truth"].append(node.ask("mock", "truth"))
    found["hami ps"].append(node.ask("ps"))
    watch = node.start("ps", "--watch", "-o", "json")
    found["hami ps"].append(json.loads(watch.until('"v": 1')))
    watch.signal(signal.SIGINT)
    found["hami wait"].append(node.hami("wait", "true", "hami-probe", "--timeout", "0", "-o", "json").document)
    found["hami devices"].append(node.ask("devices"))
    (record,) = (Path(node.env["HAMI_STATE_DIR"]) / "t4-node/holdings").glob("*/holding.json")
    record.write_text("garbage")
    found["hami ps"].append(node.ask("ps"))
    (meeting / "seen.test").touch()
    found["hami run"] += [held.end().document, waits.end().document]
    found["hami wait"].append(node.ask("wait", "true"))
    killed = node.start("run", "--", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    killed.until("runs as process")
    found["hami stop"].append(node.ask("stop", "sh", "--grace", "0"))


@pytest.mark.parametrize("command", described())
def test_the_document_is_as_described(documents: Documents, command: str) -> None:
    printed: dict[str, set[str]] = defaultdict(set)
    for field, kind in (pair for document in documents[command] for pair in fields(document)):
        printed[field].add(kind)

    expected = described()[command]
    assert {field: types for field, types in printed.items() if not types <= expected.get(field, set())} == {}
    assert set(expected) - set(printed) == set()


def test_every_document_has_version_1(documents: Documents) -> None:
    assert {document["v"] for several in documents.values() for document in several} == {1}


def test_every_command_with_json_is_described(documents: Documents) -> None:
    assert set(described()) == set(documents)


def test_a_record_that_cannot_be_read_is_told_and_its_shares_still_count(documents: Documents) -> None:
    told = documents["hami ps"][-1]

    assert [share["memory"] for holding in told["holdings"] for share in holding["shares"]] == [15000]
    (fault,) = told["faults"]
    assert "its shares are counted as its limits files tell them" in fault


def test_workloads_write_to_stderr_and_to_their_logs_never_into_the_document(t4_run: tuple[str, str, str]) -> None:
    stdout, stderr, log = t4_run

    assert "to stdout" not in stdout
    assert "to stdout\n" in stderr
    assert "to stderr\n" in stderr
    assert sorted(line.split(" ", 1)[1] for line in log.splitlines()) == ["stderr F to stderr", "stdout F to stdout"]


@pytest.fixture
def t4_run(t4: Node) -> tuple[str, str, str]:
    """Stdout, stderr and log of a run that writes to both."""
    done = t4.hami("run", "-o", "json", "--", "sh", "-c", "echo to stdout; echo to stderr >&2")
    return done.stdout, done.stderr, Path(done.document["pods"][0]["containers"][0]["log"]).read_text()
