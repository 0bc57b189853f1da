"""Encodings: what was written is read back; what is faulty is refused with the path of the fault."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from hami_core import names, wire
from hami_core.errors import WireError
from hami_core.model import Capacity, Device, DeviceInventory, Grant, Holding, Link, NodeDevices, Share
from tests.core.fleet import a_capacity, a_device, a_share, an_inventory

WORD = st.text(min_size=1, max_size=8)
IDS = st.from_regex(r"\A[A-Za-z0-9:/_.-]{1,40}\Z")
NUMBER = st.integers(0, 2**53)
DEVICES = st.builds(
    Device,
    id=IDS,
    index=NUMBER,
    model=WORD,
    memory=NUMBER,
    cores=NUMBER,
    numa=st.none() | NUMBER,
    bus=st.text(max_size=8),
    sick=st.text(max_size=8),
)
LINKS = st.builds(Link, a=WORD, b=WORD, type=WORD, lanes=NUMBER, score=st.integers(0, 2**24))
INVENTORIES = st.builds(
    DeviceInventory,
    kind=WORD,
    devices=st.lists(DEVICES, max_size=3).map(tuple),
    links=st.lists(LINKS, max_size=2).map(tuple),
    faults=st.lists(WORD, max_size=2).map(tuple),
)
CAPACITIES = st.builds(
    Capacity,
    device=IDS,
    model=WORD,
    slots=NUMBER,
    memory=NUMBER,
    physical=NUMBER,
    numa=st.none() | NUMBER,
    healthy=st.booleans(),
    overhead=NUMBER,
    extra=st.lists(st.tuples(WORD, st.floats(allow_nan=False, allow_infinity=False)), max_size=2).map(tuple),
)
NODES = st.builds(
    NodeDevices,
    inventory=INVENTORIES,
    capacities=st.lists(
        st.tuples(WORD, st.lists(CAPACITIES, max_size=2, unique_by=lambda one: one.device).map(tuple)), max_size=2
    ).map(tuple),
)
SHARES = st.builds(
    Share,
    container=st.just("main"),
    kind=st.sampled_from(("acme", "nvidia")),
    device=IDS,
    memory=NUMBER,
    physical=NUMBER,
    cores=st.integers(0, 100),
    overhead=NUMBER,
    exclusive=st.booleans(),
    splitting=st.sampled_from(("share", "mig")),
    phases=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True).map(tuple),
)
HOLDINGS = st.builds(Holding, uid=WORD, name=WORD, namespace=WORD, shares=st.lists(SHARES, max_size=3).map(tuple)).map(
    lambda holding: evolve(holding, shares=tuple(evolve(one, options=(("priority", "1"),)) for one in holding.shares))
)


# --- JSON ------------------------------------------------------------------------------------------------------------


@given(NODES)
def test_a_node_s_devices_are_read_back(value: NodeDevices) -> None:
    assert wire.decode(NodeDevices, wire.encode(value), "devices") == value


@given(HOLDINGS)
def test_a_holding_is_read_back(value: Holding) -> None:
    assert wire.decode(Holding, wire.encode(value), "holding") == value


def test_json_carries_its_version_first_and_full_field_names() -> None:
    text = wire.encode(an_inventory(a_device()))

    assert text.startswith('{"v":1,"kind":"acme","devices":[{"id":"d0","index":0,"model":"One","memory":8000,')


def test_keys_of_a_later_build_are_ignored() -> None:
    raw = json.loads(wire.encode(an_inventory(a_device())))
    raw["colour"] = "blue"
    raw["devices"][0]["warp"] = {"factor": 9}

    assert wire.decode(DeviceInventory, json.dumps(raw), "devices") == an_inventory(a_device())


def test_fields_with_a_default_may_be_missing() -> None:
    text = '{"v":1,"kind":"acme","devices":[{"id":"d0","index":0,"model":"One","memory":8000}]}'

    assert wire.decode(DeviceInventory, text, "devices") == an_inventory(a_device())


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("", "$", "no JSON"),
        ("[" * 100_000, "$", "no JSON"),
        ("\udce4", "$", "no JSON"),
        ("[]", "$", "must be a JSON object"),
        ("null", "$", "must be a JSON object"),
        ("{}", "$.v", "version None is unknown, this build reads version 1"),
        ('{"v":2,"kind":"acme","devices":[]}', "$.v", "version 2 is unknown"),
        ('{"v":true,"kind":"acme","devices":[]}', "$.v", "version True is unknown"),
        ('{"v":"1","kind":"acme","devices":[]}', "$.v", "version '1' is unknown"),
        ('{"v":1,"devices":[]}', "$.kind", "required field missing"),
        ('{"v":1,"kind":"acme","devices":{}}', "$.devices", "{} is no list"),
        (
            '{"v":1,"kind":"acme","devices":[{"id":"d 0","index":0,"model":"One","memory":8000}]}',
            "$.devices[0]",
            "Device: the id 'd 0' cannot be",
        ),
        (
            '{"v":1,"kind":"acme","devices":[{"id":"d0","index":0,"model":"One","memory":-8}]}',
            "$.devices[0]",
            "Device d0: memory must be a whole number of at least 0, not -8",
        ),
        ('{"v":1,"kind":"acme","devices":"d0"}', "$.devices", "'d0' is no list"),
        (
            '{"v":1,"kind":"acme","devices":[{"id":"a","index":0,"model":"m","memory":7.9}]}',
            "$.devices[0].memory",
            "7.9 is no int",
        ),
        ('{"v":1,"kind":"acme","devices":[{"id":5,"index":0,"model":"m","memory":7}]}', "$.devices[0].id", "5 is no str"),
        (
            '{"v":1,"kind":"acme","devices":[{"id":"a","index":true,"model":"m","memory":7}]}',
            "$.devices[0].index",
            "True is no int",
        ),
        ('{"v":1,"kind":"acme","devices":[],"links":[{"a":"x","b":"y"}]}', "$.links[0].type", "required field missing"),
        ('{"v":1,"kind":"acme","devices":[null]}', "$.devices[0]", ""),
    ],
    ids=range(19),
)
def test_a_fault_is_named_with_its_path(text: str, path: str, words: str) -> None:
    with pytest.raises(WireError) as caught:
        wire.decode(DeviceInventory, text, "devices")

    assert (caught.value.path, caught.value.what) == (path, "devices")
    assert words in caught.value.message
    assert str(caught.value).startswith(f"devices @ {path}: ")


@given(
    st.binary(max_size=60)
    | st.text(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | NUMBER | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("v", "kind", "devices", "id")), inner),
    ).map(json.dumps)
)
def test_nothing_but_a_wire_error_is_raised(text: str | bytes) -> None:
    try:
        wire.decode(DeviceInventory, text, "devices")
    except WireError as error:
        assert error.path.startswith("$")


# --- The limits text -------------------------------------------------------------------------------------------------


def test_the_limits_text_is_written_as_the_grammar_says() -> None:
    share = a_share("GPU-1", memory=3000, physical=8000, cores=30)
    grant = Grant("main", "acme", "GPU-1", "device GPU-1 memory=3145728000\npolicy=default\n")

    assert wire.limits_text("0b7c/main", [share], [grant]) == (
        "hami-limits 1\n"
        "grant 0b7c/main\n"
        "[hami]\n"
        "share kind=acme splitting=share device=GPU-1 memory=3000 physical=8000 cores=30 overhead=0 phases=0\n"
        "[acme]\n"
        "device GPU-1 memory=3145728000\n"
        "policy=default\n"
        "end\n"
    )


def test_a_kind_without_a_section_is_not_in_the_limits_text() -> None:
    assert "[acme]" not in wire.limits_text("0b7c/main", [], [Grant("main", "acme", "d0")])


@given(st.lists(SHARES, max_size=4))
def test_shares_are_read_back_from_the_limits_text(shares: list[Share]) -> None:
    text = wire.limits_text("0b7c/main", shares, [Grant("main", "acme", "d0", "share kind=other\n")])

    assert wire.shares(text, "main", "grant") == tuple(shares)


LIMITS = wire.limits_text("0b7c/main", [a_share()], [Grant("main", "acme", "d0", "device d0\n")])


@pytest.mark.parametrize("length", range(len(LIMITS)))
def test_a_truncated_limits_text_is_refused_wherever_it_ends(length: int) -> None:
    with pytest.raises(WireError, match="line"):
        wire.shares(LIMITS[:length], "main", "grant")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"grant @ line 1: '' is not '{names.LIMITS_HEADER}'"),
        (LIMITS.replace("limits 1", "limits 2"), "grant @ line 1: 'hami-limits 2' is not 'hami-limits 1'"),
        (LIMITS.removesuffix("end\n"), "the text is truncated: its last line must be 'end'"),
        (f"{LIMITS}more", "the text is truncated: its last line must be 'end'"),
        (LIMITS.replace("memory=3000", "memory=lots"), "is no share: invalid literal"),
        (LIMITS.replace("memory=3000", "memory=-1"), "is no share: -1 is not a number from 0 to 9007199254740992"),
        (LIMITS.replace("cores=0", f"cores={10**30}"), f"is no share: {10**30} is not a number from 0 to 9007199254740992"),
        (LIMITS.replace("memory=3000 ", ""), "is no share: 'memory'"),
    ],
    ids=["empty", "version", "truncated", "more", "number", "negative", "too large", "missing"],
)
def test_a_limits_text_that_cannot_be_read_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(WireError) as caught:
        wire.shares(text, "main", "grant")

    assert message in str(caught.value)


def test_a_node_of_eight_devices_is_small_enough_for_an_annotation() -> None:
    devices = tuple(a_device(index, id=f"GPU-{index:036}", model="NVIDIA H100 80GB HBM3") for index in range(8))
    offered = tuple(a_capacity(device.id, model=device.model) for device in devices)

    text = wire.encode(NodeDevices(an_inventory(*devices), (("share", offered),)))

    assert len(text) < 262_144 / 20  # the API server's limit for all annotations of an object, and much room beside us
