"""The benchmark of the scheduler runs to its end at a small size. Its figures are for who reads them, on an idle machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOUND = [
    "plain kube-scheduler",
    "an extender that does nothing",
    "hami",
    "hami, nodesReturned 1",
    "hami, writes to the API server",
    "hami, requests to the API server",
]
ALONE = {
    "start to leading": ["the lists alone, decoded", "hami", "hami, processor time of it"],
    "filter over HTTP, 20 names": [
        "median, an extender that does nothing",
        "median, hami",
        "p99, an extender that does nothing",
        "p99, hami",
    ],
    "scrape": ["time", "size"],
    "memory": ["once it leads", "after filters and scrapes", "at most"],
}


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def named(table: str) -> dict[str, list[str]]:
    """The names of the rows, by subject."""
    found: dict[str, list[str]] = {}
    for line in table.splitlines()[1:]:
        subject, name, *_ = re.split(" {2,}", line)
        found.setdefault(subject, []).append(name)
    return found


@pytest.mark.long
def test_every_contestant_and_every_figure_of_every_cluster_has_a_row() -> None:
    done = bench("scheduler", "nodes=20", "pods=100", "rounds=1")

    assert done.returncode == 0, done.stderr
    clusters = ["real API server", "20 running pods", "400 running pods"]
    assert named(done.stdout) == {
        "100 pods bound, 20 nodes, default sampling": BOUND,
        "100 pods bound, 20 nodes, percentageOfNodesToScore 100": BOUND,
        **{f"{what}, 20 nodes, {cluster}": names for cluster in clusters for what, names in ALONE.items()},
    }


def test_a_size_that_a_bench_does_not_have_is_refused() -> None:
    done = bench("scheduler", "nods=20")

    assert done.stderr == "bench scheduler has no size of the name nods\n"
    assert done.returncode == 1


def test_a_size_that_is_no_number_is_refused() -> None:
    done = bench("scheduler", "nodes=many")

    assert done.stderr == "nodes=many: a size is a whole number from 1\n"
