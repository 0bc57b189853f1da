"""The fixture ``hami_machine`` for anybody's pytest, found by its entry point: a simulated machine for one test.

    @pytest.mark.hami_machine("dgx-a100")
    def test_two_of_us_fit_on_one_gpu(hami_machine):
        assert hami_machine.run(["python", "train.py"], gpumem=3000).status == 0

Loaded by every pytest where hami-mock is installed, so it imports nothing but pytest; what the fixture needs is in ``testing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_mock.testing import SimulatedMachine

MARK = "hami_machine"
DEFAULT = "t4-node"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(MARK, f"the simulated machine of tests that name none (hami-mock; default {DEFAULT})", default=DEFAULT)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARK}(name, ..., settings={{}}): the simulated machine of the fixture; several: the test runs on each"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A marker with several machines runs the test on each of them."""
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark and len(mark.args) > 1 and MARK in metafunc.fixturenames:
        metafunc.parametrize(MARK, mark.args, indirect=True)


@pytest.fixture
def hami_machine(request: pytest.FixtureRequest) -> Iterator[SimulatedMachine]:
    """A simulated machine with a state folder of its own, idle, and gone after the test with all that ran on it."""
    from hami_mock.testing import simulated

    mark = request.node.get_closest_marker(MARK)
    settings: dict[str, Any] = dict(mark.kwargs.get("settings", {})) if mark else {}
    if mark and (unknown := set(mark.kwargs) - {"settings"}):
        raise pytest.UsageError(f"mark {MARK}: {', '.join(sorted(unknown))}: give names of machines, and settings={{...}}")
    named = mark.args[0] if mark and mark.args else request.config.getini(MARK)
    with simulated(getattr(request, "param", named), settings) as machine:
        yield machine
