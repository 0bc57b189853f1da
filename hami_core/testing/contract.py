"""The contract suite: a class of tests that a vendor subclasses, and that says in one sentence what a plugin does wrong.

    from hami_core.testing import PluginContract
    import hami_acme.plugin

    class TestAcme(PluginContract):
        plugin = hami_acme.plugin
        settings = {"acme.cards": "A,B"}      # optional: what it needs to know of a machine
        inventory = DeviceInventory(...)      # optional: devices to try splitting and placing with; else invented ones

The rules are those of ``hookspecs``. Hooks are asked like the program asks them: by keyword, with the core's defaults behind
them. Random values are the same in every run.
"""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs import evolve
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hami_core import placement, plugins, shapes, table
from hami_core.errors import DriverError, HamiError, ValidationError
from hami_core.model import (
    ID,
    Device,
    DeviceInventory,
    Fit,
    Kind,
    Mounts,
    Policy,
    Reason,
    Request,
    Resources,
    Score,
    Selector,
    Splitting,
)
from hami_core.plugins import Found, Plugins
from hami_core.settings import Declaration, Settings, resolve
from hami_core.testing import checks, strategies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hami_core.model import Capacity, Share
    from hami_core.table import NodeTable

NAME = "yours"
FOREIGN = Kind("somebody-else", Resources(count="somebody-else.example/card"), "SOMEBODY_ELSE_VISIBLE")
QUALIFIED = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
GARBAGE: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.sampled_from(("3Gi", "1m"))
)

repeatedly = hypothesis_settings(
    max_examples=60,
    phases=[Phase.generate],  # the sentence tells what is wrong; making its example smaller takes longer than reading it
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),  # several subclasses share these tests, and a vendor's hooks may be slow
)


