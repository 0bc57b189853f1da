"""Limits texts as the interposer understands them: the same parser, for tests and for checking before a start.

Writing them is the plugins' subject.
"""

from typing import Any

from attrs import frozen

from hami_native.abi import MESSAGE, ffi, reader, text

POLICIES = ("default", "force", "disable")  # enum vgpu_policy
OOMS = ("refuse", "kill")  # enum vgpu_oom
REASONS = (  # enum vgpu_closed
    *("open", "empty", "truncated", "version", "too long", "syntax", "grant", "section", "uuid", "number", "missing"),
    *("duplicate", "devices", "value", "absent", "unreadable"),
)


class LimitsError(ValueError):
    """A text that grants nothing. `reason` is one of REASONS, `line` counts from 1, 0 is the text as a whole."""

    def __init__(self, reason: str, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.reason = reason
        self.line = line


@frozen
class LimitsDevice:
    """One granted device. Memory in bytes, cores in percent; `physical` and `context` are 0 where not told."""

    uuid: str
    memory: int
    physical: int
    cores: int
    context: int


@frozen
class Limits:
    """What one container may use of the devices of kind nvidia."""

    grant: str
    devices: tuple[LimitsDevice, ...]
    policy: str
    priority: int
    oom: str


def parse_limits(content: str | bytes) -> Limits:
    """Read a limits text as the interposer would. Raises LimitsError for whatever it would treat as closed."""
    raw = content.encode() if isinstance(content, str) else content
    limits = ffi().new("struct hami_limits *")
    line = ffi().new("uint32_t *")
    message = ffi().new("char[]", MESSAGE)
    closed = reader().hami_limits_parse(ffi().from_buffer(raw), len(raw), limits, line, message)
    if closed:
        raise LimitsError(REASONS[closed], line[0], text(message))
    return Limits(
        grant=text(limits.grant),
        devices=tuple(_device(limits.devices[i]) for i in range(limits.device_count)),
        policy=POLICIES[limits.policy],
        priority=limits.priority,
        oom=OOMS[limits.oom],
    )


def _device(device: Any) -> LimitsDevice:
    return LimitsDevice(
        uuid=text(device.uuid),
        memory=device.memory,
        physical=device.physical,
        cores=device.cores,
        context=device.context,
    )
