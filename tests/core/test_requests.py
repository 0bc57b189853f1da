"""From a manifest to requests: numbers, defaults, phases, and every mistake with its field, its value and what is right."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core import names, placement, requests
from hami_core.errors import ValidationError
from hami_core.ledger import claims
from hami_core.model import MAIN, Defaults, Policy, Request
from tests.core.fleet import (
    ACME,
    CARD,
    CORES,
    MEMORY,
    NO_COUNT,
    PERCENT,
    PRIORITY,
    a_container,
    a_kind,
    a_pod,
    a_request,
    a_row,
)

POLICY = Policy()


def parsed(limits: dict[str, Any], kind: Any = ACME) -> tuple[Request, ...]:
    return requests.parse(kind, a_pod(a_container(limits=limits)), POLICY)


TOO_MUCH = "that is 3000000000 MiB, more than any device has; the unit is MiB already, so 3 GB are written 3000"


def refused(limits: dict[str, Any], kind: Any = ACME) -> str:
    with pytest.raises(ValidationError) as caught:
        parsed(limits, kind)
    return str(caught.value)


# --- What is asked ---------------------------------------------------------------------------------------------------


def test_the_article_s_pod_asks_for_one_device_3000_mib_and_30_percent() -> None:
    (request,) = parsed({CARD: 1, MEMORY: "3k", CORES: "30"})

    assert request == a_request(memory=3000, cores=30, options=(("priority", "1"),))


def test_a_container_that_names_nothing_asks_nothing() -> None:
    assert parsed({"cpu": "2", "memory": "1Gi", "other.example/card": 1}) == ()


def test_a_count_of_0_alone_asks_nothing() -> None:
    assert parsed({CARD: 0}) == ()


def test_what_is_not_named_is_left_to_the_defaults_and_said_to_be() -> None:
    (request,) = parsed({CARD: 2}, a_kind(defaults=Defaults(memory=500, cores=10)))

    assert (request.count, request.memory, request.cores) == (2, 500, 10)
    assert request.defaulted == {"memory", "cores"}


def test_without_a_default_a_share_is_the_whole_memory() -> None:
    (request,) = parsed({CARD: 1})

    assert (request.memory, request.percent) == (None, 100)


def test_memory_alone_asks_for_the_default_count() -> None:
    (request,) = parsed({MEMORY: 3000})

    assert (request.count, set(request.defaulted)) == (1, {"count", "cores"})


def test_an_absolute_number_wins_over_a_percentage_and_the_user_is_told() -> None:
    (request,) = parsed({CARD: 1, MEMORY: 3000, PERCENT: 50})

    assert (request.memory, request.percent) == (3000, None)
    assert request.notes == (f"{MEMORY}: 3000 is used; {PERCENT} beside it is ignored",)


def test_a_percentage_wins_over_the_default() -> None:
    (request,) = parsed({CARD: 1, PERCENT: 50}, a_kind(defaults=Defaults(memory=500)))

    assert (request.memory, request.percent) == (None, 50)


def test_a_number_in_requests_only_counts_like_one_in_limits() -> None:
    container = {"name": "main", "resources": {"requests": {CARD: 1, MEMORY: 3000}}}

    (request,) = requests.parse(ACME, a_pod(container), POLICY)

    assert (request.count, request.memory) == (1, 3000)


def test_the_pod_s_policies_win_over_the_settings() -> None:
    pod = a_pod(annotations={names.NODE_POLICY: "spread", names.DEVICE_POLICY: "binpack"})

    (request,) = requests.parse(ACME, pod, POLICY)

    assert request.policy == Policy("spread", ("binpack",))


def test_a_pod_without_any_optional_field_is_read() -> None:
    assert requests.parse(ACME, {"metadata": None, "spec": {"containers": [{"name": "a", "resources": None}]}}, POLICY) == ()


# --- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({CARD: 1, MEMORY: "3Gi"}, f'{MEMORY}: 3Gi in container "main": give MiB as a plain number (3072)'),
        ({CARD: 1, MEMORY: "3000Mi"}, f'{MEMORY}: 3000Mi in container "main": give MiB as a plain number (3000)'),
        ({CARD: 1, MEMORY: -1}, f'{MEMORY}: -1 in container "main": must not be negative; give a plain number of MiB'),
        ({CARD: -1}, f'{CARD}: -1 in container "main": must not be negative; give a plain number'),
        ({CARD: 1.5}, f'{CARD}: 1.5 in container "main": fractions are not possible; give a whole number (2)'),
        ({CARD: 1, MEMORY: 0}, f'{MEMORY}: 0 in container "main": give a whole number from 1 to 16777216'),
        (
            {CARD: 1, MEMORY: "3G"},
            f'{MEMORY}: 3G in container "main": {TOO_MUCH}',
        ),
        ({CARD: 1, PERCENT: 101}, f'{PERCENT}: 101 in container "main": give a whole number from 1 to 100'),
        ({CARD: 1, PERCENT: 0}, f'{PERCENT}: 0 in container "main": give a whole number from 1 to 100'),
        ({CARD: 1, CORES: 101}, f'{CORES}: 101 in container "main": give a whole number from 0 to 100'),
        ({CARD: 1, CORES: "all"}, f'{CORES}: all in container "main": give a plain number'),
        ({CARD: 1, PRIORITY: 2}, f'{PRIORITY}: 2 in container "main": give a whole number from 0 to 1'),
        (
            {CARD: 0, MEMORY: 3000, CORES: 30},
            f'{CARD}: 0 in container "main": a share of no device; give 1 or more, or remove {MEMORY}, {CORES}',
        ),
        ({CARD: None}, f'{CARD}: None in container "main": give a plain number'),
    ],
    ids=str,
)
def test_a_number_that_cannot_be_meant_is_refused_by_name(limits: dict[str, Any], message: str) -> None:
    assert refused(limits) == message


def test_a_share_without_a_count_is_refused_where_the_settings_say_so() -> None:
    assert refused({MEMORY: 3000}, NO_COUNT) == f'{CARD}: missing in container "main": say how many devices beside {MEMORY}'


def test_limits_and_requests_that_differ_are_refused() -> None:
    container = {"name": "main", "resources": {"limits": {CARD: 2}, "requests": {CARD: 1}}}

    with pytest.raises(ValidationError) as caught:
        requests.parse(ACME, a_pod(container), POLICY)

    expected = (
        f'resources.requests.{CARD}: 1 in container "main": requests and limits of an accelerator must be equal; limits say 2'
    )
    assert str(caught.value) == expected


def test_the_same_number_in_another_spelling_is_equal() -> None:
    container = {"name": "main", "resources": {"limits": {MEMORY: "3k"}, "requests": {MEMORY: 3000}}}

    (request,) = requests.parse(ACME, a_pod(container), POLICY)

    assert request.memory == 3000


def test_a_word_that_is_no_policy_is_refused() -> None:
    with pytest.raises(ValidationError, match="in the pod's annotations: give binpack or spread"):
        requests.parse(ACME, a_pod(annotations={names.NODE_POLICY: "fullest"}), POLICY)


def test_a_user_s_own_visible_devices_variable_is_refused_at_admission() -> None:
    pod = a_pod(a_container(env=[{"name": "PATH"}, {"name": "ACME_VISIBLE", "value": "all"}]))

    with pytest.raises(ValidationError) as caught:
        requests.admit(ACME, pod)

    hint = f"devices are chosen by hami; ask for them by {CARD} and remove the variable"
    assert str(caught.value) == f'ACME_VISIBLE: all in container "main": {hint}'


def test_the_variable_is_refused_in_an_init_container_that_asks_nothing() -> None:
    pod = a_pod(inits=[a_container("setup", limits={}, env=[{"name": "ACME_VISIBLE", "value": "0"}])])

    with pytest.raises(ValidationError, match='in container "setup"'):
        requests.admit(ACME, pod)


@pytest.mark.parametrize("key", [names.grant_key("main"), names.visible_key("acme", "main")])
def test_a_pod_that_writes_its_own_grant_is_refused(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        requests.admit(ACME, a_pod(annotations={key: "GPU-0"}))

    assert str(caught.value) == f"{key}: set by the pod: this annotation is written by hami alone; remove it"


def test_the_reference_that_admission_itself_writes_is_let_through_for_the_same_container_only() -> None:
    path = f"metadata.annotations['{names.visible_key('acme', 'main')}']"
    reference = {"name": "ACME_VISIBLE", "valueFrom": {"fieldRef": {"fieldPath": path}}}

    requests.admit(ACME, a_pod(a_container(env=[reference])))
    with pytest.raises(ValidationError, match="ACME_VISIBLE: valueFrom"):
        requests.admit(ACME, a_pod(a_container("other", env=[reference])))


def test_only_a_container_that_asks_for_nothing_may_say_that_it_sees_no_device() -> None:
    hidden = [{"name": "ACME_VISIBLE", "value": "void"}]

    requests.admit(ACME, a_pod(a_container(limits={}, env=hidden)))
    with pytest.raises(ValidationError, match="ACME_VISIBLE: void"):
        requests.admit(ACME, a_pod(a_container(limits={CARD: 1}, env=hidden)))


def test_an_amount_that_admission_wrote_still_counts_as_left_to_the_defaults() -> None:
    told = {names.DEFAULTED: f"main:{MEMORY}=5000,main:{CARD}=2"}
    pod = a_pod(a_container(limits={CARD: 1, MEMORY: 5000, CORES: 30}), annotations=told)

    (request,) = requests.parse(ACME, pod, POLICY)

    assert request.defaulted == {"memory"}


_GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(("3k", "1e3", "2", "3Gi")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from((CARD, MEMORY, PERCENT, CORES, PRIORITY)), _GARBAGE), st.sampled_from((ACME, NO_COUNT)))
def test_garbage_is_refused_with_a_validation_error_or_read_within_its_range(limits: dict[str, Any], kind: Any) -> None:
    pod = a_pod(a_container(limits=limits))
    before = copy.deepcopy(pod)
    try:
        found = requests.parse(kind, pod, POLICY)
    except ValidationError as error:
        assert error.field in str(error)
        assert error.where == 'container "main"'
    else:
        assert all(request.count >= 1 and 0 <= request.cores <= 100 for request in found)
        assert all(request.memory is None or 1 <= request.memory <= requests.LARGEST_MIB for request in found)
    assert repr(pod) == repr(before)


# --- When containers run ---------------------------------------------------------------------------------------------


def timeline(inits: list[bool], ordinary: int) -> list[set[str]]:
    """Who runs beside whom, played step by step: init containers in turn (True: a sidecar, which stays), then the others."""
    running: set[str] = set()
    moments = []
    for number, sidecar in enumerate(inits):
        if sidecar:
            running.add(f"i{number}")
        else:
            moments.append(running | {f"i{number}"})
    moments.append(running | {f"c{number}" for number in range(ordinary)})
    return moments


@given(st.lists(st.booleans(), max_size=6), st.integers(1, 3))
def test_phases_are_the_moments_of_the_timeline(inits: list[bool], ordinary: int) -> None:
    pod = a_pod(
        *(a_container(f"c{number}") for number in range(ordinary)),
        inits=[
            a_container(f"i{number}", **({"restartPolicy": "Always"} if sidecar else {}))
            for number, sidecar in enumerate(inits)
        ],
    )

    runs = requests.containers(pod)

    phases = sorted({phase for one in runs for phase in one.phases}, key=lambda phase: (phase == MAIN, phase))
    assert [{one.name for one in runs if phase in one.phases} for phase in phases] == timeline(inits, ordinary)


def test_requests_stand_in_the_order_of_the_manifest_init_containers_first() -> None:
    pod = a_pod(a_container("b"), a_container("a"), inits=[a_container("z")])

    assert [request.container for request in requests.parse(ACME, pod, POLICY)] == ["z", "b", "a"]


# --- What a pod claims over its life ---------------------------------------------------------------------------------

AMOUNTS = st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 60))


def peak(inits: list[tuple[bool, int, int]], ordinary: list[tuple[bool, int, int]]) -> tuple[int, int, int]:
    """The most tasks, memory and cores at any moment, played as a clock: start, look, end."""
    running: list[tuple[int, int]] = []
    seen = [(0, 0, 0)]
    for sidecar, memory, cores in inits:
        running.append((memory, cores))
        seen.append((len(running), sum(one for one, _ in running), sum(one for _, one in running)))
        if not sidecar:
            running.pop()
    running += [(memory, cores) for _, memory, cores in ordinary]
    seen.append((len(running), sum(one for one, _ in running), sum(one for _, one in running)))
    return tuple(max(column) for column in zip(*seen, strict=True))


@settings(max_examples=60)
@given(st.lists(AMOUNTS, max_size=5), st.lists(AMOUNTS, min_size=1, max_size=3))
def test_what_a_pod_claims_of_a_device_is_its_peak_on_the_clock(
    inits: list[tuple[bool, int, int]], ordinary: list[tuple[bool, int, int]]
) -> None:
    def container(name: str, one: tuple[bool, int, int], **more: str) -> dict[str, Any]:
        return a_container(name, limits={CARD: 1, MEMORY: one[1] + 1, CORES: one[2]}, **more)

    pod = a_pod(
        *(container(f"c{n}", one) for n, one in enumerate(ordinary)),
        inits=[container(f"i{n}", one, **({"restartPolicy": "Always"} if one[0] else {})) for n, one in enumerate(inits)],
    )
    row = a_row(10_000, slots=100, cores=1000)

    shares = placement.place(requests.parse(ACME, pod, POLICY), row, "share")

    (claim,) = claims(shares).values()
    more = [[(sidecar, memory + 1, cores) for sidecar, memory, cores in one] for one in (inits, ordinary)]
    assert (claim.slots, claim.memory, claim.cores) == peak(*more)
