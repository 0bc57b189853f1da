"""The devices of a changing cluster, and who holds what on them: tables whose nodes come, change and go.

One owner, no threads. A holding outlives its node's inventory: what is granted stays counted on the devices that are there, and
is counted again in full when the others come back. Nothing here asks the API server, and nothing here decides.

A node keeps its row as long as it is there. Rows of nodes that are gone are spare, without a name or a device, until another
node gets them; so the same changes in the same order give the same rows.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from hami_core import rows
from hami_core.ledger import claims, slots_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from hami_core.model import Holding, NodeDevices
    from hami_core.plugins import Catalogue
    from hami_core.rows import Row
    from hami_core.table import NodeTable

    Published = tuple[Mapping[str, NodeDevices], frozenset[str]]

FEWEST = 16  # rows that are added at a time
GROWTH = 4  # and a quarter of what there is: spare rows are judged too, so not twice as many


class Fleet:
    """Nodes by name, each a row in the table of every (kind, splitting); and holdings by uid."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._names: list[str] = []  # by row
        self._renamed = False  # and the tables do not say so yet
        self._rows: dict[str, int] = {}
        self._spare: list[int] = []  # the one to be used next is the last
        self._published: dict[str, Published] = {}
        self._held: dict[str, tuple[str, Holding]] = {}
        self._held_on: dict[str, set[str]] = {}
        self._writers = {
            (kind.name, splitting.name): rows.Rows(splitting.columns)
            for kind in catalogue.kinds
            for splitting in catalogue.splittings[kind.name]
        }
        self._tables = {key: writer.table for key, writer in self._writers.items()}
        self._changed = np.zeros(0, np.int64)  # the version of each row's last change
        self._all_changed = 0  # the version of the last change that concerned all rows
        self.version = 0

    # --- What is known. ---

    @property
    def tables(self) -> Mapping[tuple[str, str], NodeTable]:
        """The live tables, all with the same nodes in the same rows. Ask anew after every change of a node."""
        if self._renamed:
            names = tuple(self._names)
            for table in self._tables.values():
                table.nodes = names
            self._renamed = False
        return self._tables

    def row(self, node: str) -> int | None:
        """Where a node stands. None: it has published no device."""
        return self._rows.get(node)

    def rows(self, nodes: Sequence[str]) -> NDArray[np.int64]:
        """Where each of these nodes stands; -1 for those that have published no device."""
        return np.fromiter(map(self._rows.get, nodes, repeat(-1)), np.int64, len(nodes))

    def nodes(self) -> Collection[str]:
        """The names of all nodes that have published something."""
        return self._rows.keys()

    def holding(self, uid: str) -> tuple[str, Holding] | None:
        """The node and the holding of a uid."""
        return self._held.get(uid)

    def holdings(self) -> Collection[tuple[str, Holding]]:
        """Everything that is held: (node, holding), oldest first."""
        return self._held.values()

    def changed(self, since: int) -> NDArray[np.intp] | None:
        """The rows that have changed after the fleet had this version. None: all may have, or there are other rows."""
        return None if since < self._all_changed else np.flatnonzero(self._changed > since)

    # --- What changes. ---

    def put(self, node: str, devices: Mapping[str, NodeDevices], cordoned: Collection[str] = ()) -> None:
        """A node's devices by kind, new or changed."""
        published = devices, frozenset(cordoned)
        if self._published.get(node) != published:
            self._write(node, published)

    def replace(self, nodes: Mapping[str, tuple[Mapping[str, NodeDevices], Collection[str]]]) -> None:
        """These nodes (name -> devices by kind, cordoned ids) are all that there are."""
        for gone in [node for node in self._rows if node not in nodes]:
            self.remove(gone)
        self._grow(len(nodes))
        for node, (devices, cordoned) in nodes.items():
            self.put(node, devices, cordoned)

    def remove(self, node: str) -> None:
        """A node is gone. What was held on it is kept until its holder's end."""
        n = self._rows.pop(node, None)
        if n is None:
            return
        del self._published[node]
        self._name(n, "")
        self._spare.append(n)
        self._put_in_row(n, dict.fromkeys(self._writers, rows.NOBODY))

    def hold(self, node: str, holding: Holding) -> tuple[str, ...]:
        """Count a holding. Idempotent by uid: the first stands. Returns the devices that the node does not have now."""
        if holding.uid in self._held:
            return ()
        self._held[holding.uid] = (node, holding)
        self._held_on.setdefault(node, set()).add(holding.uid)
        return self._count(node, holding, 1)

    def release(self, uid: str) -> Holding | None:
        """Give back what a uid holds, and say what it was. None: it held nothing."""
        node, holding = self._held.pop(uid, ("", None))
        if holding is not None:
            self._held_on[node].discard(uid)
            if not self._held_on[node]:
                del self._held_on[node]
            self._count(node, holding, -1)
        return holding

    # --- Rows. ---

    def _write(self, node: str, published: Published) -> None:
        new = {key: self._row(key, published) for key in self._writers}
        self._published[node] = published
        n = self._rows.get(node)
        if n is None:
            n = self._rows[node] = self._vacant()
            self._name(n, node)
        if not self._put_in_row(n, new):
            for uid in self._held_on.get(node, ()):
                self._count(node, self._held[uid][1], 1)

    def _row(self, key: tuple[str, str], published: Published) -> Row:
        kind, splitting = key
        devices, cordoned = published
        if kind not in devices:
            return rows.NOBODY
        capacities = next((offered for name, offered in devices[kind].capacities if name == splitting), ())
        return rows.row(capacities, devices[kind].inventory.links, cordoned)

    def _name(self, n: int, node: str) -> None:
        self._names[n] = node
        self._renamed = True

    def _vacant(self) -> int:
        if not self._spare:
            self._grow(len(self._names) + max(FEWEST, len(self._names) // GROWTH))
        return self._spare.pop()

    def _grow(self, most: int) -> None:
        """Have at least so many rows."""
        there = len(self._names)
        if most <= there:
            return
        self._names += [""] * (most - there)
        self._renamed = True
        self._spare = [*range(most - 1, there - 1, -1), *self._spare]
        self._changed = np.concatenate([self._changed, np.zeros(most - there, np.int64)])
        for writer in self._writers.values():
            writer.extend(most)
        self._all_changed = self.version = self.version + 1

    def _put_in_row(self, n: int, new: Mapping[tuple[str, str], Row]) -> bool:
        """Write a row of every table. Returns whether what is used stands; else nothing is counted there."""
        keep = all(writer.same_places(n, new[key]) for key, writer in self._writers.items())
        before = self._shared()
        for key, writer in self._writers.items():
            writer.write(n, new[key], keep=keep)
        self._touch(n)
        if self._shared() != before:
            self._all_changed = self.version
        return keep

    def _shared(self) -> int:
        return sum(writer.changes for writer in self._writers.values())

    def _touch(self, n: int) -> None:
        self.version += 1
        self._changed[n] = self.version

    # --- Counting. ---

    def _count(self, node: str, holding: Holding, times: int) -> tuple[str, ...]:
        """Take what is held on the devices that are there, or give it back (-1). Returns the devices that are not there."""
        n, missing = self._rows.get(node), []
        for (kind, splitting, device), claim in claims(holding.shares).items():
            table = self._tables.get((kind, splitting))
            if n is None or table is None or device not in table.devices[n]:
                missing.append(device)
                continue
            w = table.devices[n].index(device)
            table.take(n, w, times * slots_of(claim, table, n, w), times * claim.memory, times * claim.cores)
        if n is not None:
            self._touch(n)
        return tuple(missing)
