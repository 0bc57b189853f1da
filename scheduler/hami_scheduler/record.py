"""What is written down of every answer: a metric, a log line with the pod's uid, and for who waits a notice.

One line for each bind, refusal and fault; what is asked again and again (a pod that still waits) is a line of level debug.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_scheduler import asked
from hami_scheduler.leadership import Phase
from hami_scheduler.protocol import cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.errors import HamiError
    from hami_scheduler.cluster import Outcome
    from hami_scheduler.filtering import Filtered
    from hami_scheduler.leadership import Leadership
    from hami_scheduler.metrics import Work
    from hami_scheduler.notices import Notices
    from hami_scheduler.protocol import Binding

_log = logging.getLogger("hami_scheduler")


@frozen(eq=False)
class Record:
    """Listens to server, binder and leadership."""

    work: Work
    notices: Notices

    # --- The server's answers. ---

    def answered(self, verb: str, status: int, seconds: float) -> None:
        """A request is done."""
        self.work.requests.labels(verb, str(status)).observe(seconds)

    def filtered(self, pod: Mapping[str, Any], filtered: Filtered) -> None:
        """A filter that was answered."""
        if not filtered.ours:
            self.work.decisions.labels("foreign" if filtered.why is None else "unprepared").inc()
        elif filtered.why is None:
            self.work.decisions.labels("fits").inc()
            self.notices.fits(pod)
        else:
            self.work.decisions.labels("waits").inc()
            for reason, nodes in filtered.why.counts.items():
                self.work.refusals.labels(reason).inc(nodes)
            why = str(filtered.why)
            self.notices.waits(pod, why)
            _log.debug("waits", extra={**_pod(pod), "why": why})

    def failed(self, pod: Mapping[str, Any], error: HamiError) -> None:
        """A filter whose pod cannot be meant, or on which a plugin failed."""
        self.work.decisions.labels("failed").inc()
        if asked.is_prepared(pod):  # of another the watch would not say when it is gone
            self.notices.waits(pod, cut(str(error)))
        _log.warning("no decision", extra={**_pod(pod), "error": cut(str(error))})

    # --- The binder's. ---

    def bound(self, binding: Binding, seconds: float) -> None:
        """The API server has the Binding."""
        self.work.binds.labels("bound").inc()
        self.work.bound.observe(seconds)
        self.notices.forget(binding.uid)
        _log.info("bound", extra={**_binding(binding), "seconds": round(seconds, 4)})

    def not_bound(self, binding: Binding, reason: str, error: str) -> None:
        """Nothing was written."""
        self.work.binds.labels(reason).inc()
        _log.warning("not bound", extra={**_binding(binding), "reason": reason, "error": error})

    def unknown(self, binding: Binding, error: str) -> None:
        """The answer was lost."""
        self.work.binds.labels("unknown").inc()
        _log.warning("whether it is bound is not known", extra={**_binding(binding), "error": error})

    def resolved(self, binding: Binding, outcome: Outcome, seconds: float) -> None:
        """It is known now."""
        self.work.resolved.labels(outcome.name.lower()).inc()
        _log.info("known now", extra={**_binding(binding), "outcome": outcome.name.lower(), "seconds": round(seconds, 3)})

    # --- The leadership's. ---

    def turned(self, old: Leadership, new: Leadership) -> None:
        """Another phase, or another term."""
        if new.leading:
            self.work.leaderships.inc()
        if old.leading:
            self.notices.clear()
        facts = {"phase": new.phase.value, "term": new.term, "holder": new.holder}
        _log.info("leadership", extra={**facts, "was": old.phase.value})
        if new.phase is Phase.SUPERSEDED:
            _log.warning("superseded: another extender has put its word on the Lease of our kube-scheduler", extra=facts)

    def not_claimed(self, error: str) -> None:
        """Our word is not on the Lease. Said once for each reason: it is tried again with every Lease that is seen."""
        _log.warning("not claimed", extra={"error": error})


def _pod(pod: Mapping[str, Any]) -> dict[str, str]:
    meta = pod.get("metadata") or {}
    return {"pod_uid": str(meta.get("uid", "")), "pod": f"{meta.get('namespace', '')}/{meta.get('name', '')}"}


def _binding(binding: Binding) -> dict[str, str]:
    return {"pod_uid": binding.uid, "pod": f"{binding.namespace}/{binding.name}", "node": binding.node}
