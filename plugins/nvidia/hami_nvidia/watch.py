"""Watching the GPUs of one driver over time: events since the last look, a look at each GPU, and the records that both feed.

``Watch`` has one owner, the process that is asked for health again and again; what findings mean is in ``health``. Events are
heard from the first look on: what happened before shows in what a GPU says of itself, or not at all.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from hami_core.errors import DriverError
from hami_nvidia import health, nvml
from hami_nvidia.health import Event, Finding, Look, Record
from hami_nvidia.inventory import note, present
from hami_nvidia.nvml import Refused
from hami_nvidia.patience import NoAnswer, each
from hami_nvidia.usage import NO_INSTANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hami_nvidia.nvml import Gpu, Nvml
    from hami_nvidia.xids import Rules

    Parts = Mapping[tuple[str, int], Sequence[str]]  # (uuid of the GPU, id of the GPU instance) -> its MIG devices

HARMLESS = frozenset((nvml.NOT_SUPPORTED, nvml.NO_PERMISSION, nvml.FUNCTION_NOT_FOUND))  # the GPU did answer
MOST = 10_000  # events of one look; a driver that never says TIMEOUT must not keep us
LONGEST = 60.0  # seconds between two attempts at something that keeps failing


@define
class Backoff:
    """When something that failed may be tried again: at once, then after 1, 2, 4 s and so on."""

    failures: int = 0
    since: float = 0.0

    def due(self, now: float) -> bool:
        """Whether it may be tried."""
        return not self.failures or now >= self.since + min(2.0 ** (self.failures - 1), LONGEST)

    def failed(self, now: float) -> None:
        """It was tried in vain."""
        self.failures, self.since = self.failures + 1, now

    def worked(self) -> None:
        """It was not."""
        self.failures = 0


@frozen
class Heard:
    """What has happened, as NVML's event data. ``broken``: then the set failed, and more may have happened."""

    events: tuple[Any, ...] = ()
    broken: bool = False


@define(eq=False)
class Ear:
    """The event set of one session, and the GPUs whose events arrive in it."""

    driver: Nvml
    made: Any = None
    registered: set[str] = field(factory=set)

    def heard(self, gpus: Sequence[Gpu]) -> Heard:
        """What has happened since the last time. A driver that has no events has none to tell, and is not broken."""
        try:
            self.made = self.made or self.driver.ask("nvmlEventSetCreate")
        except Refused as error:
            return Heard(broken=error.code not in HARMLESS)
        for gpu in gpus:
            if gpu.uuid not in self.registered:
                self._register(gpu)
        events: list[Any] = []
        while len(events) < MOST:
            try:
                events.append(self.driver.ask("nvmlEventSetWait", self.made, 0))
            except Refused as error:
                return Heard(tuple(events), broken=error.code != nvml.TIMEOUT)
        return Heard(tuple(events))

    def _register(self, gpu: Gpu) -> None:
        """Which GPUs have no events is their affair."""
        self.registered.add(gpu.uuid)
        wanted = health.EVENTS & self.driver.optional("nvmlDeviceGetSupportedEventTypes", gpu.handle, default=0)
        if wanted:
            self.driver.optional("nvmlDeviceRegisterEvents", gpu.handle, wanted, self.made)

    def close(self) -> None:
        """Give the set back."""
        if self.made is not None:
            self.driver.optional("nvmlEventSetFree", self.made)


@define(eq=False)
class Watch:
    """The watch over one driver's GPUs."""

    root: str
    opened: Callable[[str], Nvml | None] = nvml.session
    closed: Callable[[], None] = nvml.close
    clock: Callable[[], float] = time.monotonic
    records: dict[str, Record] = field(factory=dict)
    _indices: dict[str, int] = field(factory=dict)  # by uuid, as last seen
    _ear: Ear | None = None
    _hearing: Backoff = field(factory=Backoff)
    _finding: Backoff = field(factory=Backoff)
    _lost: bool = False  # a GPU that a new session might find again

    def check(self, devices: Sequence[str], rules: Rules, recovery: float, patience: float) -> dict[str, str]:
        """Device -> reason for those that are sick now. ``recovery``: seconds without a finding until one is well again.

        DriverError: the driver fails as a whole; that says nothing of any device.
        """
        now = self.clock()
        driver = self._session(now)
        gpus, silent = present(driver, patience)
        found = self._looked_at(driver, gpus, rules, patience)
        parts = _parts(driver, gpus, devices, patience)
        parent = {part: uuid for (uuid, _), own in parts.items() for part in own}
        self._indices |= driver.known
        for device in devices:
            if device not in found and device not in parent:
                found[device] = (Finding("answer", silent.get(self._indices.get(device, -1), "the driver does not list it")),)
        self._lost = not driver.mute() and any(one.cause == "answer" for several in found.values() for one in several)
        events, deaf = self._heard(driver, gpus, parts, patience, now)
        for device in {*devices, *found}:
            record = health.happened(self.records.get(device, Record()), events.get(device, ()), rules, now)
            self.records[device] = health.looked(record, found.get(device, ()), now, recovery, deaf)
        return {device: reason for device in devices if (reason := self._reason(device, parent))}

    def _reason(self, device: str, parent: Mapping[str, str]) -> str:
        """A part of a GPU is as sick as the whole, or sick by itself."""
        whole = self.records.get(parent.get(device, ""), Record())
        return self.records[device].sick or whole.sick

    def _session(self, now: float) -> Nvml:
        """The driver; started anew now and then while a GPU is lost, because only a new session finds it again."""
        if not self._lost:
            self._finding.worked()
        elif self._finding.due(now):
            self._finding.failed(now)
            self.closed()
        driver = self.opened(self.root)
        if driver is None:
            raise DriverError("nvidia", "health: there is no driver any more")
        if self._ear is None or self._ear.driver is not driver:
            self._ear = Ear(driver)
        return driver

    def _looked_at(self, driver: Nvml, gpus: Sequence[Gpu], rules: Rules, patience: float) -> dict[str, tuple[Finding, ...]]:
        """What each GPU says of itself, by uuid."""
        answers = each(gpus, lambda gpu: look(driver, gpu), patience)
        for gpu, answer in zip(gpus, answers, strict=True):
            note(driver, gpu.index, answer)
            if isinstance(answer, DriverError):
                self.closed()
                raise answer
        return {gpu.uuid: _findings(answer, rules) for gpu, answer in zip(gpus, answers, strict=True)}

    def _heard(
        self, driver: Nvml, gpus: Sequence[Gpu], parts: Parts, patience: float, now: float
    ) -> tuple[Mapping[str, Sequence[Event]], bool]:
        """What happened by device, and whether more may have: then the set is made anew, with back-off."""
        if self._ear is None or not self._hearing.due(now):
            return {}, True
        (answer,) = each([gpus], self._ear.heard, patience)
        heard = answer if isinstance(answer, Heard) else Heard(broken=True)
        if not heard.broken:
            self._hearing.worked()
        else:
            self._hearing.failed(now)
            if answer is heard:  # a set that lets a call hang is left alone
                self._ear.close()
            self._ear = Ear(driver)
        return _by_device(driver, gpus, heard.events, parts), heard.broken


