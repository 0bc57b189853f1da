"""``hami explain`` as people call it, and what it shows; a scheduler's books answer behind its own address."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from hami_core.errors import HamiError
from tests.cli.command import nodes
from tests.core.fleet import CARD, MEMORY, a_container
from tests.scheduler.test_explain import placed
from tests.scheduler.world import a_node, a_pod, a_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.command import Ended, Node
    from tests.scheduler.world import World


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with nodes(tmp_path_factory.mktemp("explain")) as on:
        yield on(None)


@contextmanager
def answering(world: World, host: str = "127.0.0.1") -> Iterator[str]:
    """The URL at which a world is asked."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            pod = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, document = 200, world.cluster.explain(pod)
            except HamiError as error:
                status, document = 422, {"error": str(error)}
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer((host, 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def explained(node: Node, world: World, pod: dict[str, Any], *options: str) -> Ended:
    with answering(world) as url:
        return node.hami("explain", "-f", "-", "--scheduler", url, *options, stdin=json.dumps(pod))


def manifest(memory: object = 3000, **fields: Any) -> dict[str, Any]:
    spec = {"containers": [a_container(limits={CARD: 1, MEMORY: memory})]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "train"}, "spec": spec, **fields}


def busy() -> World:
    world = a_world(a_node("n0"), a_node("n1", 4000))
    placed(world, "big", "n0", 6000)
    return world


def test_a_pod_that_fits_is_shown_with_its_place(node: Node) -> None:
    done = explained(node, busy(), manifest())

    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == (
        "pod default/train: fits\n"
        "it fits on 1 of 2 nodes, best on n1\n"
        '  container "main" asks 1 device of the kind acme: 3000 MiB\n'
        "\n"
        "NODE  CONTAINER  DEVICE  MODEL  MEMORY MiB    OF  CORES\n"
        "n1    main       n1-d0   One          3000  4000      -\n"
    )


def test_a_pod_that_waits_is_shown_what_comes_closest_and_who_holds_it(node: Node) -> None:
    done = explained(node, busy(), manifest(5000))

    assert done.stdout == (
        "pod default/train: waits\n"
        "0/2 nodes: 1 lacks a device with 5000 MiB free (largest 2000; acme.example/memory), "
        "1 lacks a device with 5000 MiB in all (largest 4000; acme.example/memory)\n"
        '  container "main" asks 1 device of the kind acme: 5000 MiB\n'
        "\n"
        "CLOSEST  WHY NOT\n"
        'n0       container "main": 5000 MiB asked, 2000 free on the emptiest of 1 device (acme.example/memory)\n'
        'n1       container "main": 5000 MiB asked, 4000 in all on the largest of 1 device (acme.example/memory)\n'
        "\n"
        "HELD ON  POD              CONTAINER  DEVICE  MODEL  MEMORY MiB    OF  CORES\n"
        "n0       default/pod-big  main       n0-d0   One          6000  8000      -\n"
    )


def test_a_pod_that_never_fits_is_told_so(node: Node) -> None:
    lines = explained(node, busy(), manifest(9000)).stdout.splitlines()

    assert lines[:2] == [
        "pod default/train: never",
        "no node could hold it, even idle: 0/2 nodes: 2 lack a device with 9000 MiB in all (largest 8000; acme.example/memory)",
    ]


def test_the_document_is_the_scheduler_s_own(node: Node) -> None:
    world = busy()

    found = explained(node, world, manifest(), "-o", "json").document

    assert found == {"v": 1, **world.cluster.explain(manifest())}


def test_what_makes_pods_is_asked_about_by_its_template_and_gives_its_name(node: Node) -> None:
    pod = manifest()
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "serve", "namespace": "ml"},
        "spec": {"template": {"metadata": {"labels": {"app": "serve"}}, "spec": pod["spec"]}},
    }

    assert explained(node, busy(), deployment).stdout.startswith("pod ml/deployment/serve: fits\n")


def test_a_pod_that_cannot_be_meant_is_refused_with_the_scheduler_s_sentence(node: Node) -> None:
    done = explained(node, busy(), manifest("3Gi"))

    assert (done.status, done.stdout) == (2, "")
    assert done.stderr == 'hami: acme.example/memory: 3Gi in container "main": give MiB as a plain number (3072)\n'


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "give pod NAME, or -f FILE"),
        (("pod",), "give pod NAME, or -f FILE"),
        (("node", "n0"), "give pod NAME, or -f FILE"),
        (("-f", "x.yaml", "pod", "a"), "give pod NAME, or -f FILE"),
        (("-f", "no.yaml", "--scheduler", "http://127.0.0.1:1"), "No such file or directory"),
        (("-f", "-", "--scheduler", "localhost:9395"), "give a URL like http://127.0.0.1:9395"),
        (("-f", "-", "--scheduler", "http://127.0.0.1:1"), "the scheduler http://127.0.0.1:1: "),
        (("pod", "a"), "no API server: there is no kubeconfig"),
    ],
)
def test_a_mistake_in_the_command_ends_in_one_sentence(node: Node, words: tuple[str, ...], sentence: str) -> None:
    done = node.hami("explain", *words, stdin=json.dumps(manifest()), env={"HOME": str(node.folder)})

    assert (done.status, done.stdout) == (2, "")
    assert sentence in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: Pod\n---\nkind: Pod\n", "one manifest is asked about at a time"),
        ("kind: Service\nspec: {}\n", "kind: Service is neither a Pod nor something that makes Pods of spec.template"),
        ("kind: [\n", "while parsing"),
        ("kind: Pod\nmetadata: train\n", "metadata: train is no mapping; give at least name"),
        ("kind: Job\nspec: {template: {metadata: [a], spec: {}}}\n", "spec.template.metadata: ['a'] is no mapping"),
    ],
)
def test_a_file_without_a_pod_is_refused(node: Node, text: str, sentence: str) -> None:
    done = node.hami("explain", "-f", "-", "--scheduler", "http://127.0.0.1:1", stdin=text)

    assert (done.status, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_somebody_else_s_server_is_not_believed(node: Node) -> None:
    class Other:
        cluster: Any = None

        def explain(self, _: object) -> dict[str, str]:
            return {"hello": "world"}

    other: Any = Other()
    other.cluster = other

    done = explained(node, other, manifest())

    assert (done.status, done.stderr) == (2, "hami: that is no scheduler of hami: its answer has another form\n")


def test_a_name_with_control_characters_does_not_reach_the_terminal(node: Node) -> None:
    pod = manifest()
    pod["metadata"]["name"] = "a\x1b[31mb"

    assert "\x1b" not in explained(node, busy(), pod).stdout


def test_the_pod_s_own_uid_is_of_no_matter_for_a_manifest(node: Node) -> None:
    assert explained(node, busy(), a_pod("x") | {"kind": "Pod"}).stdout.startswith("pod default/pod-x: fits\n")
