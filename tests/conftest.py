"""What a test needs of the machine beyond Python, and what happens where that is missing. No test's own data lives here.

``@pytest.mark.needs("gcc")`` skips a test where no program of that name is found. The fixture ``needs`` is the same for a
test that learns only on its way what it lacks: ``needs("Debian's nvidia-smi", here=False)``. Nothing else may skip for a
missing tool. Such skips are counted aloud at the end of a run; with ``CI=true`` they make it red, all but "a real GPU",
which no CI machine has to have.

Property tests have no deadline per example: it would measure what else the machine does. Speed is judged in ``bench/``.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

REAL_GPU = "a real GPU"
LACKED = pytest.StashKey[Counter[str]]()
PROPERTY = "lacks"  # a report's property, because properties travel from xdist's workers to the process that counts

settings.register_profile("hami", parent=settings(), deadline=None)
settings.load_profile("hami")


class Needs(Protocol):
    """Skip the running test unless ``what`` is here; with ``here`` None it is looked for: a program on PATH, or a real GPU."""

    def __call__(self, what: str, *, here: bool | None = None) -> None: ...


def is_here(what: str) -> bool:
    """Whether this machine has a program of that name, or, for REAL_GPU, NVIDIA's control device."""
    if what == REAL_GPU:
        return Path("/dev/nvidiactl").exists()
    return shutil.which(what) is not None


def skip_unless_here(item: pytest.Item, what: str, *, here: bool | None = None) -> None:
    """Raises pytest's Skipped, and leaves the reason on the item for the count."""
    if here or (here is None and is_here(what)):
        return
    item.user_properties.append((PROPERTY, what))
    pytest.skip(f"needs {what}")


@pytest.fixture
def needs(request: pytest.FixtureRequest) -> Needs:
    """The marker's rule, for what a test learns only on its way."""

    def needs(what: str, *, here: bool | None = None) -> None:
        skip_unless_here(request.node, what, here=here)

    return needs


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LACKED] = Counter()
    config.pluginmanager.register(Count(config.stash[LACKED]), "count-what-is-lacked")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for what in marker.args:
            skip_unless_here(item, what)


class Count:
    """Counts the reports that were skipped for something missing; reports come from this process or from xdist's workers."""

    def __init__(self, lacked: Counter[str]) -> None:
        self.lacked = lacked

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self.lacked.update(str(what) for name, what in report.user_properties if name == PROPERTY)


def forbidden(lacked: Counter[str]) -> list[str]:
    """What was missing and has to be there in CI, sorted; empty outside CI."""
    if os.environ.get("CI", "").lower() not in {"1", "true"}:
        return []
    return sorted(set(lacked) - {REAL_GPU})


def pytest_sessionfinish(session: pytest.Session) -> None:
    if forbidden(session.config.stash[LACKED]) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    lacked = config.stash[LACKED]
    if not lacked:
        return
    terminalreporter.section("not run here", yellow=True)
    for what, count in sorted(lacked.items()):
        terminalreporter.write_line(f"{count} {'test' if count == 1 else 'tests'} skipped: needs {what}")
    if missing := forbidden(lacked):
        terminalreporter.write_line(f"CI has to have {', '.join(missing)}: this run is red", red=True)
