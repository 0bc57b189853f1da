"""Descriptions of machines: what they mean, and what a mistake in one is answered with."""

from __future__ import annotations

import re

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from hami_mock import description
from hami_mock.description import load, parse
from hami_mock.toml_table import DescriptionError

SMALL = """
schema = "hami-mock/v1"
machine = "small"
driver = {version = "580.65.06", nvml = "13.580.65.06", cuda = 13000}
defaults = {profile = "t4"}

[[gpus]]
index = 0
bus = "0000:3B:00.0"

[[gpus]]
index = 1
bus = "0000:5E:00.0"
"""
SECOND = "[[gpus]]\nindex = 1"


@pytest.mark.parametrize(
    ("name", "gpus", "model", "memory"),
    [
        ("t4-node", 1, "Tesla T4", 15360),
        ("t4x4", 4, "Tesla T4", 15360),
        ("dgx-a100", 8, "NVIDIA A100-SXM4-40GB", 40960),
        ("dgx-a100-80gb", 8, "NVIDIA A100-SXM4-80GB", 81920),
        ("dgx-h100", 8, "NVIDIA H100 80GB HBM3", 81559),
        ("h200", 8, "NVIDIA H200", 143771),
        ("b200", 8, "NVIDIA B200", 183359),
        ("gb200", 4, "NVIDIA GB200", 189471),
        ("l40s-node", 4, "NVIDIA L40S", 46068),
        ("a30-node", 2, "NVIDIA A30", 24576),
        ("rtxpro6000", 2, "NVIDIA RTX PRO 6000 Blackwell Server Edition", 97887),
        ("no-gpus", 0, "", 0),
    ],
)
def test_the_shipped_machines_are_what_they_are_called(name: str, gpus: int, model: str, memory: int) -> None:
    found = load(name)

    assert found.machine == name
    assert [(gpu.profile.name, gpu.profile.memory) for gpu in found.gpus] == [(model, memory)] * gpus


def test_every_shipped_machine_can_be_loaded() -> None:
    assert [load(name).machine for name in description.shipped()] == list(description.shipped())


def test_what_is_left_out_has_a_default() -> None:
    first, second = parse(SMALL, "small.toml").gpus

    assert (first.minor, first.numa, first.serial) == (0, -1, "")
    assert evolve(second, profile=first.profile) == evolve(
        first, index=1, minor=1, bus=0x5E, uuid=description.default_uuid("small", 1)
    )


def test_uuids_are_the_same_everywhere_and_differ_by_machine_and_index() -> None:
    uuids = {description.default_uuid(machine, index) for machine in ("a", "b") for index in range(16)}

    assert len(uuids) == 32
    assert all(description.UUID.fullmatch(uuid) for uuid in uuids)
    assert description.default_uuid("t4-node", 0) == "GPU-d7a97d47-b700-90ee-084b-834fa9f711b8"


def test_a_profile_extends_a_shipped_one() -> None:
    text = (
        SMALL.replace('"t4"', '"big-t4"')
        + '[profiles.big-t4]\nextends = "t4"\nmemory_mib = 99999\nattributes = {warp_size = 64}\n'
    )

    big, t4 = parse(text, "x").gpus[0].profile, load("t4-node").gpus[0].profile

    assert (big.memory, big.name, big.arch) == (99999, t4.name, t4.arch)
    assert dict(big.attributes) == {**dict(t4.attributes), 10: 64}


def test_a_profile_may_extend_the_shipped_one_of_its_own_name() -> None:
    text = SMALL + '[profiles.t4]\nextends = "t4"\nmemory_mib = 16384\n'

    assert [gpu.profile.memory for gpu in parse(text, "x").gpus] == [16384, 16384]


def test_gpus_may_have_different_profiles() -> None:
    text = SMALL.replace('bus = "0000:5E:00.0"', 'bus = "0000:5E:00.0"\nprofile = "a100-sxm4-40gb"')

    assert [gpu.profile.memory for gpu in parse(text, "x").gpus] == [15360, 40960]


