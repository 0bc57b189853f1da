"""What one invocation of the command works with: plugins, settings, catalogue, host; each made when first asked for."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from hami_core import names, plugins, settings, sources
from hami_core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hami_core.local.host import Host
    from hami_core.local.state import Folder
    from hami_core.plugins import Catalogue, Failure, Plugins
    from hami_core.settings import Settings
    from hami_core.site import Site


DEBUG = "hami.debug"  # key of click's notes on one invocation


class Session:
    """One invocation. Sources of settings, later ones win: defaults, --config, HAMI_SET, --set, the simulated machine."""

    def __init__(self, machine: str | None = None, config: Path | None = None, sets: tuple[str, ...] = ()) -> None:
        self._machine = machine or None
        self._config = config
        self._sets = sets
        self._soon: tuple[str, ...] = ()

    def choose(self, machine: str) -> None:
        """Work on this simulated machine. Before anything is asked of the machine."""
        self._machine = machine

    def soon(self, *modules: str) -> None:
        """What the command will import anyway, numpy above all: done while the drivers work on the first question."""
        self._soon = modules

    def _import_meanwhile(self) -> None:
        with _without_threads(), suppress(ImportError):  # whoever needs it says so
            for module in self._soon:
                import_module(module)

    @cached_property
    def plugins(self) -> Plugins:
        """Every plugin that could be loaded; those that could not are told on stderr, once."""
        loaded = plugins.load()
        for failure in loaded.failures:
            tell(failure, "left out: ")
        return loaded

    @cached_property
    def host(self) -> Host:
        """The machine to work on, simulated or this one, with its devices. Asks the drivers."""
        from hami_core.asking import Drivers
        from hami_core.local import host, state

        drivers = partial(Drivers, meanwhile=self._import_meanwhile)
        opened = host.asked(self.site, state.root(), drivers)
        for failure in opened.failures:
            tell(failure)
        return opened

    @cached_property
    def site(self) -> Site:
        """The machine to work on, before its drivers are asked."""
        return self.site_of("")

    def site_of(self, node: str) -> Site:
        """The same as the node of this name: entries of ``nodes`` are for it. Empty: by its own name."""
        from hami_core import site
        from hami_core.local import state

        return site.settle(self.plugins, self._layers, self._machine, state.root(), node)

    @property
    def machine(self) -> str | None:
        """The simulated machine that was asked for, by name or by file, whether there is one or not. None: this host."""
        return self._machine

    @cached_property
    def folder(self) -> Folder:
        """The state of the machine to work on. Asks no driver, so it is there also when that hangs."""
        from hami_core import site
        from hami_core.local import state

        root = state.root()
        return state.folder(root, site.set_up(self.plugins, self._machine, root).name if self._machine else site.HOST)

    @cached_property
    def settings(self) -> Settings:
        """The settings in force. Asks no driver, and touches no file unless a simulated machine has settings to add."""
        if self._machine:
            return self.site.settings
        from hami_core.site import this_node

        return settings.resolve(plugins.settings_classes(self.plugins), self._layers, this_node())

    @cached_property
    def catalogue(self) -> Catalogue:
        """The kinds that there are."""
        return plugins.catalogue(self.plugins, self.settings)

    @cached_property
    def _layers(self) -> list[tuple[str, Mapping[str, Any]]]:
        layers: list[tuple[str, Mapping[str, Any]]] = []
        if self._config is not None:
            layers.append((str(self._config), sources.flatten(read_yaml(self._config), str(self._config))))
        if text := os.environ.get(names.ENV_SET):
            layers.append((names.ENV_SET, sources.assignments([text], names.ENV_SET)))
        if self._sets:
            layers.append(("--set", sources.assignments(self._sets, "--set")))
        return layers


@contextmanager
def _without_threads() -> Iterator[None]:
    """numpy's linear algebra, which nobody here uses, starts a thread for each core; without, a child is a quick fork."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:  # the workload's own numpy is to have what its user says
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def tell(failure: Failure, what: str = "") -> None:
    """A plugin's failure in one line; with --debug where it happened, in this process or in the one that asked a driver."""
    click.echo(f"hami: {what}{failure}", err=True)
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(DEBUG):
        import traceback

        traceback.print_exception(failure.error)


def read_yaml(path: Path) -> object:
    """The document of a YAML file. SettingsError: no such file, or no YAML, with the line."""
    import yaml

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError("$", f"cannot be read: {error.strerror}", str(path)) from error
    except yaml.MarkedYAMLError as error:
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if (mark := error.problem_mark) else ""
        raise SettingsError("$", f"is no YAML: {error.problem}{place}", str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError("$", f"is no YAML: {error}", str(path)) from error
