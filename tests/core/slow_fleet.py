"""The fleet as simply as it can be: everything is built again when a node changes. What the quick one is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hami_core import decision
from hami_core.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hami_core.model import Holding, NodeDevices
    from hami_core.plugins import Catalogue
    from hami_core.table import NodeTable


class SlowFleet:
    """Nodes by name, each a row in the table of every (kind, splitting); and holdings by uid."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._nodes: dict[str, Mapping[str, NodeDevices]] = {}
        self._cordoned: dict[str, Collection[str]] = {}
        self._held: dict[str, tuple[str, Holding]] = {}
        self._ledger: Ledger | None = None
        self._rows: dict[str, int] = {}

    # --- What is known. ---

    @property
    def tables(self) -> Mapping[tuple[str, str], NodeTable]:
        """The live tables, all with the same nodes in the same rows. Ask anew after every change of a node."""
        return self._counted().tables

    def row(self, node: str) -> int | None:
        """Where a node stands. None: it has published no device."""
        self._counted()
        return self._rows.get(node)

    def holding(self, uid: str) -> tuple[str, Holding] | None:
        """The node and the holding of a uid."""
        return self._held.get(uid)

    def holdings(self) -> Collection[tuple[str, Holding]]:
        """Everything that is held: (node, holding), oldest first."""
        return self._held.values()

    # --- What changes. ---

    def put(self, node: str, devices: Mapping[str, NodeDevices], cordoned: Collection[str] = ()) -> None:
        """A node's devices by kind, new or changed."""
        self._nodes[node] = devices
        self._cordoned[node] = cordoned
        self._ledger = None

    def remove(self, node: str) -> None:
        """A node is gone. What was held on it is kept until its holder's end."""
        self._nodes.pop(node, None)
        self._cordoned.pop(node, None)
        self._ledger = None

    def hold(self, node: str, holding: Holding) -> tuple[str, ...]:
        """Count a holding. Idempotent by uid: the first stands. Returns the devices that the node does not have now."""
        if holding.uid in self._held:
            return ()
        self._held[holding.uid] = (node, holding)
        return self._counted().hold(node, holding)

    def release(self, uid: str) -> Holding | None:
        """Give back what a uid holds, and say what it was. None: it held nothing."""
        node_and_holding = self._held.pop(uid, None)
        if node_and_holding is None:
            return None
        if self._ledger is not None:
            self._ledger.release(uid)
        return node_and_holding[1]

    def _counted(self) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger(decision.tables(self._catalogue, self._nodes, self._cordoned))
            self._rows = {node: n for n, node in enumerate(self._nodes)}
            for node, holding in self._held.values():
                self._ledger.hold(node, holding)
        return self._ledger
