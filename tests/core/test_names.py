"""Strings that cross processes: pinned, because others have written them down already."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hami_core import names

UID = st.from_regex(r"\A[0-9a-f-]{1,36}\Z")
LABEL = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?\Z")


def test_annotation_keys() -> None:
    assert names.grant_key("train") == "grant.hami.io/train"
    assert names.visible_key("acme", "train") == "acme.hami.io/train"
    assert names.inventory_key("acme") == "devices.hami.io/acme"
    assert names.NODE_POLICY == "hami.io/node-scheduler-policy"
    assert names.DEVICE_POLICY == "hami.io/gpu-scheduler-policy"


def test_keys_of_admission() -> None:
    assert names.PREPARED == "hami.io/prepared"
    assert names.WEBHOOK == "hami.io/webhook"
    assert names.DEFAULTED == "hami.io/defaulted"
    assert names.defaulted_amount("train", "acme.example/memory", 5000) == "train:acme.example/memory=5000"


@given(st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z"), st.from_regex(r"\A[a-z0-9]([-a-z0-9]{45,61}[a-z0-9])\Z"))
def test_grant_volumes_of_two_containers_are_two_labels_of_kubernetes(one: str, other: str) -> None:
    found = {names.grant_volume(one), names.grant_volume(other)}

    assert len(found) == len({one, other})
    assert all(len(name) <= 63 and name[-1].isalnum() for name in found)


def test_the_limits_file() -> None:
    assert (names.LIMITS_HEADER, names.LIMITS_END) == ("hami-limits 1", "end")
    assert names.LIMITS_PATH == "/etc/hami/grant/limits"
    assert names.REGION_FOLDER == "/var/lib/hami/region"


@given(st.tuples(UID, LABEL), st.tuples(UID, LABEL))
def test_region_files_of_two_grants_are_two(one: tuple[str, str], other: tuple[str, str]) -> None:
    files = {names.region_file(names.grant_id(*grant)) for grant in (one, other)}

    assert len(files) == len({one, other})
    assert not any("/" in file for file in files)
