from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hami_core.errors import PluginError
from hami_core.local import environment
from hami_core.model import Grant, Mounts
from tests.local.acme import Acme, a_container, a_host, a_pod

if TYPE_CHECKING:
    from hami_core.local.host import Host

GRANT = Grant("main", "acme", "card-0", env=(("ACME_ONLY", "card-0"),))


def env(here: Host, *grants: Grant, caller: dict[str, str] | None = None, **fields: Any) -> dict[str, str]:
    (container,) = a_pod(here, a_container(**fields)).containers
    return environment.of(here, container, grants, Path("/g/limits"), caller or {})


def test_a_grant_says_what_is_visible(tmp_path: Path) -> None:
    assert env(a_host(tmp_path), GRANT) == {"HAMI_LIMITS": "/g/limits", "ACME_VISIBLE": "card-0", "ACME_ONLY": "card-0"}


def test_what_was_not_granted_is_hidden_even_if_the_caller_sees_it(tmp_path: Path) -> None:
    assert env(a_host(tmp_path), caller={"ACME_VISIBLE": "all"})["ACME_VISIBLE"] == "void"


def test_the_manifest_comes_before_the_caller_and_behind_the_grant(tmp_path: Path) -> None:
    variables = [
        {"name": "A", "value": "pod"},
        {"name": "HAMI_LIMITS", "value": "/mine"},
        {"name": "ACME_ONLY", "value": "all"},
    ]

    found = env(a_host(tmp_path), GRANT, caller={"A": "caller", "B": "caller"}, env=variables)

    assert (found["A"], found["B"]) == ("pod", "caller")
    assert (found["HAMI_LIMITS"], found["ACME_ONLY"]) == ("/g/limits", "card-0")


def test_preloads_come_first_and_once(tmp_path: Path) -> None:
    library = tmp_path / "lib.so"
    library.touch()
    here = a_host(tmp_path, plugin=Acme([1], Mounts(preload=(str(library),))))

    once = env(here, caller={"LD_PRELOAD": "/x.so /y.so"})["LD_PRELOAD"]

    assert once == f"{library}:/x.so:/y.so"
    assert env(here, caller={"LD_PRELOAD": once})["LD_PRELOAD"] == once


def test_the_libraries_of_a_simulated_machine_come_first(tmp_path: Path) -> None:
    found = env(a_host(tmp_path, machine="toy"), caller={"LD_LIBRARY_PATH": "/mine"})

    assert (found["LD_LIBRARY_PATH"], found["ON_MACHINE"]) == ("/machine/lib:/mine", "toy")


def test_a_library_that_is_not_there_is_an_error_and_no_silence(tmp_path: Path) -> None:
    here = a_host(tmp_path, plugin=Acme([1], Mounts(preload=("/none.so",))))

    with pytest.raises(PluginError, match=r"/none\.so: there is no such library to preload"):
        env(here)


def test_a_library_whose_path_cannot_be_said_is_an_error(tmp_path: Path) -> None:
    library = tmp_path / "my lib.so"
    library.touch()

    with pytest.raises(PluginError, match="cannot name a path with a blank or a colon"):
        env(a_host(tmp_path, plugin=Acme([1], Mounts(preload=(str(library),)))))


def test_the_programs_that_came_with_hami_are_found_behind_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/mine")

    assert environment.caller()["PATH"] == f"/mine:{Path(sys.executable).parent}"
