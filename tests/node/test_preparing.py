from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from hami_core import names
from hami_core.errors import PluginError
from hami_core.model import Machine, Mount
from hami_core.node.preparing import Preparation, Unprepared
from hami_core.node.regions import Regions
from hami_core.node.tokens import Token
from tests.node.agents import Vendor, site_of

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.site import Site

TOKENS = [Token("card-0", 1)]


def preparation(where: Site, tmp_path: Path) -> Preparation:
    made = Preparation(where, tmp_path / "host", Regions(tmp_path / "host/regions"))
    made.install()
    return made


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    """With a library."""
    (tmp_path / "libacme.so").write_bytes(b"one")
    return Vendor(preload=(str(tmp_path / "libacme.so"),))


def test_libraries_become_files_of_the_container(tmp_path: Path, vendor: Vendor) -> None:
    mounts = preparation(site_of(vendor, tmp_path), tmp_path).prepare("acme", TOKENS)

    assert (mounts.preload, mounts.env) == ((), (("ACME_VISIBLE", "void"),))
    assert [(one.target, one.read_only) for one in mounts.files] == [
        ("/var/lib/hami/lib/libacme.so", True),
        ("/etc/ld.so.preload", True),
        (names.REGION_FOLDER, False),
    ]


def test_a_kind_that_holds_no_limit_inside_needs_no_files(tmp_path: Path) -> None:
    mounts = preparation(site_of(Vendor(), tmp_path), tmp_path).prepare("acme", TOKENS)

    assert mounts.files == ()


def test_what_is_not_installed_is_not_given(tmp_path: Path, vendor: Vendor) -> None:
    (tmp_path / "libacme.so").unlink()
    made = preparation(site_of(vendor, tmp_path), tmp_path)

    with pytest.raises(Unprepared, match=r"acme: the node cannot hold a limit: .*No such file"):
        made.prepare("acme", TOKENS)


def test_what_is_installed_stays_in_use_while_a_new_one_cannot_be(tmp_path: Path, vendor: Vendor) -> None:
    made = preparation(site_of(vendor, tmp_path), tmp_path)
    (tmp_path / "libacme.so").unlink()

    made.install()

    assert "No such file" in made.failure
    assert made.prepare("acme", TOKENS).files


def test_a_version_that_is_given_counts_as_used(tmp_path: Path, vendor: Vendor) -> None:
    made = preparation(site_of(vendor, tmp_path), tmp_path)
    assert made.version
    os.utime(made.version.folder, (1000, 1000))

    made.prepare("acme", TOKENS)

    assert made.version.folder.stat().st_mtime > 1000


def test_a_library_that_the_plugin_did_not_name_at_the_start_is_refused(tmp_path: Path, vendor: Vendor) -> None:
    made = preparation(site_of(vendor, tmp_path), tmp_path)
    vendor.preload = ("/elsewhere/libother.so",)

    with pytest.raises(PluginError, match=r"libother\.so: was not named at the start"):
        made.prepare("acme", TOKENS)


def test_on_a_simulated_machine_its_drivers_are_there(tmp_path: Path) -> None:
    machine = Machine("toy", str(tmp_path / "toy"), env=(("TOY", "1"),), library_path=(str(tmp_path / "toy/lib"),))
    where = evolve(site_of(Vendor(), tmp_path), machine=machine)

    mounts = preparation(where, tmp_path).prepare("acme", TOKENS)

    assert mounts.files == (Mount(machine.folder, machine.folder, read_only=False),)
    assert mounts.env[1:] == (("TOY", "1"), ("LD_LIBRARY_PATH", str(tmp_path / "toy/lib")))
