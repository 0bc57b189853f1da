"""The limits text: what opens a grant, and that everything else closes it with a sentence."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hami_native import Limits, LimitsDevice, LimitsError, parse_limits
from tests.native.harness import device, limits_text, uuid

TEXT = limits_text(device(0, memory=3145728000, context=5), device(1))

# (what is replaced in TEXT, by what, why it closes then, what the sentence says)
WRONG = [
    (TEXT, "", "empty", "nothing is granted"),
    ("hami-limits 1", "hami-limits 2", "version", "line 1: "),
    ("hami-limits 1", "", "version", "`hami-limits 1`"),
    ("end\n", "", "truncated", "the last line is not `end`"),
    ("end\n", "en", "truncated", "the last line is not `end`"),
    ("grant pod/main", "grant ", "grant", "grant <pod uid>/<container>"),
    ("grant pod/main", "grant a b", "grant", "line 2: "),
    ("grant pod/main", "grant ..", "grant", ".."),
    ("grant pod/main", "grant " + "x" * 256, "grant", "give"),
    ("grant pod/main\n", "", "grant", "line 2: "),
    ("[nvidia]", "[acme]", "section", "no section [nvidia]"),
    ("end\n", "[nvidia]\nend\n", "section", "twice"),
    ("GPU-0", "gpu-0", "uuid", "8-4-4-4-12"),
    (uuid(0), "GPU-1234", "uuid", '"GPU-1234"'),
    (uuid(1), uuid(0), "duplicate", "given twice"),
    ("memory=3145728000", "memory=", "number", "memory=: give bytes"),
    ("memory=3145728000", "memory=0", "number", "at least 1"),
    ("memory=3145728000", "memory=3Gi", "number", "memory=3Gi: give bytes as a plain number"),
    ("memory=3145728000", "memory=-1", "number", "memory=-1"),
    ("memory=3145728000", "memory=+1", "number", "memory=+1"),
    ("memory=3145728000", "memory=0x10", "number", "memory=0x10"),
    ("memory=3145728000", "memory=18446744073709551617", "number", "below 2^56"),
    ("memory=3145728000", "memory=72057594037927936", "number", "below 2^56"),
    ("memory=3145728000 ", "", "missing", "without memory="),
    ("cores=100 context=5", "context=5", "missing", "without cores="),
    ("cores=100 context=5", "cores=101", "number", "from 0 to 100"),
    ("cores=100 context=5", "cores=100 cores=100", "duplicate", "cores= is given twice"),
    ("cores=100 context=5", "cores=100 context", "syntax", "no key=value"),
    ("cores=100 context=5", "cores=100  context=5", "syntax", "no key=value"),
    ("policy=default", "policy=never", "value", "give default, force or disable"),
    ("policy=default", "policy=default\npolicy=force", "duplicate", "policy= is given twice"),
    ("oom=refuse", "oom=", "value", "give refuse or kill"),
    ("priority=1", "priority=high", "number", "priority=high"),
    ("priority=1", "priority=4294967296", "number", "give a plain number"),
    ("priority=1", "priority", "syntax", "neither a device nor key=value"),
    ("priority=1", "", "syntax", "neither"),
    ("priority=1\n", "priority=1\r\n", "number", "priority=1?"),
    ("end\n", "end\nmore\nend\n", "syntax", "nothing may follow"),
    ("end\n", "end\n\n", "truncated", "`end`"),
]


def closed(text: str | bytes) -> LimitsError:
    with pytest.raises(LimitsError) as caught:
        parse_limits(text)
    return caught.value


def test_a_whole_text_is_read() -> None:
    assert parse_limits(TEXT) == Limits(
        grant="pod/main",
        devices=(
            LimitsDevice(uuid(0), memory=3145728000, physical=16 << 30, cores=100, context=5),
            LimitsDevice(uuid(1), memory=1 << 30, physical=16 << 30, cores=100, context=0),
        ),
        policy="default",
        priority=1,
        oom="refuse",
    )


def test_the_last_newline_may_be_missing() -> None:
    assert parse_limits(TEXT.removesuffix("\n")) == parse_limits(TEXT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("policy=default", "policy=force"),
        ("oom=refuse", "oom=kill"),
        ("priority=1", "priority=0"),
        ("priority=1\n", ""),
        ("policy=default", "unknown=word\npolicy=default"),
        (" context=5", " context=5 flavour=sweet"),
        ("[nvidia]", "[acme]\nanything at all\n[nvidia]"),
        ("end\n", "[acme]\ndevice whatever\nend\n"),
    ],
)
def test_what_may_vary_opens(old: str, new: str) -> None:
    assert parse_limits(TEXT.replace(old, new)).grant == "pod/main"


@pytest.mark.parametrize(("old", "new", "reason", "sentence"), WRONG)
def test_what_is_wrong_closes_and_is_named(old: str, new: str, reason: str, sentence: str) -> None:
    error = closed(TEXT.replace(old, new, 1) if old else new)

    assert error.reason == reason
    assert sentence in str(error)


def test_sixteen_devices_open_and_seventeen_close() -> None:
    assert len(parse_limits(limits_text(*(device(n) for n in range(16)))).devices) == 16
    assert closed(limits_text(*(device(n) for n in range(17)))).reason == "devices"


def test_no_device_closes() -> None:
    assert closed("hami-limits 1\ngrant a/b\n[nvidia]\nend\n").reason == "devices"


def test_a_text_that_is_too_long_closes() -> None:
    assert closed(TEXT.replace("end\n", "x" * 65536 + "\nend\n")).reason == "too long"


def test_a_zero_byte_is_like_any_other_wrong_byte() -> None:
    assert closed(TEXT.encode().replace(b"priority=1", b"priority=1\0")).reason == "number"


@given(st.integers(0, len(TEXT) - 2))
def test_every_truncation_closes(length: int) -> None:
    assert closed(TEXT[:length]).line >= 0


@given(st.binary(max_size=400))
@example(b"hami-limits 1\ngrant a/b\n[nvidia]\ndevice \nend\n")
def test_any_bytes_open_or_close_with_a_printable_sentence(content: bytes) -> None:
    try:
        parse_limits(content)
    except LimitsError as error:
        assert str(error).isprintable()


@given(
    st.lists(st.sampled_from(TEXT.splitlines(keepends=True)), max_size=12),
    st.text(alphabet="=/ []-0aGPUend\n", max_size=6),
    st.integers(0, 400),
)
def test_shuffled_and_spoilt_lines_never_open_without_a_limit(lines: list[str], spoil: str, at: int) -> None:
    text = "".join(lines)
    try:
        limits = parse_limits(text[:at] + spoil + text[at:])
    except LimitsError:
        return
    assert limits.devices
    assert all(d.memory > 0 and d.cores <= 100 for d in limits.devices)


@given(
    st.lists(
        st.builds(
            LimitsDevice,
            uuid=st.uuids().map("GPU-{}".format) | st.uuids().map("MIG-{}".format),
            memory=st.integers(1, 2**56 - 1),
            physical=st.integers(0, 2**56 - 1),
            cores=st.integers(0, 100),
            context=st.integers(0, 2**56 - 1),
        ),
        min_size=1,
        max_size=16,
        unique_by=lambda d: d.uuid[4:],
    ),
    st.sampled_from(["default", "force", "disable"]),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["refuse", "kill"]),
)
def test_what_is_written_is_read(devices: list[LimitsDevice], policy: str, priority: int, oom: str) -> None:
    lines = [f"device {d.uuid} memory={d.memory} physical={d.physical} cores={d.cores} context={d.context}" for d in devices]
    text = "\n".join(
        ["hami-limits 1", "grant a/b", "[nvidia]", *lines, f"policy={policy}", f"priority={priority}", f"oom={oom}", "end"]
    )

    assert parse_limits(text) == Limits("a/b", tuple(devices), policy, priority, oom)
