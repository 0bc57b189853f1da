"""HAMi's golden vectors, line by line: the same here, or different on purpose, or of a part that is not built yet.

Each line is data: what HAMi does, our verdict, and the reason for a difference; ``docs/policies.md`` shows the same lines.
What is the same, or can be seen to differ, has a check.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

import hami_core
from hami_core import choice, ledger, placement, selection, settings
from hami_core.errors import ValidationError
from hami_core.ledger import Claim, Ledger
from hami_core.model import MAIN, Link, Policy, Selector
from hami_core.sharing import CoreSettings
from hami_core.table import build
from hami_nvidia import plugin
from hami_nvidia.links import LANE, NODE, SCORES
from hami_nvidia.requests import KEYS
from hami_nvidia.settings import NvidiaSettings
from tests.core.fleet import a_capacity, a_holding, a_request, a_row, a_share, a_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_core.model import Request

SAME, DIFFERS, NONE_YET = "same", "differs", "none yet"


@frozen
class Vector:
    """One line: what goes in and what HAMi makes of it, our verdict, and why."""

    hami: str
    verdict: str
    why: str
    check: Callable[[], None] | None = None


def parsed(limits: dict[str, Any], annotations: dict[str, str] | None = None, **changed: Any) -> tuple[Request, ...]:
    """The requests of a pod of one container under these settings (path -> value, dots written as double underscores)."""
    layer = {path.replace("__", "."): value for path, value in changed.items()}
    in_force = settings.resolve({"core": CoreSettings, "nvidia": NvidiaSettings}, [("test", layer)])
    container = {"name": "c", "resources": {"limits": limits}}
    pod = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [container]}}
    (kind,) = plugin.hami_kinds(in_force)
    return tuple(plugin.hami_parse(kind, pod, in_force) or ())


# --- The checks ------------------------------------------------------------------------------------------------------


def model_words_are_substrings_in_any_case() -> None:
    row = a_table([a_capacity("d0", model="NVIDIA A100-SXM4-40GB"), a_capacity("d1", model="Tesla T4")])

    admitted = selection.admitted(Selector(KEYS.use_model, ("a100", "V100")), row)

    assert admitted.tolist() == [[True, False]]


def a_gpu_alone_reserves_no_cores() -> None:
    (request,) = parsed({"nvidia.com/gpu": 1}, scheduler__defaultMem=0)

    assert (request.count, request.percent, request.cores) == (1, 100, 0)


def a_percentage_alone_gets_one_gpu() -> None:
    (request,) = parsed({"nvidia.com/gpumem-percentage": 50})

    assert (request.count, request.percent) == (1, 50)


def numa_takes_the_fuller_node_not_the_higher_number() -> None:
    row = a_table([a_capacity("d0", numa=0), a_capacity("d1", numa=0), a_capacity("d2", numa=1), a_capacity("d3", numa=1)])
    row.take(0, 0, 1, 4000, 0)
    request = a_request(count=2, policy=Policy(device=("numa", "binpack")))

    shares = placement.place([request], row, "share")

    assert [share.device for share in shares] == ["d0", "d1"]  # HAMi: d2 and d3


def what_the_apps_hold_after_their_init_container() -> None:
    gib = 1024
    shares = [
        a_share(container="init", memory=20 * gib, phases=(1,)),
        a_share(container="a", memory=10 * gib),
        a_share(container="b", memory=5 * gib),
    ]
    remaining = [share for share in shares if MAIN in share.phases]

    assert ledger.claims(remaining) == {("acme", "share", "d0"): Claim(slots=2, memory=15 * gib, cores=0)}
    assert ledger.claims(shares) == {("acme", "share", "d0"): Claim(slots=2, memory=20 * gib, cores=0)}


def holding_twice_is_holding_once() -> None:
    held = Ledger({("acme", "share"): a_row(8000)})

    held.hold("n0", a_holding("u"))
    held.hold("n0", a_holding("u"))

    assert held.tables["acme", "share"].slots_used.tolist() == [[1]]


def a_pair_of_1220_is_worth_1220() -> None:
    pair = SCORES[NODE] + 12 * LANE
    capacities = [a_capacity("d0"), a_capacity("d1"), a_capacity("d2")]
    links = (Link("d0", "d1", "NV12", lanes=12, score=pair), Link("d0", "d2", "SYS", score=10))
    row = build([("n0", capacities)], links={"n0": links})
    request = a_request(count=2, policy=Policy(device=("topology-aware",)))

    assert choice.score(request, row.present, row).tolist() == [1220]
    assert [share.device for share in placement.place([request], row, "share")] == ["d0", "d1"]


def fullness_counts_the_request() -> None:
    row = a_table([a_capacity(memory=40960)])
    row.take(0, 0, 2, 10240, 60)

    full = choice.fullness(a_request(memory=3000, cores=30), row, placement.Claims(), 3000)

    assert int(full[0, 0]) / choice.FINE * 30 == pytest.approx(15.23, abs=0.01)


def a_word_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"hami\.io/gpu-scheduler-policy: fullest"):
        parsed({"nvidia.com/gpu": 1}, {"hami.io/gpu-scheduler-policy": "fullest"})


def gpumem_beats_the_percentage() -> None:
    (request,) = parsed({"nvidia.com/gpu": 1, "nvidia.com/gpumem": 3000, "nvidia.com/gpumem-percentage": 50})

    assert (request.memory, request.percent, len(request.notes)) == (3000, None, 1)


def a_percentage_of_0_is_refused() -> None:
    with pytest.raises(ValidationError, match="gpumem-percentage: 0"):
        parsed({"nvidia.com/gpu": 1, "nvidia.com/gpumem-percentage": 0})


def memory_with_a_unit_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"give MiB as a plain number \(3072\)"):
        parsed({"nvidia.com/gpu": 1, "nvidia.com/gpumem": "3Gi"})


def all_cores_want_an_idle_device() -> None:
    row = a_row(8000, 8000, used=[100, 0])

    shares = placement.place([a_request(cores=100)], row, "share")

    assert [(share.device, share.exclusive) for share in shares] == [("d1", True)]
    assert not placement.fit([a_request(cores=100, count=2)], row).nodes[0]


def nobody_joins_an_exclusive_device() -> None:
    held = Ledger({("acme", "share"): a_row(8000, cores=200)})
    held.hold("n0", a_holding("u", a_share(cores=100, exclusive=True)))

    assert not placement.fit([a_request(memory=1)], held.tables["acme", "share"]).nodes[0]


def best_effort_beside_reserved_cores() -> None:
    row = a_row(8000)
    row.take(0, 0, 2, 0, 100)  # two tasks of 50 %

    assert placement.fit([a_request()], row).nodes[0]


def mutex_works_both_ways() -> None:
    request = a_request(policy=Policy(device=("mutex",)))
    held = Ledger({("acme", "share"): a_row(8000)})
    (share,) = placement.place([request], a_row(8000), "share")
    held.hold("n0", a_holding("u", share))

    assert not placement.fit([a_request()], held.tables["acme", "share"]).nodes[0]


def one_device_breaks_least() -> None:
    capacities = [a_capacity(f"d{w}") for w in range(3)]
    row = build([("n0", capacities)], links={"n0": (Link("d0", "d1", "NV12", score=1220),)})

    (share,) = placement.place([a_request(policy=Policy(device=("topology-aware",)))], row, "share")

    assert share.device == "d2"


def an_unknown_numa_node_is_none() -> None:
    request = a_request(count=2, numa_bind=KEYS.numa_bind)

    assert not placement.fit([request], a_table([a_capacity("d0"), a_capacity("d1")])).nodes[0]
    assert not placement.fit([request], a_table([a_capacity("d0"), a_capacity("d1", numa=0)])).nodes[0]


def weights_need_all_three() -> None:
    key = "hami.io/device-scoring-weights"

    (request,) = parsed({"nvidia.com/gpu": 1}, {key: "slot=1,core=1,memory=3"})

    assert (request.policy.weights.slot, request.policy.weights.core, request.policy.weights.memory) == (1, 1, 3)
    for text in ("slot=1,core=1", "slot=0,core=0,memory=0", "slot=1,core=1,memory=-3", "slot=1,core=1,memory=1,slot=2"):
        with pytest.raises(ValidationError, match=key):
            parsed({"nvidia.com/gpu": 1}, {key: text})


# --- The lines -------------------------------------------------------------------------------------------------------

VECTORS = (
    Vector(
        "encode pod `[[], [GPU-a NVIDIA 3000 30]]` as `;GPU-a,NVIDIA,3000,30:;`",
        DIFFERS,
        "positions shift when another webhook inserts a container; a grant is written by the container's name, with a version",
    ),
    Vector(
        "node CSV with 7 fields: mode hami-core, index 0",
        NONE_YET,
        "a reader for other vendors' own plugins; ours publish JSON with a version",
    ),
    Vector(
        "use-gputype `a100,V100` matches the model `NVIDIA A100-SXM4-40GB`", SAME, "", model_words_are_substrings_in_any_case
    ),
    Vector(
        "limits gpu=1 only: count 1, 100 % memory, the webhook adds 100 cores",
        DIFFERS,
        "all memory reserves no cores by itself: 100 cores would make the device exclusive, which is asked for by its name",
        a_gpu_alone_reserves_no_cores,
    ),
    Vector("gpumem-percentage=50 without gpu, defaultGPUNum=1: count 1", SAME, "", a_percentage_alone_gets_one_gpu),
    Vector(
        "policy `numa,binpack`: the highest NUMA number, there the fullest",
        DIFFERS,
        "a number is no merit: the NUMA node with enough devices whose devices are fullest",
        numa_takes_the_fuller_node_not_the_higher_number,
    ),
    Vector(
        "one UUID, init 20 GiB succeeded, apps 10 + 5 GiB: 15 GiB, 2 slots",
        SAME,
        "",
        what_the_apps_hold_after_their_init_container,
    ),
    Vector(
        "the same pod takes the node lock twice: the second take succeeds",
        DIFFERS,
        "there is no node lock; holding twice is holding once",
        holding_twice_is_holding_once,
    ),
    Vector(
        "1g.5gb with starts 0..6 free: start 6; 2g.10gb with {0,2,4}: start 0", NONE_YET, "MIG layouts come with the mig plugin"
    ),
    Vector("pair of 12 NVLinks on one CPU: 1220", SAME, "", a_pair_of_1220_is_worth_1220),
    Vector(
        "physical id of `GPU-1-2-3-4-5-7` is `GPU-1-2-3-4-5`",
        DIFFERS,
        "a token is `<uuid>::<slot>`, so that no id has to be guessed from dashes",
    ),
    Vector("AMD cores 33 % of 304 CUs: 100 CUs", NONE_YET, "there is no AMD plugin"),
    Vector(
        "`Requesting_` 61 s old, allocatable 0 / > 0: unhealthy / healthy",
        DIFFERS,
        "no heartbeat in annotations: nothing expires because a healthy component stopped writing",
    ),
    Vector(
        "device score by documentation 15.23, as built 10.50 (2 of 10, 60/100, 10240/40960; request 3000 MiB, 30 %)",
        DIFFERS,
        "scored with the request on it, as HAMi documents",
        fullness_counts_the_request,
    ),
    Vector("gpumem beats the percentage", SAME, "", gpumem_beats_the_percentage),
    Vector("percentage 0 is ignored", DIFFERS, "a share of nothing is a mistake and refused", a_percentage_of_0_is_refused),
    Vector(
        "`gpumem: 3Gi` makes the request vanish",
        DIFFERS,
        "refused at admission with what would be right",
        memory_with_a_unit_is_refused,
    ),
    Vector("unknown policy words fall back without notice", DIFFERS, "refused by name", a_word_that_means_nothing_is_refused),
    Vector("gpucores 100 wants a device that nobody uses", SAME, "", all_cores_want_an_idle_device),
    Vector(
        "gpucores 100 is exclusive only while cores are not scaled",
        DIFFERS,
        "exclusive is said of the share and takes all slots, whatever the scaling",
        nobody_joins_an_exclusive_device,
    ),
    Vector(
        "cores 0 is refused where all cores are reserved",
        DIFFERS,
        "only an exclusive share keeps others off; best effort may run beside 2 x 50 %",
        best_effort_beside_reserved_cores,
    ),
    Vector(
        "`mutex` takes a device that nobody uses; anybody may follow",
        DIFFERS,
        "mutual exclusion is mutual: nobody follows",
        mutex_works_both_ways,
    ),
    Vector("`topology-aware` for one card: the lowest sum of pair scores", SAME, "", one_device_breaks_least),
    Vector(
        "an unknown NUMA node counts as node 0",
        DIFFERS,
        "unknown is no node, and never satisfies a binding",
        an_unknown_numa_node_is_none,
    ),
    Vector("weights need `slot`, `core` and `memory`, none negative, one positive", SAME, "", weights_need_all_three),
)


@pytest.mark.parametrize("vector", [one for one in VECTORS if one.check], ids=lambda one: one.hami)
def test_a_vector_is_kept_or_broken_on_purpose(vector: Vector) -> None:
    assert vector.check
    vector.check()


def test_every_difference_has_a_reason_and_every_sameness_a_check() -> None:
    assert all(bool(one.why) == (one.verdict != SAME) for one in VECTORS)
    assert all(one.check for one in VECTORS if one.verdict == SAME)
    assert not [one for one in VECTORS if one.verdict == NONE_YET and one.check]


def test_the_document_shows_the_same_lines() -> None:
    text = (Path(hami_core.__file__).parents[1] / "docs/policies.md").read_text()
    shown = text.partition("## HAMi's vectors, line by line")[2].partition("|---|---|---|\n")[2].strip()

    assert shown == "\n".join(f"| {one.hami} | {one.verdict} | {one.why} |" for one in VECTORS)
