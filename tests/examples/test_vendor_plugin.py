"""The stranger's vendor: installed as a stranger would, into an environment that has never seen this workspace."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.examples.fresh import ROOT, Fresh, core_wheel, wheel

if TYPE_CHECKING:
    from pathlib import Path

VENDOR = ROOT / "examples" / "vendor-plugin"


class Stranger(Fresh):
    """One who has hami-core, hami-acme, and a machine with two cards."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        cards = folder / "dev"
        cards.mkdir()
        for name in ("acme0", "acme1"):
            (cards / name).touch()
        self.environment |= {"HAMI_STATE_DIR": str(folder / "state"), "HAMI_SET": f"acme.cards={cards}/acme[0-9]"}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    folder = tmp_path_factory.mktemp("fresh")
    environment = Stranger(folder)
    environment.install(core_wheel(folder), wheel(VENDOR, folder))
    return environment


def test_nothing_of_this_workspace_is_in_the_fresh_environment(fresh: Fresh) -> None:
    code = "import hami_core, hami_acme; print(hami_core.__file__); print(hami_acme.__file__)"

    assert str(ROOT) not in fresh.run("python", "-c", code)


@pytest.mark.slow
def test_the_contract_suite_passes_there(fresh: Fresh, tmp_path: Path) -> None:
    shutil.copy(VENDOR / "test_acme.py", tmp_path)

    told = fresh.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path))

    assert " passed" in told
    assert "skipped" not in told


def test_the_plugin_is_listed_with_its_kind(fresh: Fresh) -> None:
    told = fresh.run("hami", "plugins")

    assert "hami-acme" in told
    assert "acme" in told


def test_play_gives_a_pod_its_card(fresh: Fresh) -> None:
    assert "card acme0" in fresh.run("hami", "play", str(VENDOR / "pod.yaml"))


def test_play_says_why_three_cards_are_too_many(fresh: Fresh, tmp_path: Path) -> None:
    pod = tmp_path / "pod.yaml"
    pod.write_text((VENDOR / "pod.yaml").read_text().replace("card: 1", "card: 3"))

    told = fresh.run("hami", "play", str(pod), fails=True)

    assert "3 devices asked, there are 2 (acme.example/card)" in told


def test_the_whole_plugin_is_at_most_thirty_lines_of_code() -> None:
    lines = (VENDOR / "hami_acme" / "plugin.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", '"""'))]

    assert 10 <= len(code) <= 30
