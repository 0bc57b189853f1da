"""Settings: layers, types, ranges, and every mistake named with its place."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest
from attrs import field, frozen
from hypothesis import example, given
from hypothesis import strategies as st

from hami_core import settings
from hami_core.errors import PluginError, SettingsError
from hami_core.settings import Form, NodeOverride, setting

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class AcmeSettings:
    """One of each type."""

    split: int = setting("acme.splitCount", 10, "Tasks per card.", low=1, high=1000)
    scaling: float = setting("acme.memoryScaling", 1.0, "Memory handed out, by the metal.", low=0.1)
    strict: bool = setting("acme.strict", False, "Whether.")
    mode: str = setting("acme.mode", "plain", "Which.", choices=("plain", "fancy"))
    root: str = setting("acmeDriverRoot", "/", "Where.")


def by_shelf(value: Mapping[str, Any], source: str) -> list[NodeOverride]:
    """Entries for nodes in a spelling of acme's own."""
    del source
    return [NodeOverride(f"shelf {name}", name, values) for name, values in value.items()]


@frozen
class WideSettings:
    """What is more than one plain value."""

    split: int = setting("wide.split", 10, "Tasks per card.", low=1, high=100, per_node=True)
    price: int = setting("wide.price", 1, "The same everywhere.")
    spare: tuple[int, ...] = setting("wide.spare", (), "Slots left empty.", item=int, low=0, high=7, per_node=True)
    weight: Mapping[str, float] = setting("wide.weight", {}, "By model.", item=float, low=0, per_node=True)
    shelves: Mapping[str, Any] = setting("wide.shelves", {}, "Nodes by shelf.", item=object, overrides=by_shelf)
    name: str = setting("wide.name", "a.b/c", "A name.", form=Form("[a-z.]+/[a-z]+", "a name like a.b/c"), distinct="name")
    other: str = setting("wide.other", "a.b/d", "Another.", form=Form("[a-z.]+/[a-z]+", "a name like a.b/c"), distinct="name")


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


# --- Lists, mappings, forms -------------------------------------------------------------------------------------------


def wide(*layers: Mapping[str, Any], node: str = "") -> WideSettings:
    named = [(f"layer {number}", layer) for number, layer in enumerate(layers)]
    return settings.resolve({"wide": WideSettings}, named, node)[WideSettings]


def wide_refusal(layer: Mapping[str, Any], node: str = "") -> str:
    with pytest.raises(SettingsError) as caught:
        wide(layer, node=node)
    return str(caught.value)


@pytest.mark.parametrize("raw", [[1, 2], "[1, 2]", ["1", 2], "- 1\n- 2"], ids=repr)
def test_a_list_may_come_as_text(raw: object) -> None:
    assert wide({"wide.spare": raw}).spare == (1, 2)


def test_a_later_list_takes_the_place_of_an_earlier_one() -> None:
    assert wide({"wide.spare": [1, 2]}, {"wide.spare": [3]}).spare == (3,)


def test_mappings_are_merged_key_by_key_and_a_key_may_have_dots() -> None:
    found = wide({"wide.weight.one": 1, "wide.weight.1g.5gb": 2}, {"wide.weight": "{one: 3}"}, {"wide.weight": {"two": 4}})

    assert found.weight == {"one": 3.0, "1g.5gb": 2.0, "two": 4.0}


def test_an_entry_of_a_mapping_names_all_sources() -> None:
    layers = [("file", {"wide.weight.one": 1}), ("--set", {"wide.weight.two": 2}), ("--set", {"wide.weight.three": 3})]

    found = settings.resolve({"wide": WideSettings}, layers)

    assert {entry.declaration.path: entry.source for entry in found.entries}["wide.weight"] == "file, --set"


def test_the_default_of_a_mapping_is_nobodys_to_change() -> None:
    wide({"wide.weight.one": 1})

    assert wide().weight == {}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"wide.spare": 3}, "wide.spare: 3 is not a list, each of it a whole number from 0 to 7"),
        ({"wide.spare": "3"}, "wide.spare: '3' is not a list, each of it a whole number from 0 to 7"),
        ({"wide.spare": "[3"}, "wide.spare: '[3' is not a list, each of it a whole number from 0 to 7"),
        ({"wide.spare": [1, 8]}, "wide.spare[1]: 8 is not a whole number from 0 to 7"),
        ({"wide.weight": "heavy"}, "wide.weight: 'heavy' is not a mapping, each value of it a number of at least 0"),
        ({"wide.weight.one": -1}, "wide.weight.one: -1 is not a number of at least 0"),
        ({"wide.name": "none"}, "wide.name: 'none' is not a name like a.b/c"),
        ({"wide.name": "a.b/d"}, 'wide.name: "a.b/d" is the name of wide.other too; give each one of its own'),
        ({"wide.other": "a.b/c"}, 'wide.other: "a.b/c" is the name of wide.name too; give each one of its own'),
    ],
    ids=str,
)
def test_a_mistake_in_more_than_one_value_is_named_with_its_place(layer: dict[str, Any], message: str) -> None:
    assert wide_refusal(layer) == f"settings (layer 0): {message}"


