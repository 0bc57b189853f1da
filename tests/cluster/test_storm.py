"""A fault storm on the real parts, judged by a checker that replays what was bound: 0 double grants, 0 leaks, 0 pods stuck.

The seed is printed; STORM_SEED=... throws the same dice again.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from hami_core.testing.cluster import ControlPlane, Options
from tests.cluster.faults.scene import CLEAN, installed, pair, scene
from tests.cluster.faults.storm import Crowd, Weather
from tests.cluster.scheduling import USER, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hami_core.testing.cluster.nodes import Simulated

NODES, DEVICES = 200, 2
OUTCOMES = {201: "carried out", 403: "refused by the fence", 404: "for a pod that was gone", 409: "refused as a conflict"}


@pytest.mark.parametrize(
    ("decisions", "nodes"), [(500, 30), pytest.param(10_000, NODES, marks=pytest.mark.long)], ids=["a gust", "ten thousand"]
)
def test_a_storm_leaves_nothing_wrong(
    simulated: Simulated, capsys: pytest.CaptureFixture[str], decisions: int, nodes: int
) -> None:
    seed = int(os.environ.get("STORM_SEED") or random.SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\nSTORM_SEED={seed}")  # noqa: T201
    with ControlPlane(options=Options(kwok=False)) as plane:
        installed(plane)
        plane.make_namespace("storm")
        with scene(plane, simulated, "storm") as world, pair(plane, seed=seed) as one:
            world.add_nodes(nodes, devices=DEVICES)
            crowd, weather, begun = Crowd(world, one, seed), Weather(one, seed), time.monotonic()
            with weather:
                crowd.live(decisions)
            blew = time.monotonic() - begun
            wait_for(one.leads, "leading after the storm", 60)
            crowd.make_room()
            after = world.verdict(one)
            bindings = Counter(one.status for one in plane.audited() if one.user == USER and one.resource == "pods/binding")
            report = told(seed, blew, crowd, weather, bindings)
            crowd.leave()
            wait_for(lambda: not one.books(), "all devices free", 60)
    with capsys.disabled():
        print(report, *judged(after.doubles, after.leaks, after.stuck), sep="\n")  # noqa: T201

    assert (after, crowd.decisions >= decisions) == (CLEAN, True)


def told(seed: int, seconds: float, crowd: Crowd, weather: Weather, bindings: Mapping[int, int]) -> str:
    """What the storm was."""
    sent = {f"Bindings {OUTCOMES.get(status, f'answered {status}')}": count for status, count in sorted(bindings.items())}
    ends = {f"pods {how}": count for how, count in sorted(crowd.ends.items())}
    rows = {
        "seed": seed,
        "seconds": round(seconds),
        "decisions": crowd.decisions,
        "pods made": crowd.made,
        **ends,
        **sent,
        **dict(sorted(weather.blows.items())),
    }
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def judged(doubles: Iterable[str], leaks: Iterable[str], stuck: Iterable[str]) -> list[str]:
    """What came of it."""
    found = {"double grants": list(doubles), "leaks": list(leaks), "pods stuck": list(stuck)}
    return [
        f"| **{name}** | **{len(faults)}** |" + "".join(f"\n    {fault}" for fault in faults[:20])
        for name, faults in found.items()
    ]
