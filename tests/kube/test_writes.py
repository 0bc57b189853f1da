"""What our writes send, and what becomes of one whose answer is lost. That the API server takes them: tests/cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hami_core.kube import writes
from hami_core.kube.errors import Conflict, Invalid, Unavailable
from hami_core.kube.objects import Lease
from tests.kube.scripted import a_status, refuses, says, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kube.scripted import Request, Wire

POD = "/api/v1/namespaces/ns/pods/p"


def test_a_binding_carries_the_node_the_uid_and_the_annotations(tmp_path: Path) -> None:
    with serving(tmp_path, says({}, 201)) as (server, connection):
        writes.bind(connection, namespace="ns", name="p", uid="u", node="n", annotations={"a": "b"}, timeout=2.5)

    (request,) = server.requests
    assert (request.method, request.path, request.query) == ("POST", f"{POD}/binding", {"timeout": "2.500s"})
    assert json.loads(request.body) == {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "annotations": {"a": "b"}},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "n"},
    }


def test_a_binding_that_was_carried_out_and_not_answered_is_unknown_and_sent_once(tmp_path: Path) -> None:
    bound: list[Any] = []

    def carry_out(request: Request, wire: Wire) -> None:
        bound.append(json.loads(request.body)["target"]["name"])
        wire.reset()

    with serving(tmp_path, carry_out) as (_, connection), pytest.raises(Unavailable) as caught:
        writes.bind(connection, namespace="ns", name="p", uid="u", node="n", annotations={})

    assert (bound, caught.value.unknown) == (["n"], True)


def test_a_patch_is_of_the_annotations_alone(tmp_path: Path) -> None:
    with serving(tmp_path, says({})) as (server, connection):
        writes.annotate(connection, POD, {"a": "b", "c": None}, uid="u")

    (request,) = server.requests
    assert (request.method, request.headers["content-type"]) == ("PATCH", "application/merge-patch+json")
    assert json.loads(request.body) == {"metadata": {"annotations": {"a": "b", "c": None}, "uid": "u"}}


@pytest.mark.parametrize(
    ("message", "uid", "kind"),
    [
        ('Pod "p" is invalid: metadata.uid: Invalid value: "u": field is immutable', "u", Conflict),
        ("metadata.annotations: Invalid value", "u", Invalid),
        ("metadata.uid: Invalid value", "", Invalid),
    ],
)
def test_a_patch_for_another_object_of_the_name_is_a_conflict(
    tmp_path: Path, message: str, uid: str, kind: type[Exception]
) -> None:
    with serving(tmp_path, refuses(422, "Invalid", message)) as (_, connection), pytest.raises(kind) as caught:
        writes.annotate(connection, POD, {"a": "b"}, uid=uid)

    assert type(caught.value) is kind


def test_names_cannot_lead_elsewhere(tmp_path: Path) -> None:
    with serving(tmp_path, says({})) as (server, connection):
        writes.bind(connection, namespace="ns/../..", name="p?x=y#z", uid="u", node="n", annotations={})

    assert server.requests[0].path == "/api/v1/namespaces/ns%2F..%2F../pods/p%3Fx%3Dy%23z/binding"


def test_a_deletion_can_be_meant_for_one_object_only(tmp_path: Path) -> None:
    with serving(tmp_path, says({})) as (server, connection):
        writes.delete(connection, POD, uid="u")
        writes.delete(connection, POD)

    assert [request.body and json.loads(request.body)["preconditions"] for request in server.requests] == [{"uid": "u"}, b""]


def test_what_is_read_is_of_the_shape(tmp_path: Path) -> None:
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a_b", "leaseTransitions": 3}}
    with serving(tmp_path, says(lease), says({"metadata": 3})) as (_, connection):
        found = writes.read(connection, "/l", Lease)
        with pytest.raises(Unavailable, match="cannot be read"):
            writes.read(connection, "/l", Lease)

    assert (found.spec.holder_identity, found.spec.lease_transitions) == ("a_b", 3)


def test_an_applied_document_says_by_whom(tmp_path: Path) -> None:
    with serving(tmp_path, says({}), refuses(409, "Conflict", str(a_status(409)))) as (server, connection):
        writes.apply(connection, "/d", {"a": 1}, "me")
        with pytest.raises(Conflict):
            writes.apply(connection, "/d", {"a": 1}, "me", force=False)

    assert [dict(request.query) for request in server.requests] == [
        {"fieldManager": "me", "force": "true"},
        {"fieldManager": "me", "force": "false"},
    ]
