"""Who leads: kube-scheduler's own Lease, followed. A state machine over values; who watches and lists is elsewhere.

There is one election, kube-scheduler's. The extender beside its winner leads while the Lease names it, and every Binding says
under which leadership (``term``) it was granted; the API server refuses those of another (a ValidatingAdmissionPolicy with the
Lease as its parameter). So a deposed leader cannot bind, whatever its clock says, and this machine needs none.

    STANDBY --the Lease names us--> GRACE --it is over--> LISTING --pods and nodes are complete--> LEADING
       ^                              |                      |                                        |
       +------------------------------+--the Lease names another (or us, under another term)---------+

GRACE: the policy reads the Lease from a cache that follows by milliseconds. What a former leader still got through in that time
stands in the lists, which begin afterwards. It begins with an answer of the API server, so it is time that the server had, too.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import evolve, frozen

if TYPE_CHECKING:
    from hami_core.kube.objects import Lease


class Phase(Enum):
    """Where we stand."""

    STANDBY = "standby"
    GRACE = "grace"
    LISTING = "listing"
    LEADING = "leading"


@frozen
class Leadership:
    """Our part in the election. ``term`` is empty while we have none."""

    identity: str
    grace: float = 0.5  # seconds
    phase: Phase = Phase.STANDBY
    term: str = ""
    since: float = 0.0  # when the phase began
    holder: str = ""  # who has the Lease, whoever that is

    @property
    def leading(self) -> bool:
        """Whether we may decide and bind."""
        return self.phase is Phase.LEADING

    def seen(self, lease: Lease | None, now: float) -> Leadership:
        """The Lease as it is. None: there is none."""
        holder = (lease.spec.holder_identity if lease else None) or ""
        term = term_of(lease) if is_ours(holder, self.identity) else ""
        if term == self.term:
            return self if holder == self.holder else evolve(self, holder=holder)
        phase = Phase.GRACE if term else Phase.STANDBY
        return evolve(self, phase=phase, term=term, since=now, holder=holder)

    def passed(self, now: float) -> Leadership:
        """Time has gone by: after the grace everything is to be listed."""
        if self.phase is Phase.GRACE and now - self.since >= self.grace:
            return evolve(self, phase=Phase.LISTING, since=now)
        return self

    def listed(self, term: str, now: float) -> Leadership:
        """The lists that were begun under this term are complete."""
        if self.phase is Phase.LISTING and term == self.term:
            return evolve(self, phase=Phase.LEADING, since=now)
        return self


def is_ours(holder: str, identity: str) -> bool:
    """Whether the holder is the kube-scheduler of this host: its identity is its host's name, ``_``, and a random word.

    The word has no underscore, so that host "a" is not taken for host "a_b".
    """
    name, underscore, word = holder.rpartition("_")
    return bool(underscore and word) and name == identity


def term_of(lease: Lease | None) -> str:
    """The name of one leadership, as the policy in the API server makes it from the same Lease. Empty: there is none."""
    if lease is None or not lease.spec.holder_identity:
        return ""
    return f"{lease.spec.holder_identity}/{lease.spec.lease_transitions or 0}"
