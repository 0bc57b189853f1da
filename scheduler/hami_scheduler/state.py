"""What is known of the cluster: nodes and their devices, who holds what, what namespaces use. Every change of it is here.

What is held changes by ``hold`` and ``release`` alone, so the fleet's columns and the namespaces' sums cannot part. A holding
that has no Hold beside it is confirmed: a pod's own annotations say it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hami_core.fleet import Fleet
from hami_core.judging import Judge
from hami_scheduler import inventory
from hami_scheduler.holds import Hold, Holds
from hami_scheduler.quota import Quotas, Usage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray
    from pluggy import HookRelay

    from hami_core.decision import Tables
    from hami_core.kube.objects import Node
    from hami_core.model import Holding
    from hami_core.plugins import Catalogue
    from hami_scheduler.quota import Amounts


class Rows:
    """Where nodes stand in the tables, and which come first of equals: by name, so that no history decides."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self.nodes = nodes  # empty names are spare rows
        self.of = {node: n for n, node in enumerate(nodes) if node}
        self.order: NDArray[np.int64] = np.empty(len(nodes), np.int64)
        self.order[np.argsort(np.asarray(nodes, dtype=object))] = np.arange(len(nodes))


class State:
    """The books of one cluster. One owner, no threads."""

    def __init__(self, hook: HookRelay, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.fleet = Fleet(catalogue)
        self.judge = Judge(hook, self.fleet)
        self.holds = Holds()
        self.usage = Usage()
        self.quotas = Quotas(catalogue)
        self._rows = Rows(())
        self._texts: dict[str, int] = {}  # node -> hash of what it published last
        self._faults: dict[str, Mapping[str, str]] = {}  # node -> kind -> why its inventory cannot be read
        self._unreadable: dict[str, tuple[str, str]] = {}  # uid -> its node, and why its grant cannot be read
        self._closing: dict[str, set[str]] = {}  # node -> uids whose grants cannot be read

    # --- Nodes. ---

    def nodes_replaced(self, nodes: Sequence[Node]) -> None:
        """These are all the nodes there are."""
        here = {node.metadata.name for node in nodes}
        for gone in [name for name in self._texts if name not in here]:
            self.remove_node(gone)
        for node in nodes:
            self.put_node(node)

    def put_node(self, node: Node) -> bool:
        """A node, new or changed; whether it publishes anything else than before. The same is not read again."""
        name, texts = node.metadata.name, hash(inventory.texts(self._catalogue, node))
        if self._texts.get(name) == texts:
            return False
        self._texts[name] = texts
        published = inventory.read(self._catalogue, node)
        self._note_faults(name, published.faults)
        self._give_up_likely(name)
        if published.devices:
            self.fleet.put(name, published.devices, published.cordoned)
        else:
            self.fleet.remove(name)
        return True

    def remove_node(self, name: str) -> None:
        """A node is gone. What was bound there is held until its pod is gone too."""
        if self._texts.pop(name, None) is not None:
            self._faults.pop(name, None)
            self._give_up_likely(name)
            self.fleet.remove(name)

    def _note_faults(self, name: str, faults: Mapping[str, str]) -> None:
        if faults:
            self._faults[name] = faults
        else:
            self._faults.pop(name, None)

    def _give_up_likely(self, node: str) -> None:
        """Devices changed, so that what was chosen of them is to be chosen again."""
        for hold in [hold for hold in self.holds.likely() if hold.node == node]:
            self.release(hold.uid)

    @property
    def tables(self) -> Tables:
        """The live tables."""
        return self.fleet.tables

    @property
    def rows(self) -> Rows:
        """Where nodes stand in the live tables."""
        nodes = next((table.nodes for table in self.fleet.tables.values()), ())
        if nodes is not self._rows.nodes:
            self._rows = Rows(nodes)
        return self._rows

    @property
    def nodes(self) -> Collection[str]:
        """Every node, whatever it published."""
        return self._texts.keys()

    @property
    def inventory_faults(self) -> Mapping[str, Mapping[str, str]]:
        """Node -> kind -> why its inventory cannot be read."""
        return self._faults

    # --- Grants that cannot be read: nobody knows what is taken, so nothing new goes to their nodes. ---

    def close(self, node: str, uid: str, why: str) -> None:
        """A pod on this node has a grant that cannot be read."""
        self.open(uid)
        self._unreadable[uid] = node, why
        self._closing.setdefault(node, set()).add(uid)

    def open(self, uid: str) -> None:
        """This pod is no reason to close a node any more."""
        if uid in self._unreadable:
            node, _ = self._unreadable.pop(uid)
            self._closing[node].discard(uid)
            if not self._closing[node]:
                del self._closing[node]

    @property
    def closed(self) -> Collection[str]:
        """Nodes that get nothing new."""
        return self._closing.keys()

    @property
    def unreadable(self) -> Mapping[str, tuple[str, str]]:
        """Uid -> (node, sentence), for every grant that cannot be read."""
        return self._unreadable

    # --- Who holds what. ---

    def hold(self, node: str, holding: Holding) -> None:
        """Count a holding. The uid holds nothing yet."""
        self.fleet.hold(node, holding)
        self.usage.add(holding)

    def hold_for_a_while(self, node: str, holding: Holding, until: float) -> Hold:
        """Count a holding that its pod will likely want."""
        hold = Hold(node, holding, until)
        self.hold(node, holding)
        self.holds.add(hold)
        return hold

    def release(self, uid: str) -> None:
        """Whatever this uid holds, and however firmly, is given back."""
        self.holds.pop(uid)
        holding = self.fleet.release(uid)
        if holding is not None:
            self.usage.remove(holding)

    def firmly(self, uid: str) -> str:
        """The node on which a pod is bound, or may be by now; empty: there is none."""
        if uid in self._unreadable:
            return self._unreadable[uid][0]
        hold, held = self.holds.get(uid), self.fleet.holding(uid)
        return held[0] if held is not None and (hold is None or hold.firm) else ""

    def used(self, namespace: str, kind: str) -> Amounts:
        """What a namespace takes of a kind."""
        return self.usage.of(namespace, kind)
