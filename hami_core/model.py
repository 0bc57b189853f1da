"""The values that decisions are made about: frozen, without encodings, without any vendor's word.

Units everywhere: memory in MiB, cores in percent of one device, counts as integers. Text becomes numbers at the edge
(``quantity``); values become bytes in ``wire``; many devices at once are the columns of ``table``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import deep_iterable, ge, in_, le, matches_re, min_len, not_

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Pod = Mapping[str, Any]  # a manifest as Kubernetes writes it; cluster data is not ours to model, only what we decide about

SHARE = "share"
"""The splitting that the core brings: a device cut into shares by memory, cores and slots."""


# --- What can be asked for -------------------------------------------------------------------------------------------


@frozen
class Resources:
    """Request names of a kind by role. None: the kind has no such knob, and naming it is nobody's request."""

    count: str
    memory: str | None = None
    memory_percent: str | None = None
    cores: str | None = None
    priority: str | None = None

    def names(self) -> tuple[str, ...]:
        """Every name in use, the count first."""
        roles = (self.count, self.memory, self.memory_percent, self.cores, self.priority)
        return tuple(name for name in roles if name is not None)


@frozen
class Defaults:
    """What a container gets that names a kind but not this number."""

    count: int = 1  # where another resource of the kind is named; 0: then the request is an error
    memory: int = 0  # MiB per device; 0: the whole device
    cores: int = 0  # percent; 0: nothing reserved, no ceiling