class PluginContract:
    """Subclass it, name your plugin, and run pytest."""

    plugin: Any
    settings: Mapping[str, Any] = MappingProxyType({})
    inventory: DeviceInventory | None = None

    # --- What the tests look at --------------------------------------------------------------------------------------

    @cached_property
    def _plugins(self) -> Plugins:
        loaded = plugins.load([Found(NAME, "yours", "0", lambda: type(self).plugin)], block="")
        reasons = "; ".join(map(str, loaded.failures))
        assert loaded.loaded, f"the plugin does not load: {reasons}"
        return loaded

    @cached_property
    def _settings(self) -> Settings:
        return resolve(plugins.settings_classes(self._plugins), [("the contract's settings", self.settings)])

    @cached_property
    def _catalogue(self) -> plugins.Catalogue:
        catalogue = plugins.catalogue(self._plugins, self._settings)
        assert not catalogue.failures, f"the plugin cannot say what it owns: {catalogue.failures[0]}"
        return catalogue

    @property
    def _splittings(self) -> Iterator[tuple[Kind, Splitting]]:
        return ((kind, one) for kind in self._catalogue.kinds for one in self._catalogue.splittings[kind.name])

    def _own(self, hook: str) -> Any:
        """The plugin's own implementation of a hook, or None."""
        found = [one for one in getattr(self._plugins.hook, hook).get_hookimpls() if one.plugin_name == NAME]
        return found[0] if found else None

    def _ask(self, hook: str, **arguments: object) -> Any:
        """The first answer, the plugin's own or the core's. What is raised becomes a sentence."""
        arguments = {"settings": self._settings, **arguments}
        try:
            answer = getattr(self._plugins.hook, hook)(**arguments)
        except HamiError:
            raise
        except Exception as error:
            raise AssertionError(
                f"{hook} raised {type(error).__name__}: {error}; only the errors of hami_core.errors may be"
            ) from error
        return answer

    def _offer(self, kind: Kind, splitting: Splitting, inventory: DeviceInventory) -> list[Capacity]:
        return list(self._ask("hami_split", kind=kind, splitting=splitting, inventory=inventory))

    def _inventories(self, kind: Kind) -> st.SearchStrategy[DeviceInventory]:
        given_one = self.inventory is not None and self.inventory.kind == kind.name
        return strategies.inventories(kind, self.inventory.devices if self.inventory and given_one else ())

    def _table(self, draw: st.DataObject, kind: Kind, splitting: Splitting) -> NodeTable:
        """One to three nodes of the kind, cut by the plugin, partly taken."""
        found = draw.draw(st.lists(self._inventories(kind), min_size=1, max_size=3))
        rows = [(f"node-{n}", self._offer(kind, splitting, inventory)) for n, inventory in enumerate(found)]
        links = {f"node-{n}": inventory.links for n, inventory in enumerate(found)}
        cordoned = {"node-0": draw.draw(st.sampled_from(((), (), (), tuple(one.device for one in rows[0][1][:1]))))}
        return draw.draw(strategies.filled(table.build(rows, splitting.columns, links=links, cordoned=cordoned)))

    def _situation(self, draw: st.DataObject) -> Iterator[tuple[Kind, Splitting, tuple[Request, ...], NodeTable, Fit]]:
        """For every kind and splitting: random requests, a random table, and what hami_fit says of them."""
        for kind, splitting in self._splittings:
            columns = self._table(draw, kind, splitting)
            largest = int(columns.memory.max(initial=0)) or 1000
            requests = draw.draw(strategies.requests(kind.name, largest, selecting=_selectors(columns)))
            fit = self._ask("hami_fit", kind=kind, splitting=splitting, requests=requests, table=columns.locked())
            yield kind, splitting, requests, columns, fit

    def _place(self, kind: Kind, splitting: Splitting, requests: Sequence[Request], row: NodeTable) -> tuple[Share, ...]:
        return tuple(self._ask("hami_place", kind=kind, splitting=splitting, requests=requests, row=row.locked()) or ())

    # --- At load -----------------------------------------------------------------------------------------------------

    def test_it_loads_and_has_a_hook(self) -> None:
        """A misspelt hook or argument is named here; a module without any hook lacks the decorator."""
        (loaded,) = self._plugins.loaded
        assert loaded.hooks, "the plugin has no hook: decorate its functions with hami_core.hookimpl"

    def test_importing_it_imports_neither_numpy_nor_a_driver(self) -> None:
        """`hami --help` loads every plugin: what is slow, or may be missing, is imported inside the hook that needs it."""
        plugin = type(self).plugin
        module = getattr(plugin, "__name__", None) or type(plugin).__module__
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ran = subprocess.run(
            [sys.executable, "-c", _IMPORT, module], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, f"{module} cannot be imported by itself: {ran.stderr.strip().splitlines()[-1]}"
        assert not ran.stdout, f"importing {module} {ran.stdout.strip()}; do it inside the hook that needs it"

    def test_its_settings_are_declared_with_defaults_that_they_allow(self) -> None:
        """A default outside its own range could not be written into a file."""
        declared = plugins.settings_classes(self._plugins).get(NAME)
        if declared is None:
            return
        for field in attrs.fields(declared):
            declaration = field.metadata[Declaration]  # or the plugin would not have been loaded
            assert declaration.doc, f"the setting {declaration.path} does not say what it does"
            if declaration.default != "":
                resolve({NAME: declared}, [(f"{declaration.path}'s own default", {declaration.path: declaration.default})])

    def test_its_kinds_are_well_formed(self) -> None:
        """Names become annotation keys, extended resources and variables: each has its grammar."""
        for kind in self._catalogue.kinds:
            for name in kind.resources.names():
                assert QUALIFIED.fullmatch(name), f"kind {kind.name}: {name!r} is no extended resource; write domain/name"
            assert VARIABLE.fullmatch(kind.visible_env), f"kind {kind.name}: {kind.visible_env!r} is no name of a variable"
            assert kind.hidden, f"kind {kind.name}: hidden is empty, which many programs read as every device"

    def test_its_kinds_are_the_same_whenever_it_is_asked(self) -> None:
        """Two machines must agree on what there is."""
        again = plugins.catalogue(self._plugins, self._settings)
        assert again.kinds == self._catalogue.kinds, "hami_kinds gives another answer when it is asked again"
        assert again.splittings == self._catalogue.splittings, "hami_splittings gives another answer when it is asked again"

    def test_its_splittings_have_columns_that_numpy_knows(self) -> None:
        """A table is built from them."""
        for kind, splitting in self._splittings:
            for column, dtype in splitting.columns:
                try:
                    np.dtype(dtype)
                except TypeError as error:
                    raise AssertionError(f"{kind.name}/{splitting.name}: column {column} has no numpy type: {error}") from error

    def test_it_has_no_answer_for_a_kind_of_somebody_else(self) -> None:
        """An owner's first line is `if kind.name != MINE: return None`; opinions (hami_score) may be had on any kind."""
        foreign = _foreign_arguments(self._settings)
        for hook in _BY_KIND:
            own = self._own(hook)
            if own is None:
                continue
            try:
                answer = own.function(*(foreign[name] for name in own.argnames))
            except Exception as error:
                raise AssertionError(f"{hook} raised {type(error).__name__} for a kind that is not its own: {error}") from error
            assert answer is None, f"{hook} answers for a kind that is not its own: begin with a look at kind.name"

    def test_it_has_no_machine_that_it_was_not_asked_for(self) -> None:
        """hami_machine: None for a name that it does not know."""
        with tempfile.TemporaryDirectory() as folder:
            found = self._ask("hami_machine", name="a machine that nobody has", state=Path(folder))
        assert found is None, "hami_machine sets up a machine for a name that nobody has"

    # --- On the node -------------------------------------------------------------------------------------------------

    def test_what_it_discovers_is_of_its_kinds_and_can_be_sent_to_another_process(self) -> None:
        """Asked with the contract's settings, on whatever machine this is: no driver, no inventory."""
        own = self._own("hami_discover")
        arguments = {"node": "node-0", "settings": self._settings}
        try:
            found = own.function(*(arguments[name] for name in own.argnames)) if own else None
        except DriverError:
            return  # the driver is there and fails as a whole: allowed, and nothing to look at
        fault = shapes.fault("hami_discover", found)
        assert not fault, f"hami_discover {fault}"
        for inventory in found or ():
            assert self._catalogue.owners.get(inventory.kind) == NAME, (
                f"hami_discover lists {inventory.kind}, no kind of the plugin"
            )
            ids = [device.id for device in inventory.devices]
            assert len(set(ids)) == len(ids), f"hami_discover lists two devices of one id: {ids}"
            assert all(ids), "hami_discover lists a device without an id"
            wrong = [link for link in inventory.links if link.a >= link.b or not {link.a, link.b} <= set(ids)]
            assert not wrong, f"{wrong[0]} must be between two listed devices, the smaller id first"
            assert _sent(inventory, "an inventory") == inventory, "an inventory does not survive pickling"

    def test_its_settings_can_be_sent_to_another_process(self) -> None:
        """Hooks that touch a driver are asked there, and get them."""
        _sent(self._settings, "the settings of the plugin")

    def test_its_health_and_use_have_their_shape_and_can_be_sent_to_another_process(self) -> None:
        """Asked of the contract's devices; hami_check_health names no other, and gives a reason for each."""
        for kind in self._catalogue.kinds:
            mine = self.inventory if self.inventory and self.inventory.kind == kind.name else DeviceInventory(kind.name, ())
            devices = tuple(device.id for device in mine.devices)
            health = self._driver_answer("hami_check_health", kind=kind, devices=devices) or {}
            strangers = set(health) - set(devices)
            assert not strangers, f"hami_check_health speaks of {strangers}, which it was not asked about"
            assert all(health.values()), "hami_check_health calls a device sick without a reason"
            self._driver_answer("hami_usage", kind=kind)

    def _driver_answer(self, hook: str, **arguments: object) -> Any:
        """What the plugin itself says, of the right shape and sent once; None: it has no such hook, or its driver fails."""
        own = self._own(hook)
        if own is None:
            return None
        arguments = {"settings": self._settings, **arguments}
        try:
            answer = own.function(*(arguments[name] for name in own.argnames))
        except DriverError:
            return None
        fault = shapes.fault(hook, answer)
        assert not fault, f"{hook} {fault}"
        return _sent(answer, f"the answer of {hook}")

    @repeatedly
    @given(st.data())
    def test_splitting_is_pure_and_offers_what_is_there(self, draw: st.DataObject) -> None:
        """The same inventory gives the same capacities, each device once, none that is sick as healthy."""
        for kind, splitting in self._splittings:
            inventory = draw.draw(self._inventories(kind))
            offered = self._offer(kind, splitting, inventory)
            assert offered == self._offer(kind, splitting, inventory), "hami_split gives another answer when it is asked again"
            ids = [capacity.device for capacity in offered]
            assert len(set(ids)) == len(ids), f"hami_split offers one device twice: {ids}"
            sick = {device.id for device in inventory.devices if device.sick}
            for capacity in offered:
                checks.capacity(capacity, splitting)
                assert not (capacity.healthy and capacity.device in sick), "hami_split offers a sick device as healthy"

    def test_without_a_grant_its_containers_see_no_device(self) -> None:
        """What Allocate answers must fail closed, and name no device: the kubelet's tokens do not say whose they are."""
        for kind in self._catalogue.kinds:
            one = self._ask("hami_mounts", kind=kind, tokens=["a::0"])
            other = self._ask("hami_mounts", kind=kind, tokens=["b::1", "c::2"])
            assert isinstance(one, Mounts), f"hami_mounts gives a {type(one).__name__}, not Mounts"
            assert one == other, "hami_mounts depends on the tokens, which do not say which devices are granted"
            shown = dict(one.env).get(kind.visible_env)
            assert shown == kind.hidden, f"hami_mounts must set {kind.visible_env}={kind.hidden} (fail closed), not {shown!r}"
            paths = [*one.devices, *one.preload, *(path for file in one.files for path in (file.source, file.target))]
            relative = [path for path in paths if not path.startswith("/")]
            assert not relative, f"hami_mounts names a path that is not absolute: {relative[0]!r}"

    # --- Decisions ---------------------------------------------------------------------------------------------------

    def test_a_pod_that_names_none_of_its_resources_asks_nothing(self) -> None:
        """Such pods are not the plugin's business."""
        for kind in self._catalogue.kinds:
            found = self._ask("hami_parse", kind=kind, pod=_pod({"cpu": "2"}))
            assert not found, f"hami_parse finds a request for {kind.name} in a pod that names none of its resources"

    def test_a_pod_that_names_its_count_asks_for_as_many(self) -> None:
        """One request, of the container that asks, in the main phase."""
        for kind in self._catalogue.kinds:
            found = self._ask("hami_parse", kind=kind, pod=_pod({kind.resources.count: "2"}))
            told = [(one.container, one.kind, one.count) for one in found]
            assert told == [("main", kind.name, 2)], f"hami_parse reads {kind.resources.count}: 2 as {told}"

    @repeatedly
    @given(st.data())
    def test_parsing_is_pure_and_refuses_garbage_with_a_validation_error(self, draw: st.DataObject) -> None:
        """Whatever stands behind the kind's names: requests of this pod, or a ValidationError that names the field."""
        for kind in self._catalogue.kinds:
            names = st.sampled_from(kind.resources.names())
            numbers = draw.draw(st.dictionaries(names, st.integers(0, 100)))
            garbage = draw.draw(st.dictionaries(names, GARBAGE, max_size=1))
            pod = _pod({**numbers, **garbage})
            before = copy.deepcopy(pod)
            first, second = (self._parsed(kind, pod) for _ in range(2))
            assert repr(pod) == repr(before), "hami_parse changes the pod"
            assert first == second, "hami_parse gives another answer when it is asked again"

    def _parsed(self, kind: Kind, pod: Mapping[str, Any]) -> object:
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        try:
            found = tuple(self._ask("hami_parse", kind=kind, pod=pod))
        except ValidationError as error:
            return str(error)
        except HamiError as error:
            raise AssertionError(f"hami_parse must refuse {limits!r} with a ValidationError, not {error!r}") from error
        strangers = [one for one in found if one.kind != kind.name or one.container != "main"]
        assert not strangers, f"hami_parse speaks for a container or kind that is not in the pod: {strangers[0]}"
        return found

    @repeatedly
    @given(st.data())
    def test_a_fit_has_the_right_shapes_and_a_reason_for_every_refusal(self, draw: st.DataObject) -> None:
        """nodes (N,), reasons (N,), devices (R, N, W)."""
        for _, _, requests, columns, fit in self._situation(draw):
            n, w = columns.shape
            shapes = (fit.nodes.shape, fit.reasons.shape, fit.devices.shape)
            wanted = ((n,), (n,), (len(requests), n, w))
            assert shapes == wanted, f"hami_fit: shapes of nodes, reasons, devices are {shapes}, not {wanted}"
            unknown = set(fit.reasons.tolist()) - {int(reason) for reason in Reason}
            assert not unknown, f"hami_fit gives the reason {unknown}, which is no Reason"
            agree = ((fit.reasons == Reason.FITS) == fit.nodes).all()
            assert agree, "hami_fit: a node has Reason.FITS if and only if it fits"
            assert not (fit.devices & ~columns.present).any(), "hami_fit finds room on a device that is not there"

    @repeatedly
    @given(st.data())
    def test_a_node_fits_if_and_only_if_placing_on_it_succeeds(self, draw: st.DataObject) -> None:
        """Otherwise pods are bound that cannot start, or wait beside free devices."""
        for kind, splitting, requests, columns, fit in self._situation(draw):
            for n in range(columns.shape[0]):
                placed = self._place(kind, splitting, requests, columns.row(n))
                verb = "fits" if fit.nodes[n] else "refuses"
                assert bool(placed) == bool(fit.nodes[n]), (
                    f"hami_fit {verb} a node where hami_place gives {placed or 'nothing'}"
                )

    @repeatedly
    @given(st.data())
    def test_what_is_placed_is_what_was_asked_and_never_more_than_is_free(self, draw: st.DataObject) -> None:
        """``count`` different devices for each request, in the order of the requests, within every device's capacity."""
        for kind, splitting, requests, columns, _ in self._situation(draw):
            for n in range(columns.shape[0]):
                placed = self._place(kind, splitting, requests, columns.row(n))
                if placed:
                    checks.placed(placed, requests, splitting, columns.row(n))

    def test_what_a_pod_wishes_of_its_devices_is_honoured(self) -> None:
        """Whoever fits and places by himself must look at models, ids, NUMA nodes, cordons, and at who wants a device alone.

        Of four devices the second is in use, the third cordoned; the fourth is on a NUMA node by itself.
        """
        for kind, splitting in self._splittings:
            row = self._wishful_row(kind, splitting)
            for wish in _wishes(row):
                request = Request("main", kind.name, memory=1, **wish)
                placed = self._place(kind, splitting, [request], row)
                if placed:
                    checks.placed(placed, [request], splitting, row)

    def _wishful_row(self, kind: Kind, splitting: Splitting) -> NodeTable:
        own = self.inventory.devices if self.inventory and self.inventory.kind == kind.name else ()
        devices = own or tuple(Device(f"invented-{n}", n, "One", 16000) for n in range(len(_WISHFUL_NUMA)))
        wired = (evolve(device, numa=numa, sick="") for device, numa in zip(devices, _WISHFUL_NUMA, strict=False))
        offered = self._offer(kind, splitting, DeviceInventory(kind.name, tuple(wired)))[: len(_WISHFUL_NUMA)]
        out = [one.device for one in offered[2:3]]
        row = table.build([("node-0", offered)], splitting.columns, cordoned={"node-0": out})
        if len(offered) > 1:
            row.take(0, 1, 1, 1, 1)
        return row

    @repeatedly
    @given(st.data())
    def test_opinions_lie_between_0_and_1(self, draw: st.DataObject) -> None:
        """Opinions are averaged by weight: one that is larger would silence the others."""
        for kind, splitting, requests, columns, fit in self._situation(draw):
            arguments = {"kind": kind, "splitting": splitting, "requests": requests, "table": columns.locked(), "fit": fit}
            for score in self._ask("hami_score", **arguments):
                assert isinstance(score, Score), f"hami_score gives a {type(score).__name__}, not a Score"
                shape = np.shape(score.values)
                assert shape == (columns.shape[0],), f"hami_score: values have the shape {shape}, not ({columns.shape[0]},)"
                within = ((score.values >= 0) & (score.values <= 1)).all()  # false for NaN too
                assert within, f"hami_score: {score.values.tolist()} do not all lie in 0..1"
                assert 0 < score.weight < float("inf"), f"hami_score: the weight {score.weight} is not positive and finite"

    @repeatedly
    @given(st.data())
    def test_a_node_is_judged_by_its_row_alone(self, draw: st.DataObject) -> None:
        """After a change only the rows that changed are asked about again, and containers' names say nothing."""
        for kind, splitting, requests, columns, fit in self._situation(draw):
            known = {"kind": kind, "splitting": splitting}
            renamed = [evolve(one, container=f"renamed-{n}") for n, one in enumerate(requests)]
            again = self._ask("hami_fit", **known, requests=renamed, table=columns.locked())
            assert checks.judged(again) == checks.judged(fit), "hami_fit decides by the names of containers"
            several = columns.some(np.repeat(np.arange(columns.shape[0]), 2))  # so that each has a neighbour who is as good
            together = self._ask("hami_fit", **known, requests=requests, table=several.locked())
            values = self._opinion(kind, splitting, requests, several, together)
            for n in range(several.shape[0]):
                row = several.some(np.array([n]))
                alone = self._ask("hami_fit", **known, requests=requests, table=row.locked())
                same = checks.judged(alone) == checks.judged(together, n)
                assert same, "hami_fit judges a node by other nodes of the table"
                opinion = self._opinion(kind, splitting, requests, row, alone)
                assert not alone.nodes[0] or opinion[0] == values[n], "hami_score judges a node by other nodes of the table"

    def _opinion(
        self, kind: Kind, splitting: Splitting, requests: Sequence[Request], columns: NodeTable, fit: Fit
    ) -> NDArray[np.float64]:
        """What all opinions come to on every node, (N,)."""
        arguments = {"kind": kind, "splitting": splitting, "requests": requests, "table": columns.locked(), "fit": fit}
        scores = self._ask("hami_score", **arguments)
        total: NDArray[np.float64] = sum(np.asarray(one.values, np.float64) * one.weight for one in scores)
        return total

    @repeatedly
    @given(st.data())
    def test_deciding_is_pure(self, draw: st.DataObject) -> None:
        """The same values give the same answer, and inputs stay as they were."""
        for kind, splitting, requests, columns, fit in self._situation(draw):
            again = self._ask("hami_fit", kind=kind, splitting=splitting, requests=requests, table=columns.locked())
            assert np.array_equal(again.reasons, fit.reasons), "hami_fit gives another answer when it is asked again"
            assert np.array_equal(again.devices, fit.devices), "hami_fit gives other devices when it is asked again"
            for n in range(columns.shape[0]):
                first, second = (self._place(kind, splitting, requests, columns.row(n)) for _ in range(2))
                assert first == second, "hami_place gives another answer when it is asked again"
            assert checks.copied(columns.locked()) == checks.copied(columns), "a decision changes the table that it was given"

    @repeatedly
    @given(st.data())
    def test_a_grant_names_the_devices_of_its_shares_and_no_other(self, draw: st.DataObject) -> None:
        """One Grant for a container and kind, and the same one for the same shares."""
        for kind, splitting, requests, columns, fit in self._situation(draw):
            for n in np.flatnonzero(fit.nodes):
                placed = self._place(kind, splitting, requests, columns.row(int(n)))
                own = [share for share in placed if share.container == requests[0].container]
                grants = [self._ask("hami_grant", kind=kind, splitting=splitting, shares=own) for _ in range(2)]
                assert grants[0] == grants[1], "hami_grant gives another answer when it is asked again"
                checks.grant(grants[0], kind, own, set(columns.devices[int(n)]) - {share.device for share in own})


# What takes a kind and answers for its owner alone.
_BY_KIND = (
    "hami_check_health",
    "hami_split",
    "hami_mounts",
    "hami_reconcile",
    "hami_usage",
    "hami_accounts",
    "hami_parse",
    "hami_fit",
    "hami_place",
    "hami_grant",
)

_IMPORT = """
import importlib, sys
loaded = []
sys.addaudithook(lambda event, arguments: event == "ctypes.dlopen" and arguments[0] and loaded.append(arguments[0]))
importlib.import_module(sys.argv[1])
if "numpy" in sys.modules:
    print("imports numpy")
elif loaded:
    print("loads the library", loaded[0])
"""


def _sent(value: Any, what: str) -> Any:
    """The value as another process would get it."""
    try:
        return pickle.loads(pickle.dumps(value))  # noqa: S301  # what was written in this line
    except Exception as error:
        raise AssertionError(f"{what} cannot be sent to another process: {error}") from error


def _pod(limits: Mapping[str, object]) -> dict[str, Any]:
    container = {"name": "main", "resources": {"limits": limits}}
    return {"metadata": {"name": "pod"}, "spec": {"containers": [container]}}


_WISHFUL_NUMA = (0, 0, 0, 1)


def _wishes(row: NodeTable) -> Iterator[dict[str, Any]]:
    """Fields of a request, each set a wish that rules some devices out."""
    for device in row.devices[0]:
        yield {"count": 1, "selectors": (Selector("wish/use", (device,), ID),)}
        yield {"count": 1, "selectors": (Selector("wish/avoid", (device,), ID, out=True),)}
    yield {"count": 1, "selectors": (Selector("wish/use", ("no such model",)),)}
    yield {"count": 2, "numa_bind": "wish/numa"}
    yield {"count": 3}  # no more than are in service
    yield {"count": 1, "cores": 100}
    yield {"count": 3, "cores": 100}
    yield {"count": 3, "policy": Policy(device=("mutex",))}


def _selectors(columns: NodeTable) -> st.SearchStrategy[Selector]:
    """Wishes for some of the models and ids that there are."""
    models = [model.split()[-1] for model in columns.models if model.strip()]
    ids = sorted({device for devices in columns.devices for device in devices})
    return strategies.selectors(models or ("None",), ids or ("none",))


def _foreign_arguments(settings: Settings) -> dict[str, Any]:
    """Arguments for any hook that takes a kind, all of a kind that nobody has."""
    inventory = DeviceInventory(FOREIGN.name, ())
    splitting = Splitting(FOREIGN.name, strategies.SHARE)
    columns = table.build([("node-0", ())]).locked()
    requests = (Request("main", FOREIGN.name, 1, memory=1),)
    return {
        "kind": FOREIGN,
        "splitting": splitting,
        "settings": settings,
        "devices": (),
        "inventory": inventory,
        "tokens": (),
        "limits": {},
        "desired": {},
        "pod": _pod({FOREIGN.resources.count: 1}),
        "requests": requests,
        "table": columns,
        "row": columns,
        "fit": placement.fit(requests, columns),
        "shares": (),
    }