def _by_device(driver: Nvml, gpus: Sequence[Gpu], events: Sequence[Any], parts: Parts) -> dict[str, list[Event]]:
    """The devices that events are about: those of a GPU instance where one names that, else the GPU."""
    uuids = {nvml.address(gpu.handle): gpu.uuid for gpu in gpus}
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for data in events:
        uuid = uuids.get(nvml.address(data.device)) or nvml.text(driver.optional("nvmlDeviceGetUUID", data.device, default=""))
        whole = NO_INSTANCE in (data.gpuInstanceId, data.computeInstanceId)
        for device in (uuid,) if whole else parts.get((uuid, int(data.gpuInstanceId)), (uuid,)):
            found[device].append(Event(int(data.eventType), int(data.eventData)))
    return found


def look(driver: Nvml, gpu: Gpu) -> Look:
    """What a GPU says of itself now. DriverError: it says that the driver as a whole is not in order."""
    try:
        driver.ask("nvmlDeviceGetMemoryInfo", gpu.handle)
    except Refused as error:
        if error.code in nvml.OF_THE_DRIVER:
            raise DriverError("nvidia", f"health: {error}; no GPU is called sick for that") from error
        if error.code not in HARMLESS:
            return Look(error=f"does not answer: {error}")
    _, _, pending, failed = driver.optional("nvmlDeviceGetRemappedRows", gpu.handle, default=(0, 0, 0, 0))
    return Look(
        remap_failed=bool(failed),
        remap_pending=bool(pending),
        retirement_pending=bool(driver.optional("nvmlDeviceGetRetiredPagesPendingStatus", gpu.handle, default=0)),
        recovery=_recovery(driver, gpu),
    )


def _recovery(driver: Nvml, gpu: Gpu) -> int | None:
    (value, *_) = driver.optional("nvmlDeviceGetFieldValues", gpu.handle, [nvml.RECOVERY_ACTION], default=[None])
    return None if value is None or value.nvmlReturn else int(value.value.uiVal)


def instances(driver: Nvml, gpu: Gpu, devices: Sequence[str]) -> dict[str, int]:
    """The MIG devices of a GPU that are among ``devices``, and the GPU instance that each is in."""
    found: dict[str, int] = {}
    for number in range(driver.optional("nvmlDeviceGetMaxMigDeviceCount", gpu.handle, default=0)):
        handle = driver.optional("nvmlDeviceGetMigDeviceHandleByIndex", gpu.handle, number)
        uuid = nvml.text(driver.optional("nvmlDeviceGetUUID", handle, default="")) if handle is not None else ""
        instance = driver.optional("nvmlDeviceGetGpuInstanceId", handle) if uuid in devices else None
        if instance is not None:
            found[uuid] = int(instance)
    return found


def _parts(driver: Nvml, gpus: Sequence[Gpu], devices: Sequence[str], patience: float) -> Parts:
    """Of all GPUs the MIG devices that are among ``devices``."""
    found: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for gpu, own in zip(gpus, each(gpus, lambda gpu: instances(driver, gpu, devices), patience), strict=True):
        for uuid, instance in own.items() if isinstance(own, dict) else ():
            found[gpu.uuid, instance].append(uuid)
    return found


def _findings(answer: Look | Exception, rules: Rules) -> tuple[Finding, ...]:
    if isinstance(answer, Look):
        return health.seen(answer, rules)
    return (Finding("answer", str(answer) if isinstance(answer, NoAnswer) else f"{type(answer).__name__}: {answer}"),)


_watches: dict[str, Watch] = {}


def watch(root: str) -> Watch:
    """The watch over the driver under ``root``, one for the life of this process."""
    return _watches.setdefault(root, Watch(root))
