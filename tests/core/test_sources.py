"""Sources of settings: trees and assignments become path -> value; a value becomes one of its type."""

from __future__ import annotations

import pytest

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
