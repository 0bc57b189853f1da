"""The rule for tests that need something of the machine (tests/conftest.py), seen from outside."""

from __future__ import annotations

import pytest

from tests.workspace.projects import ROOT

CONFTEST = (ROOT / "tests/conftest.py").read_text()
HERE = "sh"
MISSING = "no-such-program"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty suite under our conftest, outside CI."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # one second less per run
    pytester.makeconftest(CONFTEST)
    pytester.makepyprojecttoml("[tool.pytest]\nmarkers = ['needs: what']\n")
    return pytester


def marked(*what: str) -> str:
    return f"import pytest\n\n@pytest.mark.needs(*{what})\ndef test_it(): pass\n"


def test_a_test_whose_need_is_here_runs(suite: pytest.Pytester) -> None:
    suite.makepyfile(marked(HERE))

    suite.runpytest().assert_outcomes(passed=1)


def test_a_test_whose_need_is_missing_is_skipped_and_counted_aloud(suite: pytest.Pytester) -> None:
    suite.makepyfile(marked(HERE, MISSING))

    run = suite.runpytest()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(["*not run here*", f"1 test skipped: needs {MISSING}"])
    assert run.ret == pytest.ExitCode.OK


def test_in_ci_a_missing_need_makes_the_run_red(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(marked(MISSING))

    run = suite.runpytest()

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines([f"CI has to have {MISSING}: this run is red"])


def test_in_ci_a_real_gpu_may_be_missing(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile("def test_it(needs): needs('a real GPU', here=False)")

    run = suite.runpytest()

    assert run.ret == pytest.ExitCode.OK
    run.stdout.fnmatch_lines(["1 test skipped: needs a real GPU"])


def test_skips_for_other_reasons_are_not_counted(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile("import pytest\n\ndef test_it(): pytest.skip('not on this architecture')")

    run = suite.runpytest()

    assert run.ret == pytest.ExitCode.OK
    run.stdout.no_fnmatch_line("*not run here*")


def test_a_test_may_learn_on_its_way_what_it_lacks(suite: pytest.Pytester) -> None:
    suite.makepyfile(f"def test_it(needs):\n    needs('{HERE}')\n    needs('a mirror', here=False)\n    assert False")

    run = suite.runpytest()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(["1 test skipped: needs a mirror"])


def test_skips_in_other_processes_are_counted_too(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(test_one=marked(MISSING), test_two=marked(MISSING))

    run = suite.runpytest_subprocess("-p", "xdist", "-n", "2")

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines([f"2 tests skipped: needs {MISSING}"])
