"""The fixture as pytest sees it; that it serves a stranger is in tests/examples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hami_core.errors import UserError
from hami_mock.testing import CommandFailed, simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_mock.testing import SimulatedMachine

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quiet(pytester: pytest.Pytester) -> None:
    """A project of its own, none of whose warnings are errors because ours are."""
    pytester.makeini("[pytest]\nhami_machine = t4x4\n")


def test_the_machine_is_that_of_the_mark_else_that_of_the_ini_file(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_ini(hami_machine):
            assert hami_machine.name == "t4x4"

        @pytest.mark.hami_machine("t4-node", "dgx-a100")
        def test_each(hami_machine, request):
            assert hami_machine.name in request.node.name

        @pytest.mark.hami_machine("t4-node")
        class TestClass:
            def test_of_a_class(self, hami_machine):
                assert hami_machine.name == "t4-node"
        """
    )

    pytester.runpytest_inprocess("-p", "no:cov").assert_outcomes(passed=4)


def test_a_mark_that_says_something_else_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.hami_machine("t4-node", gpus=2)
        def test_it(hami_machine):
            pass
        """
    )

    ran = pytester.runpytest_inprocess("-p", "no:cov")

    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*mark hami_machine: gpus: give names of machines, and settings=*"])


def test_a_machine_that_there_is_not_names_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r"has none of this name; it has .*dgx-a100"), simulated("t4-nod"):
        pass


def test_it_is_gone_in_the_end_with_all_that_ran_on_it() -> None:
    with simulated("t4-node") as machine:
        running = machine.start(["sleep", "1000"], gpumem=3000)
        assert running.stderr
        workload = next(int(line.split()[-1]) for line in running.stderr if "runs as process" in line)
        assert [one["name"] for one in machine.ask("ps")["holdings"]] == ["sleep"]

    assert running.poll() is not None
    assert not Path(f"/proc/{workload}").exists()
    assert not machine.folder.exists()


@pytest.fixture(scope="module")
def t4() -> Iterator[SimulatedMachine]:
    with simulated("t4-node", {"scheduler.defaultMem": 2000, "devicePlugin.disablecorelimit": True}) as machine:
        yield machine


def test_its_environment_is_the_tests_own_without_what_leads_elsewhere(
    t4: SimulatedMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAMI_LIMITS", "/elsewhere")
    monkeypatch.setenv("MINE", "kept")
    with simulated("t4-node") as machine:
        assert "HAMI_LIMITS" not in machine.env
        assert machine.env["MINE"] == "kept"
        assert machine.env["LD_LIBRARY_PATH"].split(os.pathsep)[0] == str(machine.folder / "lib")


def test_a_default_of_the_settings_holds(t4: SimulatedMachine) -> None:
    done = t4.run(["hami-probe"])

    assert done.status == 0, done.stderr
    assert "Tesla T4, 2000 MiB" in done.stdout


def test_a_knob_that_is_none_and_a_command_that_is_a_text(t4: SimulatedMachine) -> None:
    assert "No such option" in t4.run(["true"], gpumen=3).stderr
    with pytest.raises(TypeError, match="give its words"):
        t4.run("true")


def test_a_question_that_hami_cannot_answer_is_an_error(t4: SimulatedMachine) -> None:
    with pytest.raises(CommandFailed, match="no such GPU"):
        t4.fault("lost", gpu=7)
