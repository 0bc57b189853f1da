"""The map of the program: every question that the core asks its plugins, and what each answer means.

For all hooks:
- They are called by keyword. An implementation may take fewer arguments than the spec names, so a spec can grow.
- Only None means "no answer". An empty tuple, 0 or False is an answer and ends a first-result hook.
- ``kind`` is a Kind of the catalogue, ``splitting`` one of its Splittings. An implementation begins with the dispatch, by both
  where it gets both: ``if (kind.name, splitting.name) != MINE: return None``, so that another plugin may split the same kind.
  The core's own implementations (``sharing``) are marked trylast and answer for what no owner did.
- Implementations run last-registered first. Plugins are registered in the order of their names, so that two machines agree.
- Decisions (fit, score, place, grant, parse) see everything at once and are pure: the same values give the same answer on
  any machine, and inputs stay as they were. An exception in one fails that decision with the plugin's name.
- discover, check_health, usage and accounts are asked of each plugin by itself: one that raises is reported and hides no other.
  The first three and reconcile run in a child process with a deadline (``asking``), so they take and return picklable values.
- An answer has the shape of the return annotation, down to the last field (``shapes``). Another one is the plugin's fault.
- ``plugin.py`` imports neither numpy nor a driver at import time: ``hami --help`` loads every plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from hami_core.names import ENTRY_POINTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import click

    from hami_core.model import (
        Account,
        Capacity,
        DeviceInventory,
        Fit,
        Grant,
        Kind,
        Machine,
        Mounts,
        Pod,
        Request,
        Score,
        Share,
        Splitting,
        Usage,
    )
    from hami_core.settings import Settings
    from hami_core.table import NodeTable

hookspec = pluggy.HookspecMarker(ENTRY_POINTS)
hookimpl = pluggy.HookimplMarker(ENTRY_POINTS)


# --- At load: what a plugin is. Values only, no driver, no files. ----------------------------------------------------


@hookspec
def hami_settings() -> type[Any] | None:
    """The plugin's settings: a frozen attrs class whose fields are made by ``hami_core.settings.setting``.

    Each field names its path in the chart's values, default, range and effect. Two owners of one path are an error.
    """


@hookspec
def hami_kinds(settings: Settings) -> Sequence[Kind] | None:
    """The kinds that this plugin owns. Two owners of a kind or of a resource name are an error that names both."""


@hookspec
def hami_splittings(settings: Settings) -> Sequence[Splitting] | None:
    """Ways of splitting that this plugin brings. A kind that nobody splits otherwise is split into shares."""


@hookspec
def hami_commands() -> Sequence[click.Command] | None:
    """Sub-commands of ``hami``. Asked only when the command line is built; import click inside."""


@hookspec(firstresult=True)
def hami_machine(name: str, state: Path) -> Machine | None:
    """A simulated machine called ``name`` (or described by the TOML file of that path), set up under the folder ``state``.

    Asked once per command that was told to run on one. None: no such machine here. UserError: found, but described wrongly.
    May write below ``state``; several processes may ask at once, and a machine that is there already keeps its state.
    """


@hookspec
def hami_machines() -> Sequence[str] | None:
    """The names of the simulated machines that this plugin has, for lists and for whoever misspells one."""


# --- On the node: the only hooks that may touch a driver. ------------------------------------------------------------


@hookspec
def hami_discover(node: str, settings: Settings) -> Sequence[DeviceInventory] | None:
    """The devices on this node, an inventory for each of the plugin's kinds; None or no inventory where there is no driver.

    A sick device is listed with its reason, or as a fault if it cannot be described; it never hides its siblings.
    DriverError: the driver is there and fails as a whole.
    """


@hookspec
def hami_check_health(kind: Kind, devices: Sequence[str], settings: Settings) -> Mapping[str, str] | None:
    """Device id -> reason, for those that are unhealthy now; {} if none is. None: not my kind.

    After discovery the only judge of health: a device that is missing in the next answer has recovered. An implementation that
    raises, or misses its deadline, leaves the last answer standing.
    """


@hookspec(firstresult=True)
def hami_split(kind: Kind, splitting: Splitting, inventory: DeviceInventory, settings: Settings) -> Sequence[Capacity] | None:
    """What the devices offer when split this way. Pure; published with the inventory, so the node's settings hold.

    A device that is in another splitting now is left out. Default: every device once, one slot, all its memory.
    """


@hookspec(firstresult=True)
def hami_mounts(kind: Kind, tokens: Sequence[str], settings: Settings) -> Mounts | None:
    """Files, device nodes, preloads and fail-closed variables for any container of the kind.

    Asked at the kubelet's Allocate and before a local start. The answer does not depend on which devices were granted: the
    kubelet's tokens do not say so. Default: the visible-devices variable at its hidden value.
    """


@hookspec(firstresult=True)
def hami_reconcile(
    kind: Kind, splitting: Splitting, desired: Mapping[str, Any], inventory: DeviceInventory, settings: Settings
) -> DeviceInventory | None:
    """Bring hardware to a desired layout, idempotent and safe to kill, and say what is there then. Default: nothing to do."""


@hookspec
def hami_usage(kind: Kind, settings: Settings) -> Usage | None:
    """What the driver counts by device and by process, seen from the host: for metrics and the check from outside."""


@hookspec
def hami_accounts(kind: Kind, limits: Mapping[str, str], settings: Settings) -> Mapping[str, Account] | None:
    """What enforcement inside the workload has counted, by container: grant id -> Account; beside what the driver counts.

    ``limits``: grant id -> path of the container's limits file on this host; the kind's own books lie where it put them. A
    container that has not used a device yet is left out; one whose books cannot be read says so in ``fault``. No driver is
    touched.
    """


# --- Decisions: pure, in batches. ------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def hami_parse(kind: Kind, pod: Pod, settings: Settings) -> Sequence[Request] | None:
    """What every container of a pod asks of one kind, in the order of the manifest; empty if nothing.

    Asked by the webhook, the scheduler and local mode, so it reads a pod that was admitted or bound already just the same; what
    a user may not write is refused once, at admission (``requests.admit``). Default: ``requests.parse``, by the kind's names.
    ValidationError names the field, the value, and what would be right.
    """


@hookspec(firstresult=True)
def hami_fit(kind: Kind, splitting: Splitting, requests: Sequence[Request], table: NodeTable) -> Fit | None:
    """Say for all N nodes at once whether each can hold all of a pod's requests of one kind, served from this splitting.

    Shapes: columns are (N, W), see NodeTable; read-only. A node that does not fit gets the Reason of the first failed test.
    Default: ``placement.fit``. A node fits if and only if hami_place on its row succeeds. Both honour the requests' selectors,
    numa_bind and exclusive, and the columns healthy and cordoned.

    What is said of a node depends on its row and on what the table says once for all (models, numa_nodes, wiring, the width),
    never on other rows: after a change only the rows that changed may be asked about, as a table of their own. Containers'
    names decide nothing, and need not be those of the manifest.
    """


@hookspec
def hami_score(kind: Kind, splitting: Splitting, requests: Sequence[Request], table: NodeTable, fit: Fit) -> Score | None:
    """An opinion on all N nodes, 0..1, with a weight; every plugin may have one. Nodes that do not fit are ignored.

    As with hami_fit, on each node by its row alone: an opinion by comparison with the other nodes is none. The weight is the
    same for all nodes.

    The core's own opinion (``policies``), with weight 1: the pod's node policy, and connections where it asks for them.
    Opinions on a kind are averaged by weight, and those of a pod's kinds are summed.
    """


@hookspec(firstresult=True)
def hami_place(kind: Kind, splitting: Splitting, requests: Sequence[Request], row: NodeTable) -> Sequence[Share] | None:
    """Choose the devices on one node (a table of one row), or an empty answer if the requests no longer fit.

    Asked under the ledger's lock with live columns. ``count`` shares for each request, in the order of the requests.
    """


@hookspec(firstresult=True)
def hami_grant(kind: Kind, splitting: Splitting, shares: Sequence[Share], settings: Settings) -> Grant | None:
    """What one container is told about its shares of one kind: the visible-devices value and its section of the limits file.

    All shares of a container and kind are of one splitting.

    Default: the device ids joined by commas, and ``device`` lines with the shares' numbers followed by their options.
    """
