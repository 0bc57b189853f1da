"""What the API server, or the way to it, may answer instead of what was asked.

KubeError
  + Refused            it understood and said no                        (status, reason, message)
  |   + Unauthorized, Forbidden, NotFound, Conflict, Gone, Invalid
  |   + TooManyRequests  later                                          (retry_after, seconds)
  + Unavailable        no answer, or 5xx. ``unknown``: a write may have been carried out all the same
"""

from __future__ import annotations

from hami_core.errors import HamiError


class KubeError(HamiError):
    """Base of all."""


class Refused(KubeError):
    """The API server said no."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(status, reason, message)
        self.status, self.reason, self.message = status, reason, message

    def __str__(self) -> str:
        return f"API server: {self.status} {self.reason}: {self.message}"


class Unauthorized(Refused):
    """401: the credentials are none, or have expired."""


class Forbidden(Refused):
    """403: our role lacks a right, or an admission policy refuses."""


class NotFound(Refused):
    """404."""


class Conflict(Refused):
    """409: a precondition does not hold, or the object exists."""


class Gone(Refused):
    """410: the version is too old; list again."""


class Invalid(Refused):
    """400, 405, 413, 415, 422: what we sent cannot be; a fault of ours."""


class TooManyRequests(Refused):
    """429. ``retry_after`` in seconds, 0 if the server does not say."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(status, reason, message)
        self.args = (status, reason, message, retry_after)
        self.retry_after = retry_after


class Unavailable(KubeError):
    """No connection, no answer in time, a broken answer, or 5xx. ``unknown``: whether a write was carried out is not known."""

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.message, self.unknown = message, unknown

    def __str__(self) -> str:
        return f"API server: {self.message}"
