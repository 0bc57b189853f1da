"""Values that cannot be made wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from hami_core import model
from hami_core.model import Grant, Link, NodeDevices, Policy, Reason, Resources
from tests.core.fleet import a_capacity, a_device, a_kind, a_request, an_inventory

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("name", ["acme", "a", "a-1", "x" * 32])
def test_the_name_of_a_kind_is_a_dns_label(name: str) -> None:
    assert a_kind(name).name == name


@pytest.mark.parametrize("name", ["", "Acme", "acme.example", "-a", "a-", "1a", "a_b", "x" * 33, "acme\n"])
def test_a_name_that_is_no_dns_label_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        a_kind(name)


@pytest.mark.parametrize("name", ["grant", "devices", "hami"])
def test_no_kind_may_take_the_core_s_own_prefixes(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        a_kind(name)


@pytest.mark.parametrize("numbers", [{"memory": None, "percent": None}, {"memory": 3000, "percent": 50}], ids=str)
def test_a_request_has_memory_or_percent(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either memory or percent"):
        a_request(**numbers)


def test_a_request_of_no_device_is_none() -> None:
    with pytest.raises(ValueError, match="count"):
        a_request(count=0)


def test_a_policy_is_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="node"):
        Policy(node="fullest")


def test_names_lists_those_in_use_the_count_first() -> None:
    assert Resources(count="c", cores="k").names() == ("c", "k")


@pytest.mark.parametrize("section", ["", "device d0 memory=1\n", "a=b\nc=d\n", "ending\n"])
def test_a_section_is_whole_lines(section: str) -> None:
    assert Grant("main", "acme", "d0", section).section == section


@pytest.mark.parametrize(
    "section", ["a=b", "a\n\nb\n", "end\n", "a\nend \n", "[other]\n", "a\r\n", "ä\n", "a\x00\n", "\n"], ids=repr
)
def test_a_section_cannot_speak_for_another(section: str) -> None:
    with pytest.raises(ValueError, match="section"):
        Grant("main", "acme", "d0", section)


def test_codes_of_reasons_are_stable_and_fit_a_byte() -> None:
    codes = {reason.name: reason.value for reason in Reason}

    assert codes == {
        "FITS": 0,
        "NO_DEVICE": 10,
        "COUNT": 20,
        "MODEL": 22,
        "ID": 24,
        "HEALTH": 30,
        "CORDON": 32,
        "SIZE": 40,
        "SLOTS": 70,
        "IN_USE": 75,
        "MEMORY": 80,
        "CORES": 90,
        "NUMA": 100,
    }
    assert max(codes.values()) < 128


@pytest.mark.parametrize("cls", [one for one in vars(model).values() if attrs.has(one)], ids=lambda cls: cls.__name__)
def test_every_value_is_frozen(cls: Any) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        object.__new__(cls).anything = 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a_device(id="GPU 0"), "Device: the id 'GPU 0' cannot be: ids stand in comma lists"),
        (lambda: a_device(id="a,b"), "Device: the id 'a,b' cannot be"),
        (lambda: a_device(id=""), "Device: the id '' cannot be"),
        (lambda: a_device(id=7), "Device: the id 7 cannot be"),
        (lambda: a_device(memory=-1), "Device d0: memory must be a whole number of at least 0, not -1"),
        (lambda: a_device(memory=1.5), "Device d0: memory must be a whole number of at least 0, not 1.5"),
        (lambda: a_capacity("a\nb"), "Capacity: the id 'a\\\\nb' cannot be"),
        (lambda: a_capacity(memory=-8), "Capacity d0: memory must be a whole number of at least 0, not -8"),
        (lambda: a_capacity(memory=2**53 + 1), "Capacity d0: memory must be at most 9007199254740992, not 9007199254740993"),
        (lambda: a_device(numa=2**70), "Device: numa must be the number of a node, or nothing, not 1180591620717411303424"),
        (
            lambda: NodeDevices(an_inventory(), (("share", (a_capacity("d0"), a_capacity("d1"), a_capacity("d0"))),)),
            "NodeDevices: the splitting share lists the device d0 twice",
        ),
        (lambda: Link("a", "b", "wire", score=-1), "Link a: score must be a whole number of at least 0, not -1"),
    ],
    ids=range(12),
)
def test_an_id_or_a_number_that_cannot_be_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
