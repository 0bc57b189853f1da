"""The operations lead from the old document to the new one, and there are no others."""

from __future__ import annotations

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from hami_webhook.patch import Draft, pointer


def test_names_with_slashes_and_tildes_are_escaped() -> None:
    assert pointer(("limits", "nvidia.com/gpu~x", 0)) == "/limits/nvidia.com~1gpu~0x/0"


def test_objects_that_are_missing_on_the_way_come_in_one_operation() -> None:
    draft = Draft({"containers": [{"name": "main", "resources": None}]})

    draft.set(("containers", 0, "resources", "limits", "a/b"), "1")

    assert draft.operations == ({"op": "add", "path": "/containers/0/resources", "value": {"limits": {"a/b": "1"}}},)


def test_what_is_there_already_is_not_written() -> None:
    draft = Draft({"labels": {"a": "1"}})

    draft.set(("labels", "a"), "1")

    assert draft.operations == ()


def test_a_list_that_is_missing_comes_with_its_first_item_alone() -> None:
    draft = Draft({})

    draft.append(("env",), "a")
    draft.append(("env",), "b")

    assert draft.operations == (
        {"op": "add", "path": "/env", "value": ["a"]},
        {"op": "add", "path": "/env/-", "value": "b"},
    )
    assert draft.document == {"env": ["a", "b"]}


def test_the_document_given_stays_as_it_was() -> None:
    given_one = {"env": [{"name": "a"}]}

    draft = Draft(given_one)
    draft.append(("env",), {"name": "b"})
    draft.remove(("env", 0))

    assert given_one == {"env": [{"name": "a"}]}


NAMES = st.sampled_from(["a", "b/c", "d~e", ""])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.recursive(
    st.dictionaries(NAMES, st.none(), max_size=3), lambda inner: st.dictionaries(NAMES, inner | st.none(), max_size=3)
)


@given(OBJECTS, st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=4), VALUES), max_size=6))
def test_somebody_else_s_library_comes_to_the_same_document(
    document: dict[str, object], changes: list[tuple[list[str], object]]
) -> None:
    draft = Draft(document)
    for path, value in changes:
        ends_in_objects = all(isinstance(draft.get(tuple(path[:depth])), dict | None) for depth in range(len(path)))
        if ends_in_objects:
            draft.set(tuple(path), value)

    assert jsonpatch.apply_patch(document, list(draft.operations)) == draft.document
