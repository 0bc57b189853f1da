"""What happens while pods run, and how it ended: frozen values for whoever tells it, in words or in JSON.

``pod`` is the pod's label, unique in one command. An exit status is a shell's: 0..255, 128 + n for a death by signal n.
"""

from __future__ import annotations

from attrs import frozen

from hami_core.model import Share

NOT_FOUND, NOT_EXECUTABLE, TIMED_OUT, BY_SIGNAL = 127, 126, 124, 128  # the shell's and timeout(1)'s numbers


@frozen
class Noted:
    """Something in the manifest has another effect than on a cluster, or none."""

    pod: str
    text: str


@frozen
class Queued:
    """The pod waits. Comes again whenever the reason changes."""

    pod: str
    why: str


@frozen
class Granted:
    """The pod holds these shares from now on."""

    pod: str
    shares: tuple[Share, ...]
    waited_s: float
    notes: tuple[str, ...]


@frozen
class Started:
    """A container's process runs."""

    pod: str
    container: str
    pid: int


@frozen
class Exited:
    """A container's process has ended. ``why``: it could not even be started, in one sentence; else empty."""

    pod: str
    container: str
    status: int
    why: str = ""


@frozen
class Restarting:
    """A container is started anew after ``delay_s``."""

    pod: str
    container: str
    delay_s: float


@frozen
class Finished:
    """The pod has ended. ``reason``: why it did not end by itself. ``kept``: a process left over holds its shares."""

    pod: str
    status: int
    reason: str = ""
    kept: bool = False


Event = Noted | Queued | Granted | Started | Exited | Restarting | Finished


@frozen
class ContainerResult:
    """How a container ended. ``status`` None: it never ran. ``log``: file with its output; empty if that was passed through."""

    name: str
    role: str  # init, sidecar or main
    status: int | None
    restarts: int
    log: str = ""


@frozen
class PodResult:
    """How a pod ended."""

    pod: str
    name: str
    namespace: str
    uid: str
    status: int
    reason: str
    waited_s: float
    shares: tuple[Share, ...]
    containers: tuple[ContainerResult, ...]
    notes: tuple[str, ...]


@frozen
class Played:
    """How a command's pods ended, in the order in which they were given."""

    machine: str
    simulated: bool
    pods: tuple[PodResult, ...]

    @property
    def status(self) -> int:
        """Our own exit status: that of the first pod that failed."""
        return next((pod.status for pod in self.pods if pod.status), 0)
