"""A workload's limits file and region, damaged before its program starts: nothing is dropped in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.command import PROBE, room, seen

if TYPE_CHECKING:
    from tests.cli.command import Ended, Node

REGION = '"$(dirname $HAMI_LIMITS)"/"$(sed -n "s|^grant ||p" $HAMI_LIMITS | tr / _)"'


def after(t4: Node, damage: str) -> Ended:
    """The probe, started by a shell that has done the damage first."""
    return t4.hami("run", "--gpumem", "3000", "--", "sh", "-c", f"{damage}; exec {PROBE} --json")


def complaints(done: Ended) -> list[str]:
    """What the interposer said."""
    return [line for line in done.stderr.splitlines() if line.startswith("[HAMI-core")]


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        pytest.param(": > $HAMI_LIMITS", "empty", id="empty"),
        pytest.param("sed -i '$d' $HAMI_LIMITS", "end", id="truncated"),
        pytest.param("sed -i '1s/ 1/ 999/' $HAMI_LIMITS", "999", id="a version to come"),
        pytest.param("rm $HAMI_LIMITS", "No such file", id="gone"),
    ],
)
def test_a_damaged_limits_file_closes_the_devices_and_says_why_once(t4: Node, damage: str, word: str) -> None:
    done = after(t4, damage)

    assert done.status == 1
    (probe,) = seen(done.stdout)
    assert (probe["cuda"], probe["nvml"]) == ([], [])
    (line,) = complaints(done)
    assert "limits" in line
    assert word in line
    assert t4.truth()[0]["requested_peak"] == 0


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(f"printf short > {REGION}", id="short"),
        pytest.param(f"head -c 1000000 /dev/urandom > {REGION}", id="garbage"),
        pytest.param(f": > {REGION}", id="empty"),
    ],
)
def test_a_damaged_region_is_made_anew_and_the_limit_holds(t4: Node, damage: str) -> None:
    done = after(t4, damage)

    assert done.status == 0, done.stderr
    assert [one["held"] for one in seen(done.stdout)[0]["filled"]] == [room(3000)]
    assert t4.truth()[0]["requested_peak"] == room(3000)
