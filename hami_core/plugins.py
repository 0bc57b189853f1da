"""Loading plugins, asking them one by one, and the catalogue of what they own.

A stranger's fault does not stop the program: a plugin that cannot be imported, or has a misspelt hook, is left out, kept with
its reason, and shown by ``hami plugins``. Two owners of one name do stop it, with both names: nobody could say whose is meant.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any, NoReturn

import pluggy
from attrs import frozen

from hami_core import hookspecs, names, settings, shapes, sharing
from hami_core.errors import HamiError, PluginError
from hami_core.model import SHARE, Kind, Splitting

if TYPE_CHECKING:
    from hami_core.settings import Settings

    Ask = Callable[[pluggy.HookImpl, Mapping[str, object]], Any]  # an implementation, and the arguments that it takes by name

CORE = "core"


@frozen
class Found:
    """A plugin that an entry point names. ``load`` imports it."""

    name: str
    distribution: str
    version: str
    load: Callable[[], object]


@frozen
class Loaded:
    """A plugin in use."""

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]


@frozen
class Failure:
    """A plugin that is left out, or a question that it failed to answer."""

    plugin: str
    error: BaseException

    def __str__(self) -> str:
        reason = str(self.error) or type(self.error).__name__
        if isinstance(self.error, HamiError):
            return reason
        return f'plugin "{self.plugin}": {type(self.error).__name__}: {reason}'


@frozen
class Answers:
    """What the plugins said to one question, by plugin, and which of them failed."""

    by_plugin: Mapping[str, Any]
    failures: tuple[Failure, ...]


@frozen
class Plugins:
    """The plugins in use, and those left out."""

    manager: pluggy.PluginManager
    loaded: tuple[Loaded, ...]
    failures: tuple[Failure, ...]
    blocked: tuple[str, ...] = ()

    @property
    def hook(self) -> pluggy.HookRelay:
        """The hooks, for decisions: one call asks everybody."""
        return self.manager.hook

    def ask_each(self, hook: str, without: Collection[str] = (), **arguments: object) -> Answers:
        """Ask every implementation by itself, but for the plugins in ``without``. None is no answer.

        One that raises, or whose answer has another shape than the hook's, is reported and hides no other.
        """
        return self.gather(hook, lambda implementation, wanted: implementation.function(*wanted.values()), without, arguments)

    def gather(self, hook: str, ask: Ask, without: Collection[str], arguments: Mapping[str, object]) -> Answers:
        """``ask_each`` with ``ask`` doing the asking: here, or elsewhere with a deadline (``asking``)."""
        answers, failures = {}, []
        for implementation in getattr(self.hook, hook).get_hookimpls():
            if implementation.plugin_name in without:
                continue
            try:
                answer = ask(implementation, {name: arguments[name] for name in implementation.argnames})
                _refuse_another_shape(implementation.plugin_name, hook, answer)
            except (Exception, SystemExit) as error:  # a stranger's code may raise anything
                failures.append(Failure(implementation.plugin_name, error))
            else:
                if answer is not None:
                    answers[implementation.plugin_name] = answer
        return Answers(dict(sorted(answers.items())), tuple(failures))

    def ask_first(self, hook: str, **arguments: object) -> tuple[str, Any] | None:
        """The first answer to a first-result hook, and whose it is. None: nobody has one.

        PluginError: what is raised is no error of ours, or the answer has another shape than the hook's.
        """
        for implementation in reversed(getattr(self.hook, hook).get_hookimpls()):  # pluggy's order
            plugin = implementation.plugin_name
            try:
                answer = implementation.function(*(arguments[name] for name in implementation.argnames))
            except HamiError:
                raise
            except Exception as error:  # a stranger's code may raise anything
                raise PluginError(plugin, f"{type(error).__name__}: {error}", hook) from error
            _refuse_another_shape(plugin, hook, answer)
            if answer is not None:
                return plugin, answer
        return None


def _refuse_another_shape(plugin: str, hook: str, answer: object) -> None:
    if fault := shapes.fault(hook, answer):
        raise PluginError(plugin, fault, hook)


def found() -> list[Found]:
    """Every plugin that an installed distribution offers, by name: the disk's order would break ties differently elsewhere."""
    points = metadata.entry_points(group=names.ENTRY_POINTS)
    return sorted((_found(point) for point in points), key=lambda found: (found.name, found.distribution))


def _found(point: metadata.EntryPoint) -> Found:
    distribution = point.dist
    return Found(
        name=point.name,
        distribution=distribution.name if distribution else "?",
        version=distribution.version if distribution else "?",
        load=point.load,
    )


