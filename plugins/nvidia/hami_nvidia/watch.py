"""Watching the GPUs of one driver over time: events since the last look, a look at each GPU, and the records that both feed.

``Watch`` has one owner, the process that is asked for health again and again; what findings mean is in ``health``. Events are
heard from the first look on: what happened before shows in what a GPU says of itself, or not at all.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from attrs import define, field

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


@define(eq=False)
class Watch:
    """The watch over one driver's GPUs."""

    root: str
    opened: Callable[[str], Nvml | None] = nvml.session
    closed: Callable[[], None] = nvml.close
    clock: Callable[[], float] = time.monotonic
    records: dict[str, Record] = field(factory=dict)
    _indices: dict[str, int] = field(factory=dict)  # by uuid, as last seen
    _nvml: Nvml | None = None
    _events: Any = None  # the event set of _nvml
    _hearing: Backoff = field(factory=Backoff)
    _finding: Backoff = field(factory=Backoff)
    _lost: bool = False

    def check(self, devices: Sequence[str], rules: Rules, recovery: float, patience: float) -> dict[str, str]:
        """Device -> reason for those that are sick now. ``recovery``: seconds without a finding until one is well again.

        DriverError: the driver fails as a whole; that says nothing of any device.
        """
        now = self.clock()
        driver = self._session(now)
        if driver is None:
            return {}
        gpus, silent = present(driver, patience)
        self._indices |= driver.known
        looks = each(gpus, lambda gpu: look(driver, gpu), patience)
        for gpu, answer in zip(gpus, looks, strict=True):
            note(driver, gpu.index, answer)
            if isinstance(answer, DriverError):
                self._nvml = None
                self.closed()
                raise answer
        parts = each(gpus, lambda gpu: instances(driver, gpu, devices), patience)
        parent = {part: gpu.uuid for gpu, own in zip(gpus, parts, strict=True) if isinstance(own, dict) for part in own}
        events, deaf = self._heard(driver, gpus, _instance_ids(gpus, parts), patience, now)
        found = {gpu.uuid: _findings(answer, rules) for gpu, answer in zip(gpus, looks, strict=True)}
        for device in devices:
            if device not in found and device not in parent:
                why = silent.get(self._indices.get(device, -1), "the driver does not list it")
                found[device] = (Finding("answer", why),)
        self._lost = any(finding.cause == "answer" for findings in found.values() for finding in findings)
        for device in {*devices, *found}:
            record = health.happened(self.records.get(device, Record()), events.get(device, ()), rules, now)
            self.records[device] = health.looked(record, found.get(device, ()), now, recovery, deaf)
        return {device: reason for device in devices if (reason := self._reason(device, parent))}

    def _reason(self, device: str, parent: Mapping[str, str]) -> str:
        """A part of a GPU is as sick as the whole, or sick by itself."""
        whole = self.records.get(parent.get(device, ""), Record())
        return self.records[device].sick or whole.sick

    def _session(self, now: float) -> Nvml | None:
        """The driver; started anew now and then while a GPU is lost, because only a new session finds it again."""
        if self._lost and self._finding.due(now):
            self._finding.failed(now)
            self.closed()
        if not self._lost:
            self._finding.worked()
        driver = self.opened(self.root)
        if driver is not self._nvml:
            self._nvml, self._events = driver, None
        return driver

    def _heard(
        self, driver: Nvml, gpus: Sequence[Gpu], ids: Mapping[tuple[str, int], Sequence[str]], patience: float, now: float
    ) -> tuple[Mapping[str, Sequence[Event]], bool]:
        """What happened by device, and whether that could not be had: then the set is made anew, with back-off."""
        if not self._hearing.due(now):
            return {}, True
        (heard,) = each([None], lambda _: self._drained(driver, gpus), patience)
        if isinstance(heard, Exception):
            self._events = None
            self._hearing.failed(now)
            return {}, True
        self._hearing.worked()
        uuids = {nvml.address(gpu.handle): gpu.uuid for gpu in gpus}
        by_device: defaultdict[str, list[Event]] = defaultdict(list)
        for data in heard:
            uuid = uuids.get(nvml.address(data.device)) or driver.optional("nvmlDeviceGetUUID", data.device, default="")
            for device in _concerned(nvml.text(uuid), data, ids):
                by_device[device].append(Event(int(data.eventType), int(data.eventData)))
        return by_device, False

    def _drained(self, driver: Nvml, gpus: Sequence[Gpu]) -> list[Any]:
        """What has happened since the last time. Refused: the set is broken."""
        if self._events is None:
            self._events = listening(driver, gpus)
        heard: list[Any] = []
        while self._events is not None and len(heard) < MOST:
            try:
                heard.append(driver.ask("nvmlEventSetWait", self._events, 0))
            except Refused as error:
                if error.code == nvml.TIMEOUT:
                    break
                driver.optional("nvmlEventSetFree", self._events)
                raise
        return heard


def listening(driver: Nvml, gpus: Sequence[Gpu]) -> Any:
    """A set in which events of these GPUs arrive; None: this driver has no events. Which GPUs have none is their affair."""
    try:
        made = driver.ask("nvmlEventSetCreate")
    except Refused as error:
        if error.code in HARMLESS:
            return None
        raise
    for gpu in gpus:
        wanted = health.EVENTS & driver.optional("nvmlDeviceGetSupportedEventTypes", gpu.handle, default=0)
        if wanted:
            driver.optional("nvmlDeviceRegisterEvents", gpu.handle, wanted, made)
    return made


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


def _instance_ids(gpus: Sequence[Gpu], parts: Sequence[Any]) -> dict[tuple[str, int], list[str]]:
    """(uuid of the GPU, id of the GPU instance) -> its MIG devices."""
    ids: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for gpu, own in zip(gpus, parts, strict=True):
        for uuid, instance in own.items() if isinstance(own, dict) else ():
            ids[gpu.uuid, instance].append(uuid)
    return dict(ids)


def _concerned(uuid: str, data: Any, ids: Mapping[tuple[str, int], Sequence[str]]) -> Sequence[str]:
    """The devices that an event is about: those of a GPU instance where it names one whole, else the GPU."""
    if NO_INSTANCE not in (data.gpuInstanceId, data.computeInstanceId):
        return ids.get((uuid, int(data.gpuInstanceId)), (uuid,))
    return (uuid,)


def _findings(answer: Look | Exception, rules: Rules) -> tuple[Finding, ...]:
    if isinstance(answer, Look):
        return health.seen(answer, rules)
    return (Finding("answer", str(answer) if isinstance(answer, NoAnswer) else f"{type(answer).__name__}: {answer}"),)


_watches: dict[str, Watch] = {}


def watch(root: str) -> Watch:
    """The watch over the driver under ``root``, one for the life of this process."""
    return _watches.setdefault(root, Watch(root))
