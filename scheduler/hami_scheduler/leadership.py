"""Who leads: kube-scheduler's own Lease, followed. A state machine over values; who watches, lists and writes is elsewhere.

There is one election, kube-scheduler's. The extender beside its winner puts a word of its own on the Lease, and leads while the
Lease names the one and shows the other. Every Binding says under which leadership (``term``) it was granted; the API server
refuses those of another (a ValidatingAdmissionPolicy with the Lease as its parameter). So neither a deposed leader nor what a
dead process left on its way binds, whatever a clock says, and this machine needs none.

    STANDBY --the Lease names us--> CLAIMING --it shows our word--> GRACE --it is over--> LISTING --all is listed--> LEADING
                                       ^                              |                      |                         |
                                       |                              +----------------------+-------------------------+
                                       |                                                     | it shows our word no more
                                       +--------------kube-scheduler asks us------------ SUPERSEDED

From each of them: the Lease names another (STANDBY), or us under another term (CLAIMING).

CLAIMING: each time with a word that was never shown. It is written on the one version of the Lease that was seen, and
kube-scheduler's renewals keep it; so a word that has been replaced never comes back, nor do the Bindings that carry it.

GRACE: the policy reads the Lease from a cache that follows by milliseconds. What a former leader still got through in that time
stands in the lists, which begin afterwards. It begins with an answer of the API server, so it is time that the server had, too.

SUPERSEDED: another extender stands beside the same kube-scheduler, or believes so. The younger leads, until kube-scheduler asks
the elder: that it does is the one sign of which of them is in its place.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from hami_core import names

if TYPE_CHECKING:
    from hami_core.kube.objects import Lease


class Phase(Enum):
    """Where we stand."""

    STANDBY = "standby"
    CLAIMING = "claiming"
    GRACE = "grace"
    LISTING = "listing"
    LEADING = "leading"
    SUPERSEDED = "superseded"


CLAIMED = frozenset({Phase.GRACE, Phase.LISTING, Phase.LEADING})
"""While the Lease shows our word."""


@frozen
class Leadership:
    """Our part in the election. ``reign`` is kube-scheduler's part of the term; empty: it is not ours."""

    identity: str
    process: str  # a word that no other process has, ever
    grace: float = 0.5  # seconds
    rest: float = 2.0  # seconds before the word of another is replaced: two that are asked in turn would wear out the Lease
    phase: Phase = Phase.STANDBY
    reign: str = ""
    claims: int = 0  # so many words have been used
    since: float = 0.0  # when the phase began
    holder: str = ""  # who has the Lease, whoever that is

    @property
    def leading(self) -> bool:
        """Whether we may decide and bind."""
        return self.phase is Phase.LEADING

    @property
    def word(self) -> str:
        """What the Lease has to show."""
        return f"{self.process}-{self.claims}"

    @property
    def term(self) -> str:
        """Under which we lead, or want to. Empty: under none."""
        return f"{self.reign}/{self.word}" if self.reign else ""

    def seen(self, lease: Lease | None, now: float) -> Leadership:
        """The Lease as it is. None: there is none."""
        holder = (lease.spec.holder_identity if lease else None) or ""
        reign = _reign(lease) if lease and is_ours(holder, self.identity) else ""
        if reign != self.reign:
            ours = evolve(self, reign=reign, holder=holder)
            return ours._claiming(now) if reign else evolve(ours, phase=Phase.STANDBY, since=now)
        phase = self._shown(term_of(lease) == self.term) if reign else self.phase
        if phase is not self.phase:
            return evolve(self, phase=phase, since=now)
        return self if holder == self.holder else evolve(self, holder=holder)

    def _shown(self, ours: bool) -> Phase:
        """What is next when the Lease of this reign shows our word, or another."""
        if ours:
            return self.phase if self.phase in CLAIMED else Phase.GRACE
        return Phase.SUPERSEDED if self.phase in CLAIMED else self.phase

    def _claiming(self, now: float) -> Leadership:
        return evolve(self, phase=Phase.CLAIMING, claims=self.claims + 1, since=now)

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

    def asked(self, now: float) -> Leadership:
        """kube-scheduler wants an answer of us: whoever has superseded us is not in our place."""
        if self.phase is Phase.SUPERSEDED and now - self.since >= self.rest:
            return self._claiming(now)
        return self


def is_ours(holder: str, identity: str) -> bool:
    """Whether the holder is the kube-scheduler of this host: its identity is its host's name, ``_``, and a random word.

    The word has no underscore, so that host "a" is not taken for host "a_b".
    """
    name, underscore, word = holder.rpartition("_")
    return bool(underscore and word) and name == identity


def term_of(lease: Lease | None) -> str:
    """The name of one leadership, as the policy in the API server makes it from the same Lease. Empty: there is none."""
    word = ((lease.metadata.annotations or {}).get(names.EXTENDER) if lease else None) or ""
    return f"{_reign(lease)}/{word}" if lease and lease.spec.holder_identity and word else ""


def _reign(lease: Lease) -> str:
    return f"{lease.spec.holder_identity}/{lease.spec.lease_transitions or 0}"
