"""The defaults for whatever an owner leaves open."""

from __future__ import annotations

import pytest

from hami_core import sharing
from hami_core.errors import SettingsError
from hami_core.model import Capacity, Grant, Mounts, Policy
from hami_core.settings import resolve
from tests.core.fleet import ACME, a_device, a_share, an_inventory


def test_a_device_that_nobody_splits_is_one_slot_with_all_its_memory() -> None:
    sick = a_device(1, sick="fell off the bus", numa=1, cores=50)

    assert sharing.hami_split(an_inventory(a_device(), sick)) == [
        Capacity("d0", "One", slots=1, memory=8000, physical=8000),
        Capacity("d1", "One", slots=1, memory=8000, physical=8000, cores=50, numa=1, healthy=False),
    ]


def test_a_grant_names_the_devices_and_the_limits_in_bytes() -> None:
    options = (("priority", "0"),)
    shares = [a_share("d0", cores=30, options=options), a_share("d1", cores=30, options=options)]

    assert sharing.hami_grant(ACME, shares) == Grant(
        "main",
        "acme",
        visible="d0,d1",
        section="device d0 memory=3145728000 physical=8388608000 cores=30\n"
        "device d1 memory=3145728000 physical=8388608000 cores=30\n"
        "priority=0\n",
    )


def test_without_a_grant_no_device_is_visible() -> None:
    assert sharing.hami_mounts(ACME) == Mounts(env=(("ACME_VISIBLE", "void"),))


def test_the_default_policies_are_hami_s_and_come_from_the_settings() -> None:
    classes = {"core": sharing.CoreSettings}
    path = "scheduler.defaultSchedulerPolicy.nodeSchedulerPolicy"

    assert sharing.default_policy(resolve(classes, ())) == Policy("binpack", ("spread",))
    assert sharing.default_policy(resolve(classes, [("", {path: "spread"})])) == Policy("spread", ("spread",))


def test_the_default_device_policy_is_a_list_like_the_pod_s_own() -> None:
    path = "scheduler.defaultSchedulerPolicy.gpuSchedulerPolicy"
    found = resolve({"core": sharing.CoreSettings}, [("", {path: "numa, binpack"})])

    assert sharing.default_policy(found).device == ("numa", "binpack")


def test_a_default_device_policy_that_means_nothing_is_refused_when_settings_are_read() -> None:
    path = "scheduler.defaultSchedulerPolicy.gpuSchedulerPolicy"

    with pytest.raises(SettingsError, match=f"{path}: 'numa,fullest' is not one or more of binpack, spread"):
        resolve({"core": sharing.CoreSettings}, [("a file", {path: "numa,fullest"})])
