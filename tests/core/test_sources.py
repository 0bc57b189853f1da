"""Sources of settings: trees and assignments become path -> value; a value becomes one of its type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core import sources
from hami_core.errors import SettingsError


def test_a_tree_is_flattened_to_paths() -> None:
    assert sources.flatten({"acme": {"splitCount": 3, "deep": {"er": "x"}}, "b": None}, "file") == {
        "acme.splitCount": 3,
        "acme.deep.er": "x",
        "b": None,
    }


def test_an_empty_file_sets_nothing() -> None:
    assert sources.flatten(None, "file") == {}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([1], "settings (file): $: must be a mapping of names to values"),
        ("text", "settings (file): $: must be a mapping of names to values"),
    ],
    ids=str,
)
def test_a_tree_of_another_shape_is_refused(tree: object, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        sources.flatten(tree, "file")

    assert str(caught.value) == message


def test_assignments_are_split_at_the_first_equals_sign() -> None:
    assert sources.assignments(["a.b = c", "d=e=f", "g="], "--set") == {"a.b": "c", "d": "e=f", "g": ""}


@pytest.mark.parametrize("item", ["a.b", "=c", ""])
def test_an_item_without_path_or_equals_sign_is_refused(item: str) -> None:
    with pytest.raises(SettingsError, match="write path=value, as in"):
        sources.assignments([item], "--set")


def test_several_assignments_may_stand_in_one_text() -> None:
    assert sources.assignments(["a=1,b.c=2", "d=3"], "--set") == {"a": "1", "b.c": "2", "d": "3"}


def test_a_comma_in_brackets_or_behind_a_backslash_separates_nothing() -> None:
    text = r"a=[1, 2],b={x: [1, 2], y: 3},c=left\,right"

    assert sources.assignments([text], "--set") == {"a": "[1, 2]", "b": "{x: [1, 2], y: 3}", "c": "left,right"}


def test_a_list_is_a_value_of_its_path() -> None:
    assert sources.flatten({"acme": {"modes": ["a", {"b": 1}]}}, "file") == {"acme.modes": ["a", {"b": 1}]}


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3}){0,2}", fullmatch=True), st.text(alphabet="ab,=.", max_size=6)))
def test_any_values_come_back_from_one_text_of_assignments(values: dict[str, str]) -> None:
    text = ",".join(f"{path}={value.replace(',', chr(92) + ',')}" for path, value in values.items())

    assert sources.assignments([text] if values else [], "HAMI_SET") == values
