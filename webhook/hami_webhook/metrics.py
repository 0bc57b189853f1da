"""What admission counts, for Prometheus. The labels' values are few, whatever users write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

__all__ = ["CONTENT_TYPE", "Metrics"]

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)


class Metrics:
    """One process's. ``fields``: those that a refusal may be told by; others are "other"."""

    def __init__(self, fields: Collection[str]) -> None:
        self._fields = frozenset(fields)
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "hami_webhook_requests",
            "Pods that were judged. outcome: prepared, unchanged, refused, failed (a fault of ours), malformed. reason: what "
            "was refused, as the resource, the variable, or the kind of field.",
            ("outcome", "reason"),
            registry=self._registry,
        )
        for outcome in ("prepared", "unchanged", "failed", "malformed"):
            self._requests.labels(outcome, "")
        self._seconds = Histogram(
            "hami_webhook_review_seconds",
            "From the whole request to the whole answer.",
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._expiry = Gauge(
            "hami_webhook_certificate_expiry_timestamp_seconds",
            "When the certificate that is served expires.",
            registry=self._registry,
        )
        self._applied = Gauge(
            "hami_webhook_registration_timestamp_seconds",
            "When the registration and the policies were last seen to be as they should.",
            registry=self._registry,
        )

    def admitted(self, *, prepared: bool) -> None:
        """A pod may be, with or without a patch."""
        self._requests.labels("prepared" if prepared else "unchanged", "").inc()

    def refused(self, field: str) -> None:
        """A pod may not be, for this field."""
        self._requests.labels("refused", self._reason(field)).inc()

    def failed(self) -> None:
        """A fault of ours."""
        self._requests.labels("failed", "").inc()

    def malformed(self) -> None:
        """What came was no request."""
        self._requests.labels("malformed", "").inc()

    def took(self, seconds: float) -> None:
        """One review."""
        self._seconds.observe(seconds)

    def serves(self, until: datetime) -> None:
        """The end of the certificate that is served."""
        self._expiry.set(until.timestamp())

    def applied(self) -> None:
        """The registration is as it should be, now."""
        self._applied.set_to_current_time()

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)

    def _reason(self, field: str) -> str:
        if field in self._fields:
            return field
        if "/" in field:
            return "annotation"
        return "spec" if field.startswith(("spec.", "securityContext.", "volumeMounts.", "volumeDevices.")) else "other"
