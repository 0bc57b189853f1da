"""docs/explain.md shows what ``hami explain`` says: its transcripts are run as they stand, in the cluster that it describes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import hami_core
from hami_scheduler.binding import Outcome
from tests.cli.command import nodes
from tests.scheduler.gpus import A100, T4, a_cluster, a_pod
from tests.scheduler.test_explain_command import answering
from tests.scheduler.world import seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.command import Node
    from tests.scheduler.world import World

TEXT = (Path(hami_core.__file__).parents[1] / "docs/explain.md").read_text()
TRANSCRIPTS = re.findall(r"^\$ hami (explain .*?)\n(.*?)(?=^\$|^```)", TEXT, re.MULTILINE | re.DOTALL)
MANIFESTS = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with nodes(tmp_path_factory.mktemp("explain")) as on:
        yield on(None)


def the_cluster() -> World:
    """Three nodes with two A100 each, of which one is cordoned; two with a T4 each."""
    gpus = {**{f"a100-{n}": (A100, A100) for n in (1, 2, 3)}, "t4-1": (T4,), "t4-2": (T4,)}
    world = a_cluster(gpus, {"a100-3": "GPU-a100-3-0,GPU-a100-3-1"})
    for name, where, memory in (
        ("bert", "a100-1", 30000),
        ("llama", "a100-1", 20000),
        ("tune", "a100-2", 24000),
        ("eval", "a100-2", 35000),
    ):
        pod = a_pod(name, "research", gpu=1, gpumem=memory)
        world.filter(pod, where)
        begun = world.begin(pod, where)
        world.cluster.settle(pod["metadata"]["uid"], Outcome.BOUND)
        world.cluster.pods_changed([("MODIFIED", seen(pod, where, begun.annotations))])
    return world


def test_there_is_a_transcript_of_a_pod_that_fits_one_that_waits_and_one_that_never_can() -> None:
    assert [re.search(r": (fits|waits|never)", shown)[1] for _, shown in TRANSCRIPTS[:3]] == ["fits", "waits", "never"]  # type: ignore[index]


@pytest.mark.parametrize(("command", "shown"), TRANSCRIPTS)
def test_a_transcript_is_what_is_said(node: Node, command: str, shown: str) -> None:
    for name, text in MANIFESTS.items():
        node.write(name, text)
        assert json.dumps(yaml.safe_load(text))

    with answering(the_cluster()) as url:
        done = node.hami(*command.split(), env={"HAMI_SCHEDULER": url})

    assert (done.stdout + done.stderr).rstrip() == shown.rstrip()