def load(candidates: Iterable[Found] | None = None, block: str | None = None) -> Plugins:
    """The core's defaults and every plugin that can be had, less those named in ``block`` (default: HAMI_BLOCK)."""
    text = os.environ.get(names.ENV_BLOCK, "") if block is None else block
    blocked = {name for part in text.split(",") if (name := part.strip())}
    manager = pluggy.PluginManager(names.ENTRY_POINTS)
    manager.add_hookspecs(hookspecs)
    manager.register(sharing, CORE)
    loaded, failures, left_out = [], [], []
    for candidate in found() if candidates is None else candidates:
        if candidate.name in blocked:
            left_out.append(candidate.name)
            continue
        error = admit(manager, candidate)
        if error is None:
            loaded.append(_loaded(manager, candidate))
        else:
            failures.append(Failure(candidate.name, error))
    failures += [Failure(name, _blocks_nobody(name)) for name in sorted(blocked - set(left_out))]
    return Plugins(manager, tuple(loaded), tuple(failures), tuple(left_out))


def _blocks_nobody(name: str) -> PluginError:
    return PluginError(name, f"{names.ENV_BLOCK} names it, and there is none of this name; `hami plugins` shows which are")


def admit(manager: pluggy.PluginManager, candidate: Found) -> BaseException | None:
    """Register one plugin, or leave the manager as it was and return what went wrong."""
    if manager.has_plugin(candidate.name):
        return PluginError(candidate.name, f"{candidate.distribution} brings a second plugin of this name")
    try:
        manager.register(candidate.load(), candidate.name)
        manager.check_pending()  # a misspelt hook is an error now, not a silence later
        _try_settings(manager, candidate.name)
    except (Exception, SystemExit) as error:  # whatever a stranger's import may raise; drivers' bindings like to exit
        if manager.has_plugin(candidate.name):  # check_pending does not take the plugin back
            manager.unregister(name=candidate.name)
        return error
    return None


def _try_settings(manager: pluggy.PluginManager, name: str) -> None:
    """Declare the plugin's settings by themselves: what is wrong with them is its fault, and no command's."""
    for implementation in manager.hook.hami_settings.get_hookimpls():
        if implementation.plugin_name == name:
            declared: Any = implementation.function()
            _refuse_another_shape(name, "hami_settings", declared)
            if declared is not None:
                settings.resolve({name: declared}, ())


def _loaded(manager: pluggy.PluginManager, candidate: Found) -> Loaded:
    callers = manager.get_hookcallers(manager.get_plugin(candidate.name)) or []
    hooks = tuple(sorted(caller.name for caller in callers))
    return Loaded(candidate.name, candidate.distribution, candidate.version, hooks)


@frozen
class Catalogue:
    """The kinds that there are, who owns each, and how each may be split. Names are unique: ``catalogue`` saw to it."""

    kinds: tuple[Kind, ...]
    owners: Mapping[str, str]  # kind -> plugin
    splittings: Mapping[str, tuple[Splitting, ...]]  # kind -> in the order of the plugins' names
    failures: tuple[Failure, ...] = ()

    def kind(self, name: str) -> Kind:
        """The kind of this name. KeyError: there is none."""
        return next((kind for kind in self.kinds if kind.name == name), None) or _missing(name)

    def splitting(self, kind: str, name: str) -> Splitting:
        """The splitting of this name. KeyError: the kind has none."""
        return next((one for one in self.splittings[kind] if one.name == name), None) or _missing(name)

    def resources(self) -> dict[str, Kind]:
        """Every resource name that somebody owns, and the kind it belongs to."""
        return {name: kind for kind in self.kinds for name in kind.resources.names()}


def _missing(name: str) -> NoReturn:
    raise KeyError(name)


def settings_classes(plugins: Plugins) -> dict[str, type[Any]]:
    """Owner -> settings class, for every plugin that declares one."""
    return dict(plugins.ask_each("hami_settings").by_plugin)


def catalogue(plugins: Plugins, settings: Settings) -> Catalogue:
    """Ask every plugin for its kinds and splittings. PluginError: two owners of a kind or of a resource name."""
    kinds = plugins.ask_each("hami_kinds", settings=settings)
    splittings = plugins.ask_each("hami_splittings", settings=settings)
    owned = [(plugin, kind) for plugin, answer in kinds.by_plugin.items() for kind in answer]
    _refuse_two_owners([(f'kind "{kind.name}"', plugin) for plugin, kind in owned])
    _refuse_two_owners([(f'resource name "{name}"', plugin) for plugin, kind in owned for name in kind.resources.names()])
    brought = [splitting for answer in splittings.by_plugin.values() for splitting in answer]
    return Catalogue(
        kinds=tuple(kind for _, kind in owned),
        owners={kind.name: plugin for plugin, kind in owned},
        splittings={kind.name: _splittings(kind, brought) for _, kind in owned},
        failures=kinds.failures + splittings.failures,
    )


def _refuse_two_owners(claims: Iterable[tuple[str, str]]) -> None:
    owners: dict[str, str] = {}
    for what, plugin in claims:
        if what in owners:
            both = f'"{owners[what]}" and "{plugin}"' if owners[what] != plugin else f'"{plugin}" twice'
            raise PluginError(plugin, f"{what} is claimed by {both}; rename one in the settings or block one", "hami_kinds")
        owners[what] = plugin


def _splittings(kind: Kind, brought: Iterable[Splitting]) -> tuple[Splitting, ...]:
    return tuple(one for one in brought if one.kind == kind.name) or (Splitting(kind.name, SHARE),)
