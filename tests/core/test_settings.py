"""Settings: layers, types, ranges, and every mistake named with its place."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import example, given
from hypothesis import strategies as st

from hami_core import settings
from hami_core.errors import PluginError, SettingsError
from hami_core.settings import setting


@frozen
class AcmeSettings:
    """One of each type."""

    split: int = setting("acme.splitCount", 10, "Tasks per card.", low=1, high=1000)
    scaling: float = setting("acme.memoryScaling", 1.0, "Memory handed out, by the metal.", low=0.1)
    strict: bool = setting("acme.strict", False, "Whether.")
    mode: str = setting("acme.mode", "plain", "Which.", choices=("plain", "fancy"))
    root: str = setting("acmeDriverRoot", "/", "Where.")


@frozen
class Rival:
    """Claims a path of acme."""

    split: int = setting("acme.splitCount", 1, "The same.")


@frozen
class Odd:
    """A field that is none."""

    split: int = field(default=1)


def resolved(*layers: dict[str, Any]) -> AcmeSettings:
    named = [(f"layer {number}", layer) for number, layer in enumerate(layers)]
    return settings.resolve({"acme": AcmeSettings}, named)[AcmeSettings]


def refusal(layer: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        resolved(layer)
    return str(caught.value)


# --- Values ----------------------------------------------------------------------------------------------------------


def test_without_layers_every_setting_has_its_default() -> None:
    assert settings.defaults(AcmeSettings)[AcmeSettings] == AcmeSettings()


def test_later_layers_win_setting_by_setting() -> None:
    found = resolved({"acme.splitCount": 2, "acme.mode": "fancy"}, {"acme.splitCount": 3})

    assert found == AcmeSettings(split=3, mode="fancy")


def test_an_entry_says_where_its_value_comes_from() -> None:
    resolved = settings.resolve({"acme": AcmeSettings}, [("HAMI_SET", {"acme.splitCount": "3"})])

    told = {entry.declaration.path: (entry.owner, entry.value, entry.source) for entry in resolved.entries}
    assert told["acme.splitCount"] == ("acme", 3, "HAMI_SET")
    assert told["acme.mode"] == ("acme", "plain", "default")


@pytest.mark.parametrize(
    ("raw", "value"),
    [(True, True), (False, False), ("true", True), ("false", False), ("True", True), ("FALSE", False)],
    ids=repr,
)
def test_a_truth_value_may_be_spelt_as_the_chart_does(raw: object, value: bool) -> None:
    assert resolved({"acme.strict": raw}).strict is value


@pytest.mark.parametrize(("raw", "value"), [(5, 5), ("5", 5), (1, 1), (1000, 1000)], ids=repr)
def test_a_whole_number_within_its_range_is_taken_also_as_text(raw: object, value: int) -> None:
    assert resolved({"acme.splitCount": raw}).split == value


@pytest.mark.parametrize(("raw", "value"), [(2, 2.0), (1.5, 1.5), ("1.5", 1.5)], ids=repr)
def test_a_number_may_be_whole_or_come_as_text(raw: object, value: float) -> None:
    assert resolved({"acme.memoryScaling": raw}).scaling == value


# --- Mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"acme.splitcount": 3}, 'acme.splitcount: unknown setting (did you mean "acme.splitCount"?)'),
        ({"acme.spiltCount": 3}, 'acme.spiltCount: unknown setting (did you mean "acme.splitCount"?)'),
        ({"acmeDriverRot": "/x"}, 'acmeDriverRot: unknown setting (did you mean "acmeDriverRoot"?)'),
        ({"zzz": 3}, "zzz: unknown setting; `hami config` lists all"),
        (
            {"acme": 3},
            "acme: is a group, not a setting (it holds acme.splitCount, acme.memoryScaling, acme.strict, acme.mode)",
        ),
        ({"acme.splitCount": 0}, "acme.splitCount: 0 is not a whole number from 1 to 1000"),
        ({"acme.splitCount": 1001}, "acme.splitCount: 1001 is not a whole number from 1 to 1000"),
        ({"acme.splitCount": 2.5}, "acme.splitCount: 2.5 is not a whole number from 1 to 1000"),
        ({"acme.splitCount": "many"}, "acme.splitCount: 'many' is not a whole number from 1 to 1000"),
        ({"acme.splitCount": True}, "acme.splitCount: True is not a whole number from 1 to 1000"),
        ({"acme.splitCount": None}, "acme.splitCount: None is not a whole number from 1 to 1000"),
        ({"acme.memoryScaling": 0}, "acme.memoryScaling: 0 is not a number of at least 0.1"),
        ({"acme.memoryScaling": "nan"}, "acme.memoryScaling: 'nan' is not a number of at least 0.1"),
        ({"acme.memoryScaling": "inf"}, "acme.memoryScaling: 'inf' is not a number of at least 0.1"),
        ({"acme.strict": "yes"}, "acme.strict: 'yes' is not true or false"),
        ({"acme.strict": 1}, "acme.strict: 1 is not true or false"),
        ({"acme.mode": "gaudy"}, "acme.mode: 'gaudy' is not plain or fancy"),
        ({"acmeDriverRoot": 5}, "acmeDriverRoot: 5 is not a text"),
    ],
    ids=str,
)
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(layer: dict[str, Any], message: str) -> None:
    assert refusal(layer) == f"settings (layer 0): {message}"


@given(
    st.sampled_from(("acme.splitCount", "acme.memoryScaling", "acme.strict", "acme.mode", "acmeDriverRoot")),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=1),
)
@example("acme.memoryScaling", 10**400)
@example("acme.splitCount", 10**400)
@example("acme.splitCount", "1" * 5000)
def test_any_value_is_taken_or_refused_with_a_settings_error(path: str, raw: object) -> None:
    try:
        found = resolved({path: raw})
    except SettingsError as error:
        assert error.path == path
    else:
        assert 1 <= found.split <= 1000
        assert found.scaling >= 0.1
        assert found.mode in ("plain", "fancy")


def test_two_owners_of_a_path_are_an_error_that_names_both() -> None:
    with pytest.raises(PluginError) as caught:
        settings.resolve({"acme": AcmeSettings, "rival": Rival}, ())

    assert str(caught.value) == 'plugin "rival": hook hami_settings: the setting "acme.splitCount" belongs to "acme" already'


def test_a_field_that_is_not_made_by_setting_is_an_error() -> None:
    with pytest.raises(PluginError) as caught:
        settings.resolve({"odd": Odd}, ())

    assert str(caught.value) == 'plugin "odd": hook hami_settings: field Odd.split is not made by setting()'