@frozen
class Kind:
    """A family of devices with one owner: how it is asked for and how a process is told which it may see.

    ``name`` is a DNS label, because it becomes the prefix of annotation keys, and none of the prefixes that are the core's own.
    """

    name: str = field(validator=[matches_re(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?"), not_(in_(("grant", "devices", "hami")))])
    resources: Resources
    visible_env: str  # the variable that names a container's devices; users may not set it
    hidden: str = "void"  # its fail-closed value: no device at all
    defaults: Defaults = Defaults()


NODE_POLICIES = ("binpack", "spread")
DEVICE_POLICIES = ("binpack", "spread", "mutex", "topology-aware", "numa")


@frozen
class Weights:
    """How much each number counts where the fullness of a device is one number. At least one is positive."""

    slot: float = field(default=1.0, validator=ge(0))
    core: float = field(default=1.0, validator=ge(0))
    memory: float = field(default=1.0, validator=ge(0))

    def __attrs_post_init__(self) -> None:
        if self.total <= 0:
            raise ValueError("one of the weights must be positive")

    @property
    def total(self) -> float:
        """Their sum."""
        return self.slot + self.core + self.memory


@frozen
class Policy:
    """How to choose where several places would do. What each word means: ``choice`` for devices, ``policies`` for nodes."""

    node: str = field(default="binpack", validator=in_(NODE_POLICIES))
    device: tuple[str, ...] = field(default=("spread",), validator=[deep_iterable(in_(DEVICE_POLICIES)), min_len(1)])
    weights: Weights = Weights()


MODEL, ID, SPLITTING = "model", "id", "splitting"


@frozen
class Selector:
    """A wish about which devices may serve a request at all: those that one of the words names, or all others.

    By MODEL a word names every device that has it in its model, in any case; by ID the device of that id; by SPLITTING those
    that are cut in that way.
    """

    key: str  # under which the user wrote it: refusals name it
    words: tuple[str, ...] = field(validator=min_len(1))
    by: str = field(default=MODEL, validator=in_((MODEL, ID, SPLITTING)))
    out: bool = False  # the devices that are named are the ones left out


WHOLE = 100
"""Percent of cores that mean a device for oneself, whatever the scaling says there is."""

MAIN = 0
"""The phase of a pod in which its ordinary containers run."""


@frozen
class Request:
    """What one container asks of one kind: ``count`` different devices, the same share of each.

    Exactly one of memory and percent is set. ``phases``: in which phases of the pod's life the container runs. MAIN is that
    of the ordinary containers; ordinary init containers have one each, numbered from 1; a sidecar runs in its successors' too.
    """

    container: str
    kind: str
    count: int = field(validator=ge(1))
    memory: int | None = None  # MiB per device
    percent: int | None = None  # of the physical memory of each device
    cores: int = 0
    phases: tuple[int, ...] = (MAIN,)
    policy: Policy = Policy()
    selectors: tuple[Selector, ...] = ()  # a device must satisfy every one
    numa_bind: str = ""  # the key by which the user wants all devices on one NUMA node; empty: they may be on any
    options: tuple[tuple[str, str], ...] = ()  # the owner's own words, carried to its grant as they are
    defaulted: frozenset[str] = frozenset()  # of count, memory, cores: those that the user left to the settings
    notes: tuple[str, ...] = ()  # what the user should be told, one sentence each

    def __attrs_post_init__(self) -> None:
        if (self.memory is None) == (self.percent is None):
            raise ValueError(f"a request needs either memory or percent, not {self.memory!r} and {self.percent!r}")

    @property
    def exclusive(self) -> bool:
        """Whether it takes devices that nobody uses, and keeps everybody else off them: all cores, or the policy mutex."""
        return self.cores >= WHOLE or "mutex" in self.policy.device


# --- What there is ---------------------------------------------------------------------------------------------------


def _is_id(owner: object, _: object, text: Any) -> None:
    """Ids stand in comma lists and in lines of words, of annotations, variables and the limits file.

    The one white space that is printable is the blank.
    """
    if not isinstance(text, str) or not text or not text.isprintable() or "," in text or " " in text:
        what = "one printable word without commas"
        raise ValueError(f"{type(owner).__name__}: the id {text!r} cannot be: ids stand in comma lists, so it must be {what}")


LARGEST_AMOUNT = 2**53
"""More than there will be of anything, and exact in every reader of JSON; columns of 64 bits hold the sum of a thousand."""


def _is_amount(owner: Any, attribute: Any, number: Any) -> None:
    if not isinstance(number, int) or not 0 <= number <= LARGEST_AMOUNT:
        name = next(getattr(owner, field) for field in ("id", "device", "a") if hasattr(owner, field))
        must = f"{attribute.name} must be a whole number of at least 0, not {number!r}"
        if isinstance(number, int) and number > 0:
            must = f"{attribute.name} must be at most {LARGEST_AMOUNT}, not {number}"
        raise ValueError(f"{type(owner).__name__} {name}: {must}")


def _is_numa(owner: Any, _: object, number: Any) -> None:
    """The kernel's number; unknown is None, or -1 as the kernel says it."""
    if number is not None and not (isinstance(number, int) and -1 <= number <= LARGEST_AMOUNT):
        raise ValueError(f"{type(owner).__name__}: numa must be the number of a node, or nothing, not {number!r}")


def _are_different(owner: Any, _: object, capacities: Any) -> None:
    """A device that is listed twice would be handed out twice."""
    for splitting, offered in capacities:
        ids = [one.device for one in offered]
        if len(set(ids)) != len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise ValueError(f"{type(owner).__name__}: the splitting {splitting} lists the device {twice} twice")


@frozen
class Device:
    """One physical device as its driver describes it. ValueError: an id or a number that cannot be."""

    id: str = field(validator=_is_id)  # unique and stable; for NVIDIA the UUID
    index: int = field(validator=_is_amount)  # in the order of the driver's own tool
    model: str
    memory: int = field(validator=_is_amount)  # MiB, physical
    cores: int = field(default=100, validator=_is_amount)  # percent
    numa: int | None = field(default=None, validator=_is_numa)
    bus: str = ""  # PCI address
    capability: str = ""  # the vendor's version of what it can compute, e.g. "7.5"
    sick: str = ""  # why it cannot be used; empty: healthy


LARGEST_SCORE = 2**24
"""More than any scale of links needs; sums over the pairs of a set stay exact."""


@frozen
class Link:
    """How two devices of a node are connected, in the vendor's word for it. Undirected: ``a`` < ``b``.

    ``score``: how good that is for a set of devices that work together, in the vendor's own scale: more is better, 0 unknown.
    ``peer``: whether each may read the other's memory directly; None: the driver does not say.
    """

    a: str
    b: str
    type: str
    lanes: int = field(default=0, validator=_is_amount)
    score: int = field(default=0, validator=[_is_amount, le(LARGEST_SCORE)])
    peer: bool | None = None


@frozen
class DeviceInventory:
    """The devices of one kind on one node. ``faults``: devices that could not even be described, in one sentence each."""

    kind: str
    devices: tuple[Device, ...]
    links: tuple[Link, ...] = ()
    faults: tuple[str, ...] = ()


@frozen
class Capacity:
    """What one device offers to the scheduler in one splitting: row material of a NodeTable."""

    device: str = field(validator=_is_id)
    model: str
    slots: int = field(validator=_is_amount)  # tasks at a time
    memory: int = field(validator=_is_amount)  # MiB to hand out: physical times the scaling
    physical: int = field(validator=_is_amount)  # MiB of the metal: what percentages refer to
    cores: int = field(default=100, validator=_is_amount)
    numa: int | None = field(default=None, validator=_is_numa)
    healthy: bool = True
    overhead: int = field(default=0, validator=_is_amount)  # MiB that each program costs the driver, paid out of its share
    extra: tuple[tuple[str, float], ...] = ()  # the splitting's own columns


@frozen
class NodeDevices:
    """What a node publishes of one kind: what there is, and what each splitting offers of it."""

    inventory: DeviceInventory
    capacities: tuple[tuple[str, tuple[Capacity, ...]], ...] = field(validator=_are_different)  # splitting -> its devices


@frozen
class Splitting:
    """A way in which devices of a kind are cut, and the extra table columns (name, numpy dtype) that it decides by."""

    kind: str
    name: str
    columns: tuple[tuple[str, str], ...] = ()


# --- What is decided -------------------------------------------------------------------------------------------------


class Reason(IntEnum):
    """Why a node cannot hold a pod: the first test that left fewer devices than were asked for.

    Codes are stable, and rise in the order of the tests: of two refusals the higher is the closer miss. Gaps: tests to come.
    """

    FITS = 0
    NO_DEVICE = 10  # no device of the kind at all
    COUNT = 20  # fewer devices than asked for
    MODEL = 22  # too few devices of a model that may serve
    ID = 24  # too few devices of those that are named, or not ruled out, by id
    HEALTH = 30  # too few healthy ones
    CORDON = 32  # too few that are not taken out of service
    SIZE = 40  # too few devices that could hold so much even when idle
    SLOTS = 70  # as many tasks as a device may carry are there already, or one that has it for itself
    IN_USE = 75  # too few devices that nobody uses
    MEMORY = 80  # too little memory free
    CORES = 90  # too little compute free
    NUMA = 100  # enough devices, too few of them on one NUMA node


@frozen(eq=False)
class Fit:
    """Answer for all N nodes at once. Arrays are (N,), devices (R, N, W): R requests by N nodes by W devices.

    ``devices[r]``: which devices could hold one share of request r once the requests before it are placed.
    """

    nodes: Mask
    reasons: NDArray[np.int8]
    devices: Mask


@frozen(eq=False)
class Score:
    """An opinion on all N nodes: values (N,) in 0..1, more is better. Opinions are averaged by weight."""

    values: NDArray[np.float64]
    weight: float = 1.0


@frozen
class Share:
    """A slice of one device, held by one container."""

    container: str
    kind: str
    device: str
    memory: int
    physical: int  # MiB of the whole device
    cores: int  # 0: no ceiling, nothing reserved
    splitting: str = SHARE
    phases: tuple[int, ...] = (MAIN,)
    overhead: int = 0  # MiB of it that the driver takes for each program (Capacity.overhead)
    exclusive: bool = False  # nobody else may hold a share of the device
    options: tuple[tuple[str, str], ...] = ()


def _is_section(_: object, __: object, text: str) -> None:
    """Whole lines of printable ASCII, none of which ends the file or begins another section: no vendor speaks for another."""
    lines = text.split("\n")
    if lines.pop() or any(not line.isascii() or not line.isprintable() for line in lines):
        raise ValueError(f"a section of the limits file is whole lines of printable ASCII, not {text!r}")
    if any(line.startswith("[") or line.strip() in ("end", "") for line in lines):
        raise ValueError(f"a section of the limits file must not end it or begin another: {text!r}")


@frozen
class Grant:
    """What one container is told about its shares of one kind."""

    container: str
    kind: str
    visible: str  # value of Kind.visible_env
    section: str = field(default="", validator=_is_section)  # of the limits file; empty: the kind needs none
    env: tuple[tuple[str, str], ...] = ()  # further variables that say the same, where no container runtime does it


@frozen
class Holding:
    """What one pod holds on one node, from its grant to its end."""

    uid: str
    name: str
    namespace: str
    shares: tuple[Share, ...]


# --- What a process needs to use it ----------------------------------------------------------------------------------


@frozen
class Mount:
    """A file or folder of the host that a container sees at ``target``."""

    source: str
    target: str
    read_only: bool = True


@frozen
class Mounts:
    """How any container of a kind is prepared. ``preload``: libraries to load before the program's own, as host paths."""

    files: tuple[Mount, ...] = ()
    devices: tuple[str, ...] = ()  # device nodes
    env: tuple[tuple[str, str], ...] = ()
    preload: tuple[str, ...] = ()


@frozen
class Machine:
    """A simulated machine, ready to run on.

    ``settings`` point the kinds' own plugins at its drivers, by the settings' paths; those of plugins that are not loaded do
    not count. ``library_path``: folders where its programs find the simulated libraries.
    """

    name: str
    folder: str
    settings: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()  # for every workload on it
    library_path: tuple[str, ...] = ()


@frozen
class ProcessUse:
    """What one process uses of one device, as the driver counts it. None: the driver does not say."""

    device: str
    pid: int  # in the host's namespace
    memory: int | None  # MiB, rounded up
    type: str = ""  # what it does there, in the vendor's word for it; for NVIDIA that of nvidia-smi: C, G, M+C
    instance: str = ""  # the part of a partitioned device that it runs in, in the vendor's words; empty: the whole device
    utilisation: int | None = None  # percent of the device's time


@frozen
class DeviceUse:
    """What one device is busy with, as the driver counts it. None: the driver does not say."""

    device: str
    memory: int  # MiB, rounded up
    utilisation: int | None = None  # percent of time
    temperature: int | None = None  # degrees Celsius
    power: int | None = None  # watts


@frozen
class Usage:
    """What is in use of one kind, seen from the host."""

    devices: tuple[DeviceUse, ...] = ()
    processes: tuple[ProcessUse, ...] = ()


@frozen
class DeviceAccount:
    """What one container is charged for one of its devices. Units: bytes, and allocations that its limit refused."""

    device: str
    used: int
    peak: int
    refused: int


@frozen
class ProcessAccount:
    """What one process of a container is charged for one device."""

    device: str
    pid: int  # in the host's namespace
    start: int  # clock ticks from boot
    used: int  # bytes


@frozen
class Account:
    """What enforcement has counted in one container. ``fault``: its books cannot be read, in one sentence."""

    devices: tuple[DeviceAccount, ...] = ()
    processes: tuple[ProcessAccount, ...] = ()
    fault: str = ""