# --- Nodes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "split"),
    [("gpu-7", 4), ("gpu-", 4), ("gpu-9", 5), ("cpu-1", 10), ("GPU-7", 10), ("", 10)],
)
def test_the_last_entry_that_matches_a_node_counts_there(node: str, split: int) -> None:
    entries = [{"match": "gpu-*", "wide": {"split": 4}}, {"match": "gpu-9", "wide.split": 5}]

    assert wide({"nodes": entries}, node=node).split == split


def test_for_the_whole_cluster_no_entry_counts() -> None:
    assert wide({"nodes": [{"match": "*", "wide.split": 4}]}).split == 10


def test_an_entry_for_a_node_goes_before_what_is_set_for_all() -> None:
    assert wide({"nodes": [{"match": "a", "wide.split": 4}]}, {"wide.split": 6}, node="a").split == 4


def test_what_is_above_the_nodes_stays_above_them() -> None:
    layers = [("file", {"nodes": [{"match": "a", "wide.split": 4}]})]

    found = settings.resolve({"wide": WideSettings}, layers, "a", last=[("machine", {"wide.split": 7})])

    assert found[WideSettings].split == 7


def test_the_source_of_a_value_for_a_node_names_the_entry() -> None:
    layers = [("file", {"nodes": [{"match": "a*", "wide.split": 4}]})]

    found = settings.resolve({"wide": WideSettings}, layers, "ab")

    assert {entry.declaration.path: entry.source for entry in found.entries}["wide.split"] == 'file, nodes[0] "a*"'


def test_an_owners_own_spelling_is_read_and_an_entry_of_nodes_goes_before_it() -> None:
    shelves = {"wide.shelves": {"a": {"wide.split": 2, "wide.spare": [1]}}}

    assert wide(shelves, node="a").split == 2
    assert wide(shelves, {"nodes": [{"match": "a", "wide.split": 3}]}, node="a") == WideSettings(
        split=3, spare=(1,), shelves={"a": {"wide.split": 2, "wide.spare": [1]}}
    )


@pytest.mark.parametrize("node", ["", "a", "b"])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            {"nodes": [{"match": "a", "wide.split": 0}]},
            'settings (layer 0, nodes[0] "a"): wide.split: 0 is not a whole number from 1 to 100',
        ),
        (
            {"nodes": [{"match": "a", "wide.spilt": 1}]},
            'settings (layer 0, nodes[0] "a"): wide.spilt: unknown setting (did you mean "wide.split"?)',
        ),
        (
            {"nodes": [{"match": "a", "wide.price": 1}]},
            ('settings (layer 0, nodes[0] "a"): wide.price: is the same on all nodes; set it outside of the entries for nodes'),
        ),
        (
            {"nodes": [{"wide.split": 1}]},
            (
                "settings (layer 0): nodes[0]: {'wide.split': 1} is no mapping with match: NAME and settings, "
                "as in {match: gpu-*, devicePlugin.deviceSplitCount: 4}"
            ),
        ),
        ({"nodes": {"match": "a"}}, "settings (layer 0): nodes: {'match': 'a'} is not a list of entries"),
        (
            {"wide.shelves": {"a": {"wide.split": 0}}},
            "settings (layer 0, shelf a): wide.split: 0 is not a whole number from 1 to 100",
        ),
    ],
    ids=str,
)
def test_a_mistake_in_an_entry_is_named_on_every_node(layer: dict[str, Any], message: str, node: str) -> None:
    assert wide_refusal(layer, node) == message


def test_settings_survive_the_way_into_a_child_process() -> None:
    found = settings.resolve({"wide": WideSettings}, [("file", {"wide.weight.one": 1})], "a")

    assert pickle.loads(pickle.dumps(found))[WideSettings] == found[WideSettings]


@pytest.mark.parametrize(
    ("path", "nearest"),
    [("wide.spit", "wide.split"), ("split", "wide.split"), ("Wide.Split", "wide.split"), ("scheduler.weigth", "wide.weight")],
)
def test_the_nearest_path_is_found_by_its_letters_or_by_its_last_name(path: str, nearest: str) -> None:
    assert wide_refusal({path: 1}) == f'settings (layer 0): {path}: unknown setting (did you mean "{nearest}"?)'


def test_a_path_that_resembles_a_known_one_in_its_group_only_gets_no_advice() -> None:
    assert wide_refusal({"wide.migStrategy": "none"}).endswith("unknown setting; `hami config` lists all")


def test_a_number_may_have_a_name() -> None:
    @frozen
    class Counted:
        most: int = setting("most", 2, "How many.", low=1, high=9, words=(("all", 9),))

    def read(raw: object) -> int:
        return settings.resolve({"counted": Counted}, [("test", {"most": raw})])[Counted].most

    assert (read("all"), read("3"), read(4)) == (9, 3, 4)
    with pytest.raises(SettingsError, match="'some' is not a whole number from 1 to 9 or all"):
        read("some")