def test_links_are_named_by_pairs_and_the_rest_follows_from_numa() -> None:
    text = SMALL + '[links]\npci = [[1, 0, "PIX"]]\nnvlink = {all_to_all = 2}\n'

    assert parse(text, "x").levels == ((0, 10), (10, 0))
    assert parse(text, "x").nvlinks == ((0, 2), (2, 0))
    assert parse(SMALL, "x").levels == ((0, 50), (50, 0)), "NUMA nodes are not known"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("machine =", "machin =", "small.toml: machin: is no key of this table; did you mean machine?"),
        ("index = 1", "indx = 1", "small.toml: gpus[1].indx: is no key of this table; did you mean index?"),
        ("cuda =", "cude =", "small.toml: driver.cude: is no key of this table; did you mean cuda?"),
        ("hami-mock/v1", "hami-mock/v2", "small.toml: schema: 'hami-mock/v2': should be one of hami-mock/v1"),
        ('profile = "t4"', 'profile = "t44"', "small.toml: defaults.profile: t44: there is no such profile; did you mean t4?"),
        ("defaults = {profile", "defaults = {}#", "small.toml: defaults.profile: is missing: text"),
        ("cuda = 13000", 'cuda = "13.0"', "small.toml: driver.cuda: '13.0': should be a whole number from 11000 to 99990"),
        ("cuda = 13000", "cuda = true", "small.toml: driver.cuda: True: should be a whole number from 11000 to 99990"),
        ("cuda = 13000", "cuda = 13", "small.toml: driver.cuda: 13: should be a whole number from 11000 to 99990"),
        ("index = 1", "index = 2", "small.toml: gpus[1].index: 2: the GPUs are listed by index, and this is number 1"),
        ("index = 1", "index = 1\nminor = 0", "small.toml: gpus[1].minor: is that of gpus[0] already"),
        ("5E", "3B", "small.toml: gpus[1].bus: is that of gpus[0] already"),
        ("0000:5E:00.0", "5E:00", "small.toml: gpus[1].bus: '5E:00': should look like"),
        ('machine = "small"', 'machine = "Small"', "small.toml: machine: 'Small': should look like"),
        ('machine = "small"', 'machine = "host"', "small.toml: machine: host: is the name of the machine without a simulation"),
        ('machine = "small"', "", "small.toml: machine: is missing: text"),
        (
            "[[gpus]]\nindex = 1",
            "[links]\npci = [[0, 1, 'PIZ']]\n[[gpus]]\nindex = 1",
            "links.pci[0]: 'PIZ': should be one of PIX",
        ),
        (
            "[[gpus]]\nindex = 1",
            "[links]\npci = [[0, 7, 'PIX']]\n[[gpus]]\nindex = 1",
            "links.pci[0]: [0, 7, 'PIX']: should be two GPUs",
        ),
        (
            "[[gpus]]\nindex = 1",
            "[links]\nnvlink = {all_to_all = 99}\n[[gpus]]\nindex = 1",
            "links.nvlink.all_to_all: 99: should be a",
        ),
        ("schema =", "schema ==", "small.toml: is no TOML: "),
    ],
)
def test_a_mistake_is_answered_with_its_path_and_what_would_be_right(old: str, new: str, message: str) -> None:
    assert SMALL.count(old) >= 1

    with pytest.raises(DescriptionError, match=f"(^|: ){re.escape(message)}"):
        parse(SMALL.replace(old, new), "small.toml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("memory_mb = 3", "profiles.own.memory_mb: is no key of this table; did you mean memory_mib?"),
        ("memory_mib = -1", "profiles.own.memory_mib: -1: should be a whole number from 1 to 1048576"),
        ('ecc = "yes"', "profiles.own.ecc: 'yes': should be one of none, off, on"),
        ("cc = [8]", "profiles.own.cc: [8]: should be 2 whole numbers from 0 to 99"),
        ("attributes = {warp = 1}", "profiles.own.attributes.warp: is no key of this table; did you mean warp_size?"),
        ('extends = "own"', "profiles.own.extends: own: this profile extends itself by way of own"),
    ],
)
def test_a_mistake_in_a_profile_names_the_profile(line: str, message: str) -> None:
    base = "" if line.startswith("extends") else 'extends = "t4"\n'
    text = SMALL.replace('"t4"', '"own"') + f"[profiles.own]\n{base}{line}\n"

    with pytest.raises(DescriptionError, match=re.escape(message)):
        parse(text, "x")


def test_profiles_that_extend_each_other_are_refused() -> None:
    text = SMALL.replace('"t4"', '"a"') + '[profiles.a]\nextends = "b"\n[profiles.b]\nextends = "a"\n'

    with pytest.raises(DescriptionError, match="extends itself by way of"):
        parse(text, "x")


def test_a_machine_has_at_most_sixteen_gpus() -> None:
    more = "".join(f'[[gpus]]\nindex = {index}\nbus = "0000:{index:02X}:00.0"\n' for index in range(17))

    with pytest.raises(DescriptionError, match="gpus: 17 GPUs: a machine has at most 16"):
        parse(SMALL[: SMALL.index("[[gpus]]")] + more, "x")


def test_a_name_that_nobody_knows_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        DescriptionError, match="t4-nod: no such machine; there are a30-node, b200, dgx-a100, dgx-a100-80gb, dgx-h100, "
    ):
        load("t4-nod")
    with pytest.raises(DescriptionError, match=r"none\.toml: cannot be read"):
        load("none.toml")


@given(text=st.one_of(st.text(), st.sampled_from(SMALL.split()).map(lambda word: SMALL.replace(word, "x", 1))))
def test_no_text_raises_anything_but_our_error(text: str) -> None:
    try:
        parse(text, "x")
    except DescriptionError as error:
        assert str(error).startswith("x: ")
