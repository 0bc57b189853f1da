"""Loading strangers: one that fails is left out with its reason, two owners of a name stop the program with both names."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from attrs import evolve, frozen

from hami_core import hookimpl, plugins
from hami_core.errors import DriverError, PluginError
from hami_core.model import SHARE, DeviceInventory, Kind, Machine, Resources, Splitting
from hami_core.plugins import Found, Plugins
from hami_core.settings import defaults, setting
from tests.core.fleet import ACME, NAMES, a_kind

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = Resources(count="other.example/card")
THREE: Any = 3


@frozen
class AcmeSettings:
    cards: int = setting("acme.cards", 1, "How many.")


def a_plugin(**hooks: Callable[..., Any]) -> ModuleType:
    module = ModuleType("a_plugin")
    for name, function in hooks.items():
        setattr(module, name, hookimpl(function))
    return module


def found(name: str, plugin: object | Exception, distribution: str = "") -> Found:
    return Found(name, distribution or f"hami-{name}", "0.1", lambda: plugin)


def failing(name: str, error: BaseException) -> Found:
    def load() -> NoReturn:
        raise error

    return Found(name, f"hami-{name}", "0.1", load)


def owner(*kinds: object, splittings: tuple[Splitting, ...] = ()) -> ModuleType:
    return a_plugin(hami_kinds=lambda: kinds, hami_splittings=lambda: splittings)


def load(*candidates: Found, block: str = "") -> Plugins:
    return plugins.load(candidates, block)


def catalogue(*candidates: Found) -> plugins.Catalogue:
    return plugins.catalogue(load(*candidates), defaults())


# --- Loading ---------------------------------------------------------------------------------------------------------


def test_a_plugin_in_use_is_listed_with_its_hooks() -> None:
    loaded = load(found("acme", owner(ACME))).loaded

    assert loaded == (plugins.Loaded("acme", "hami-acme", "0.1", ("hami_kinds", "hami_splittings")),)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImportError("no libacme.so"), 'plugin "acme": ImportError: no libacme.so'),
        (ZeroDivisionError(), 'plugin "acme": ZeroDivisionError: ZeroDivisionError'),
        (SystemExit("no driver"), 'plugin "acme": SystemExit: no driver'),
        (PluginError("acme", "too old"), 'plugin "acme": too old'),
    ],
    ids=repr,
)
def test_a_plugin_that_raises_on_import_is_left_out_with_its_reason_and_the_others_load(
    error: BaseException, message: str
) -> None:
    result = load(failing("acme", error), found("zebra", owner(ACME)))

    assert [str(failure) for failure in result.failures] == [message]
    assert [loaded.name for loaded in result.loaded] == ["zebra"]


def test_a_misspelt_hook_is_an_error_that_names_it_and_the_plugin_is_left_out() -> None:
    result = load(found("acme", a_plugin(hami_kind=lambda: [ACME])), found("zebra", owner(ACME)))

    assert [failure.plugin for failure in result.failures] == ["acme"]
    assert "hami_kind" in str(result.failures[0])
    assert not result.manager.has_plugin("acme")
    assert [loaded.name for loaded in result.loaded] == ["zebra"]


def test_an_argument_that_the_hook_does_not_have_is_an_error() -> None:
    result = load(found("acme", a_plugin(hami_kinds=lambda setings: [ACME])), found("zebra", owner(ACME)))

    assert "setings" in str(result.failures[0])
    assert not result.manager.has_plugin("acme")
    assert result.ask_each("hami_kinds", settings=None).by_plugin == {"zebra": (ACME,)}


def test_two_plugins_of_one_name_are_an_error_for_the_second() -> None:
    result = load(found("acme", owner(ACME)), found("acme", owner(), "hami-copy"))

    assert [str(failure) for failure in result.failures] == ['plugin "acme": hami-copy brings a second plugin of this name']
    assert [loaded.distribution for loaded in result.loaded] == ["hami-acme"]


def test_nobody_may_call_itself_core() -> None:
    assert load(found("core", owner(ACME))).loaded == ()


@pytest.mark.parametrize("block", ["acme", "acme,", " acme ,"])
def test_a_blocked_plugin_is_not_even_imported(block: str) -> None:
    result = load(failing("acme", AssertionError("imported")), block=block)

    assert (result.loaded, result.failures, result.blocked) == ((), (), ("acme",))


def test_a_name_to_block_that_nobody_has_is_said() -> None:
    result = load(found("acme", owner(ACME)), block="acmee")

    assert [str(failure) for failure in result.failures] == [
        'plugin "acmee": HAMI_BLOCK names it, and there is none of this name; `hami plugins` shows which are'
    ]


def test_hami_block_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMI_BLOCK", "acme")

    assert plugins.load([found("acme", owner(ACME))]).blocked == ("acme",)


def test_installed_plugins_are_found_in_the_order_of_their_names() -> None:
    names = [one.name for one in plugins.found()]

    assert names == sorted(names)


# --- Asking ----------------------------------------------------------------------------------------------------------


def _raise(error: Exception) -> Callable[[], NoReturn]:
    def hook() -> NoReturn:
        raise error

    return hook


def test_a_plugin_that_raises_hides_no_sibling() -> None:
    result = load(
        found("a", a_plugin(hami_discover=lambda node: [DeviceInventory(node, ())])),
        found("b", a_plugin(hami_discover=_raise(DriverError("b", "no such device", "card-1")))),
        found("c", a_plugin(hami_discover=_raise(RuntimeError("boom")))),
        found("d", a_plugin(hami_discover=lambda settings: [DeviceInventory(settings, ())])),
        found("e", a_plugin(hami_discover=lambda: None)),
    )

    answers = result.ask_each("hami_discover", node="here", settings="set")

    assert answers.by_plugin == {"a": [DeviceInventory("here", ())], "d": [DeviceInventory("set", ())]}
    assert sorted(map(str, answers.failures)) == ["b: card-1: no such device", 'plugin "c": RuntimeError: boom']


def test_only_none_is_no_answer() -> None:
    result = load(found("a", a_plugin(hami_discover=lambda: ())), found("b", a_plugin(hami_discover=lambda: None)))

    assert result.ask_each("hami_discover", node="", settings="").by_plugin == {"a": ()}


def test_a_plugin_may_be_left_unasked() -> None:
    result = load(found("a", a_plugin(hami_discover=_raise(OSError()))), found("b", a_plugin(hami_discover=lambda: ())))

    assert result.ask_each("hami_discover", without=("a",), node="", settings="") == plugins.Answers({"b": ()}, ())


@pytest.mark.parametrize(
    ("hook", "answer", "fault"),
    [
        ("hami_kinds", ACME, "answers Kind where a list of Kind belongs"),
        (
            "hami_kinds",
            [evolve(ACME, resources=Resources(count=THREE))],
            "answers 3 (int) at [0].resources.count where str belongs",
        ),
        ("hami_splittings", ["acme"], "answers 'acme' (str) at [0] where Splitting belongs"),
    ],
    ids=["no list", "a number for a name", "a name for a value"],
)
def test_an_answer_of_another_shape_is_its_plugins_fault_and_the_others_stand(hook: str, answer: object, fault: str) -> None:
    known = catalogue(found("bad", a_plugin(**{hook: lambda: answer})), found("acme", owner(ACME)))

    assert [str(failure) for failure in known.failures] == [f'plugin "bad": hook {hook}: {fault}']
    assert known.kinds == (ACME,)


@pytest.mark.parametrize("declared", [3, Kind, int], ids=["no class", "no settings", "no attrs"])
def test_settings_that_are_none_leave_their_plugin_out(declared: object) -> None:
    result = load(found("bad", a_plugin(hami_settings=lambda: declared)), found("acme", owner(ACME)))

    assert [failure.plugin for failure in result.failures] == ["bad"]
    assert [loaded.name for loaded in result.loaded] == ["acme"]


def test_the_first_answer_is_told_with_whose_it_is() -> None:
    machine = Machine("toy", "/toy")
    result = load(found("a", a_plugin(hami_machine=lambda: machine)), found("b", a_plugin(hami_machine=lambda: None)))

    assert result.ask_first("hami_machine", name="toy", state=None) == ("a", machine)
    assert load().ask_first("hami_machine", name="toy", state=None) is None


def test_a_first_answer_of_another_shape_is_its_plugins_fault() -> None:
    with pytest.raises(PluginError, match=r'plugin "a": hook hami_machine: answers .toy.'):
        load(found("a", a_plugin(hami_machine=lambda: "toy"))).ask_first("hami_machine", name="toy", state=None)


def test_answers_are_in_the_order_of_the_names_however_the_plugins_came() -> None:
    result = load(*(found(name, a_plugin(hami_discover=lambda: ())) for name in "cab"))

    assert list(result.ask_each("hami_discover", node="", settings="").by_plugin) == ["a", "b", "c"]


# --- The catalogue ---------------------------------------------------------------------------------------------------


def test_a_kind_that_nobody_splits_is_split_into_shares() -> None:
    known = catalogue(found("acme", owner(ACME)))

    assert known.kinds == (ACME,)
    assert known.owners == {"acme": "acme"}
    assert known.splittings == {"acme": (Splitting("acme", SHARE),)}
    assert set(known.resources()) == set(NAMES.names())


def test_a_stranger_may_split_another_s_kind() -> None:
    mig = Splitting("acme", "mig")

    known = catalogue(found("acme", owner(ACME)), found("more", owner(splittings=(mig, Splitting("acme", SHARE)))))

    assert known.splittings == {"acme": (mig, Splitting("acme", SHARE))}
    assert known.splitting("acme", "mig") == mig


@pytest.mark.parametrize(
    "ask", [lambda known: known.kind("acmee"), lambda known: known.splitting("acme", "mig")], ids=["kind", "splitting"]
)
def test_a_name_that_is_not_there_is_a_key_error(ask: Callable[[plugins.Catalogue], object]) -> None:
    with pytest.raises(KeyError):
        ask(catalogue(found("acme", owner(ACME))))


def test_two_owners_of_a_kind_are_an_error_that_names_both() -> None:
    with pytest.raises(PluginError) as caught:
        catalogue(found("acme", owner(ACME)), found("copy", owner(evolve(ACME, resources=OTHER))))

    words = 'kind "acme" is claimed by "acme" and "copy"; rename one in the settings or block one'
    assert str(caught.value) == f'plugin "copy": hook hami_kinds: {words}'


def test_two_owners_of_a_resource_name_are_an_error_that_names_both() -> None:
    with pytest.raises(PluginError) as caught:
        catalogue(found("acme", owner(ACME)), found("copy", owner(a_kind("copy"))))

    assert 'resource name "acme.example/card" is claimed by "acme" and "copy"' in str(caught.value)


def test_one_name_in_two_roles_is_an_error() -> None:
    twice = a_kind(resources=Resources(count="acme.example/card", memory="acme.example/card"))

    with pytest.raises(PluginError, match=r'resource name "acme.example/card" is claimed by "acme" twice'):
        catalogue(found("acme", owner(twice)))


def test_a_plugin_that_cannot_say_its_kinds_is_a_failure_of_the_catalogue_and_hides_no_other() -> None:
    known = catalogue(found("bad", a_plugin(hami_kinds=_raise(RuntimeError("boom")))), found("acme", owner(ACME)))

    assert [str(failure) for failure in known.failures] == ['plugin "bad": RuntimeError: boom']
    assert known.kinds == (ACME,)


def test_settings_classes_are_known_by_their_owner() -> None:
    result = load(found("acme", a_plugin(hami_settings=lambda: AcmeSettings)))

    assert list(plugins.settings_classes(result)) == ["acme", "core"]


# --- Weight ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heavy", ["numpy", "click", "rich", "yaml", "cattrs", "pynvml"])
def test_loading_the_plugins_imports_nothing_heavy(heavy: str) -> None:
    code = f"import sys, hami_core.plugins as p; p.load([]); sys.exit({heavy!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
