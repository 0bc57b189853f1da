"""Every function of the drivers is hooked or excepted with a reason: nothing in neither, nothing in both, nothing made up."""

from __future__ import annotations

from collections import Counter

import pytest

from tests import judges
from tests.native import coverage

APIS = ("CUDA", "NVML")

pytestmark = [pytest.mark.slow, pytest.mark.needs("nm")]  # fetches two packages, once per machine


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest, needs: object) -> str:
    assert callable(needs)
    for folder in coverage.HEADERS.values():
        needs(f"NVIDIA's headers in {folder.parent.name}", here=(folder / "cuda.h").is_file())
    chosen: str = request.param
    return chosen


@pytest.fixture
def found(api: str, needs: object) -> dict[str, set[str]]:
    assert callable(needs)
    try:
        return coverage.sources(api)
    except judges.Missing as missing:
        needs(str(missing), here=False)
        raise


def test_every_name_is_hooked_or_excepted_and_none_is_both(api: str, found: dict[str, set[str]]) -> None:
    names = set().union(*found.values())
    hooked, excepted = coverage.hooked(api) & names, coverage.excepted(api, names)

    assert {"in neither": sorted(names - hooked - excepted), "in both": sorted(hooked & excepted)} == {
        "in neither": [],
        "in both": [],
    }


def test_nothing_is_listed_that_no_driver_knows(api: str, found: dict[str, set[str]]) -> None:
    names = set().union(*found.values())
    rows = [row for row in coverage.exceptions() if row.api == api]

    unknown = [row.name for row in rows if not any(row.covers(name) for name in names)]
    assert (unknown, coverage.hooked(api) - names) == ([], set())


def test_no_name_is_excepted_twice(api: str, found: dict[str, set[str]]) -> None:
    names = set().union(*found.values())
    rows = [row for row in coverage.exceptions() if row.api == api]

    times = Counter(name for name in names for row in rows if row.covers(name))
    assert {name: times[name] for name in times if times[name] > 1} == {}


def test_the_headers_and_the_library_were_really_read(api: str, found: dict[str, set[str]], record_property: object) -> None:
    """A pattern that stops matching would make the other tests empty."""
    assert callable(record_property)
    record_property("counts", coverage.counts(found, api))
    least = {"cuda.h 12": 600, "cuda.h 13": 700, "libcuda": 600, "nvml.h": 430, "libnvidia-ml": 300}

    assert {where: len(names) >= least[where] for where, names in found.items()} == dict.fromkeys(found, True)


def test_a_hooked_name_is_hooked_in_every_version_and_flavour(api: str, found: dict[str, set[str]]) -> None:
    names = set().union(*found.values())
    bases = {coverage.base(name) for name in coverage.hooked(api)}

    missing = {name for name in names if coverage.base(name) in bases} - coverage.hooked(api)
    assert missing - coverage.excepted(api, missing) == set()


def test_a_name_without_a_reason_is_an_error() -> None:
    with pytest.raises(ValueError, match="no reason stands above cuFoo"):
        coverage.exceptions("## CUDA\ncuFoo\n")
