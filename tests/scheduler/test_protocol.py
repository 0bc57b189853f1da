"""kube-scheduler's own JSON, in both forms, and what is none."""

from __future__ import annotations

import json

import pytest

from hami_scheduler import protocol

POD = {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": []}}


def body(**fields: object) -> bytes:
    return json.dumps({"Pod": POD, **fields}).encode()


def test_names_are_read_and_answered_as_names() -> None:
    request = protocol.asked(body(Nodes=None, NodeNames=["a", "b", "c"]))

    answer = json.loads(protocol.kept(request, ["c", "a"], {}))

    assert (request.pod, request.names) == (POD, ["a", "b", "c"])
    assert answer == {"NodeNames": ["c", "a"], "FailedAndUnresolvableNodes": {}, "Error": ""}


def test_whole_nodes_are_answered_as_the_bytes_that_came() -> None:
    nodes = b'{"metadata":{},"items":[{"metadata":{"name":"a"},"x":1.0},  {"metadata":{"name":"b"},"y":"\\u00e9"}]}'
    request = protocol.asked(b'{"Pod":{},"Nodes":' + nodes + b',"NodeNames":null}')

    answer = protocol.kept(request, ["b"], {"a": "too small"})

    assert request.names == ["a", "b"]
    assert b'"items":[{"metadata":{"name":"b"},"y":"\\u00e9"}]' in answer
    assert json.loads(answer)["FailedAndUnresolvableNodes"] == {"a": "too small"}


def test_no_candidates_is_a_request_too() -> None:
    assert protocol.asked(body(NodeNames=[])).names == []


def test_a_list_of_nodes_that_nobody_made_is_empty() -> None:
    assert protocol.asked(b'{"Pod":{},"Nodes":{"metadata":{},"items":null},"NodeNames":null}').names == []


def test_a_binding_is_read() -> None:
    asked = b'{"PodName":"p","PodNamespace":"n","PodUID":"u","Node":"a"}'

    assert protocol.binding(asked) == protocol.Binding("p", "n", "u", "a")


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{", "truncated"),
        (b'{"NodeNames":["a"]}', "missing required field `Pod`"),
        (b'{"Pod":null,"NodeNames":["a"]}', "Expected `object`, got `null` - at `$.Pod`"),
        (b'{"Pod":{},"NodeNames":["a",7]}', r"Expected `str`, got `int` - at `$.NodeNames[1]`"),
        (b'{"Pod":{"metadata":"x"}}', "in $.Pod: Expected `object | null`, got `str` - at `$.metadata`"),
        (b'{"Pod":{"metadata":{"uid":7}},"NodeNames":[]}', "got `int` - at `$.metadata.uid`"),
        (b'{"Pod":{"metadata":{"annotations":{"a":1}}},"NodeNames":[]}', "got `int` - at `$.metadata.annotations[...]`"),
        (b'{"Pod":{"spec":{"containers":[{},{"env":1}]}},"NodeNames":[]}', "got `int` - at `$.spec.containers[1].env`"),
        (b'{"Pod":{}}', "one of Nodes and NodeNames must be there"),
        (b'{"Pod":{},"Nodes":{"items":[{"metadata":{"name":"a"}},{"metadata":{}}]}}', "in $.Nodes.items[1]: "),
        (b'{"Pod":{"a":"\xff"},"NodeNames":[]}', "utf-8"),
        (b'{"Pod":{"a":' + b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_request_is_refused_with_the_place(sent: bytes, where: str) -> None:
    with pytest.raises(protocol.Malformed) as refused:
        protocol.asked(sent)

    assert where.lower() in str(refused.value).lower()


@pytest.mark.parametrize("field", ["PodName", "PodNamespace", "PodUID", "Node"])
def test_a_binding_without_one_of_its_words_is_refused(field: str) -> None:
    words = {"PodName": "p", "PodNamespace": "n", "PodUID": "u", "Node": "a"}

    with pytest.raises(protocol.Malformed, match=field):
        protocol.binding(json.dumps({**words, field: ""}).encode())
    with pytest.raises(protocol.Malformed, match=field):
        protocol.binding(json.dumps({key: value for key, value in words.items() if key != field}).encode())


def test_priorities_are_a_list_of_hosts() -> None:
    assert json.loads(protocol.priorities({"a": 10, "b": 0})) == [{"Host": "a", "Score": 10}, {"Host": "b", "Score": 0}]


def test_an_error_is_no_longer_than_people_read() -> None:
    answer = json.loads(protocol.failed("x" * 250_000))

    assert (answer, json.loads(protocol.failed("short"))) == ({"Error": "x" * 997 + "..."}, {"Error": "short"})
