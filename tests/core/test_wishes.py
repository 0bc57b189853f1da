"""From annotations to policies, weights and selectors; every word that means nothing is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core import names, requests, wishes
from hami_core.errors import ValidationError
from hami_core.model import ID, MODEL, SPLITTING, Policy, Selector, Weights
from hami_core.wishes import Keys
from tests.core.fleet import ACME, a_container, a_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = Keys(
    use_model="acme.example/use-type",
    avoid_model="acme.example/avoid-type",
    use_id="acme.example/use-id",
    avoid_id="acme.example/avoid-id",
    numa_bind="acme.example/numa",
    splitting="acme.example/mode",
    splittings={"soft": "share", "hard": "halves"},
)
DEFAULT = Policy("spread", ("numa",), Weights(1, 2, 3))


def policy(**written: str) -> Policy:
    keys = {"node": names.NODE_POLICY, "device": names.DEVICE_POLICY, "weights": names.SCORING_WEIGHTS}
    return wishes.policy(a_pod(annotations={keys[name]: text for name, text in written.items()}), DEFAULT)


def refused(annotations: Mapping[str, str]) -> str:
    with pytest.raises(ValidationError) as caught:
        requests.parse(ACME, a_pod(annotations=annotations), DEFAULT, KEYS)
    return str(caught.value)


def test_a_pod_that_names_nothing_has_the_default() -> None:
    assert policy() == DEFAULT


def test_each_word_that_is_named_takes_the_place_of_the_default() -> None:
    assert policy(node="binpack") == Policy("binpack", ("numa",), Weights(1, 2, 3))
    assert policy(device="mutex") == Policy("spread", ("mutex",), Weights(1, 2, 3))
    assert policy(weights="slot=0.5, core=0,memory = 3") == Policy("spread", ("numa",), Weights(0.5, 0, 3))


def test_a_list_keeps_its_order_and_drops_repeats_and_blanks() -> None:
    assert policy(device=" numa, binpack,,numa ").device == ("numa", "binpack")


def test_selectors_carry_the_key_under_which_they_were_written() -> None:
    annotations = {
        KEYS.use_model: "a100, V100",
        KEYS.avoid_model: "T4",
        KEYS.use_id: "d0,d1",
        KEYS.avoid_id: "d2",
        KEYS.splitting: "hard,soft",
        KEYS.numa_bind: "TRUE",
    }

    (request,) = requests.parse(ACME, a_pod(annotations=annotations), DEFAULT, KEYS)

    assert request.selectors == (
        Selector(KEYS.use_model, ("a100", "V100")),
        Selector(KEYS.avoid_model, ("T4",), out=True),
        Selector(KEYS.use_id, ("d0", "d1"), ID),
        Selector(KEYS.avoid_id, ("d2",), ID, out=True),
        Selector(KEYS.splitting, ("halves", "share"), SPLITTING),
    )
    assert {one.by for one in request.selectors} == {MODEL, ID, SPLITTING}
    assert request.numa_bind == KEYS.numa_bind


@pytest.mark.parametrize("word", ["false", "0", "F"])
def test_numa_is_not_bound_where_the_pod_says_so(word: str) -> None:
    (request,) = requests.parse(ACME, a_pod(annotations={KEYS.numa_bind: word}), DEFAULT, KEYS)

    assert request.numa_bind == ""


def test_a_vendor_without_keys_selects_nothing() -> None:
    (request,) = requests.parse(ACME, a_pod(annotations={KEYS.use_model: "T4", "": "T4"}), DEFAULT)

    assert (request.selectors, request.numa_bind) == ((), "")


LISTED = "give one or more, separated by commas, or remove the annotation"
DEVICE_WORDS = "give one or more of binpack, spread, mutex, topology-aware, numa, separated by commas"
WEIGHTS = "give slot, core and memory once each, none negative and one of them positive, as in slot=1,core=1,memory=3"


@pytest.mark.parametrize(
    ("key", "text", "shown", "hint"),
    [
        (names.NODE_POLICY, "fullest", "fullest", "give binpack or spread"),
        (names.NODE_POLICY, "binpack,spread", "binpack,spread", "give binpack or spread"),
        (names.DEVICE_POLICY, "numa,fullest", "fullest", DEVICE_WORDS),
        (names.DEVICE_POLICY, "Binpack", "Binpack", DEVICE_WORDS),
        (names.DEVICE_POLICY, " , ", '""', DEVICE_WORDS),
        (names.SCORING_WEIGHTS, "slot=1,core=1", "slot=1,core=1", WEIGHTS),
        (names.SCORING_WEIGHTS, "slot=1,core=1,memory=1,gpu=1", "slot=1,core=1,memory=1,gpu=1", WEIGHTS),
        (names.SCORING_WEIGHTS, "slot=1,core=-1,memory=1", "slot=1,core=-1,memory=1", WEIGHTS),
        (names.SCORING_WEIGHTS, "slot=1,core=inf,memory=1", "slot=1,core=inf,memory=1", WEIGHTS),
        (names.SCORING_WEIGHTS, "slot=0,core=0,memory=0", "slot=0,core=0,memory=0", WEIGHTS),
        (KEYS.use_model, "", '""', LISTED),
        (KEYS.avoid_id, ",", '""', LISTED),
        (KEYS.numa_bind, "yes", "yes", "give true or false"),
        (KEYS.splitting, "mps", "mps", "give one or more of soft, hard, separated by commas"),
        (KEYS.splitting, "", '""', "give one or more of soft, hard, separated by commas"),
    ],
    ids=str,
)
def test_a_word_that_means_nothing_is_refused_by_name(key: str, text: str, shown: str, hint: str) -> None:
    assert refused({key: text}) == f"{key}: {shown} in the pod's annotations: {hint}"


def test_a_pod_that_asks_for_no_device_may_write_what_it_likes() -> None:
    pod = a_pod(a_container(limits={"cpu": 1}), annotations={names.NODE_POLICY: "fullest", KEYS.numa_bind: "yes"})

    assert requests.parse(ACME, pod, DEFAULT, KEYS) == ()


@given(
    st.dictionaries(st.sampled_from((names.NODE_POLICY, names.DEVICE_POLICY, names.SCORING_WEIGHTS, *KEYS.all())), st.text())
)
def test_any_text_is_read_or_refused_with_its_key(annotations: dict[str, str]) -> None:
    try:
        (request,) = requests.parse(ACME, a_pod(annotations=annotations), DEFAULT, KEYS)
    except ValidationError as error:
        assert error.field in annotations
    else:
        assert all(one.words and all(word == word.strip() != "" for word in one.words) for one in request.selectors)


@pytest.mark.parametrize("right", [names.NODE_POLICY, names.DEVICE_POLICY, names.SCORING_WEIGHTS, *KEYS.all()])
def test_a_key_that_is_almost_ours_is_told_and_others_own_keys_are_not(right: str) -> None:
    wrong = right[:-1]
    theirs = {"nobody.example/use-typ": "x", "acme.example/team": "x"}

    (request,) = requests.parse(ACME, a_pod(annotations={**theirs, wrong: "x"}), DEFAULT, KEYS)

    assert request.notes == (f"the annotation {wrong} has no effect; did you mean {right}?",)


def test_a_cordon_is_a_list_in_which_blanks_are_nothing() -> None:
    assert wishes.cordoned({names.DEVICE_CORDON: " d0, ,d1,"}) == {"d0", "d1"}
    assert wishes.cordoned({}) == frozenset()
