"""Who leads: the Lease followed, as a machine of states and as a property of any order of what happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core import names
from hami_core.kube.objects import Lease, LeaseSpec, Meta
from hami_scheduler.leadership import Leadership, Phase, is_ours, term_of

OURS, THEIRS = "gpu-1_0f3c-77", "gpu-2_9a1b-20"  # holders
PROCESS = "a1b2"
MINE, AGAIN, YOURS = "a1b2-1", "a1b2-2", "c3d4-1"  # words: of this process's claims, and of another's


def a_lease(holder: str | None = OURS, transitions: int | None = 0, word: str | None = MINE) -> Lease:
    annotations = None if word is None else {names.EXTENDER: word}
    return Lease(
        Meta(name="hami-scheduler", annotations=annotations), LeaseSpec(holder_identity=holder, lease_transitions=transitions)
    )


def standing_by() -> Leadership:
    return Leadership("gpu-1", PROCESS, grace=1.0, rest=2.0)


def claiming() -> Leadership:
    return standing_by().seen(a_lease(word=YOURS), 9.0)


def leading() -> Leadership:
    state = claiming().seen(a_lease(), 10.0).passed(11.0)
    return state.listed(state.term, 12.0)


def superseded() -> Leadership:
    return leading().seen(a_lease(word=YOURS), 20.0)


def test_who_sees_its_own_name_claims_waits_lists_and_leads() -> None:
    first, named = standing_by(), claiming()
    claimed = named.seen(a_lease(), 10.0)
    early, over = claimed.passed(10.9), claimed.passed(11.0)
    leads = over.listed(f"{OURS}/0/{MINE}", 12.0)

    assert [one.phase for one in (first, named, claimed, early, over, leads)] == [
        Phase.STANDBY,
        Phase.CLAIMING,
        Phase.GRACE,
        Phase.GRACE,
        Phase.LISTING,
        Phase.LEADING,
    ]
    assert leads.term == f"{OURS}/0/{MINE}"


def test_the_grace_begins_when_the_lease_shows_our_word() -> None:
    assert claiming().passed(100.0).phase is Phase.CLAIMING
    assert claiming().seen(a_lease(), 100.0).passed(100.9).phase is Phase.GRACE


def test_who_claims_goes_on_whoevers_word_it_sees() -> None:
    state = claiming()

    assert state.seen(a_lease(word="anybody's"), 10.0) is state


def test_who_sees_another_name_stands_by() -> None:
    state = leading().seen(a_lease(THEIRS, 1), 20.0)

    assert (state.phase, state.term, state.holder) == (Phase.STANDBY, "", THEIRS)


@pytest.mark.parametrize("lease", [None, a_lease(None), a_lease("")])
def test_nobody_leads_without_a_holder(lease: Lease | None) -> None:
    state = leading().seen(lease, 20.0)

    assert (state.phase, state.term) == (Phase.STANDBY, "")


def test_our_own_name_under_another_term_is_a_new_leadership_with_a_word_of_its_own() -> None:
    state = leading().seen(a_lease(OURS, 2), 20.0)

    assert (state.phase, state.term) == (Phase.CLAIMING, f"{OURS}/2/{AGAIN}")
    assert state.seen(a_lease(OURS, 2, AGAIN), 21.0).phase is Phase.GRACE


@pytest.mark.parametrize("word", [YOURS, AGAIN, "", None])
def test_who_sees_its_word_no_more_leads_no_more(word: str | None) -> None:
    state = leading().seen(a_lease(word=word), 20.0)

    assert (state.phase, state.leading) == (Phase.SUPERSEDED, False)


@pytest.mark.parametrize("seconds", [0.0, 1.0], ids=["in its grace", "while it lists"])
def test_who_is_superseded_before_it_leads_does_not_go_on_either(seconds: float) -> None:
    state = claiming().seen(a_lease(), 10.0).passed(10.0 + seconds).seen(a_lease(word=YOURS), 12.0)

    assert state.phase is Phase.SUPERSEDED
    assert state.passed(20.0).listed(state.term, 21.0) is state


def test_who_is_superseded_stays_so_under_every_lease_of_this_term() -> None:
    state = superseded()

    assert state.seen(a_lease(word="another"), 30.0) is state


def test_who_is_superseded_claims_with_another_word_when_it_is_asked_after_a_rest() -> None:
    """Under the former one Bindings may still be on their way, and what they hold has been given to others."""
    state = superseded()

    assert state.asked(21.9) is state
    assert (state.asked(22.0).phase, state.asked(22.0).word) == (Phase.CLAIMING, AGAIN)


def test_who_is_superseded_begins_anew_under_another_term() -> None:
    assert superseded().seen(a_lease(transitions=1, word=YOURS), 21.0).phase is Phase.CLAIMING


@pytest.mark.parametrize("state", [standing_by(), claiming(), leading()], ids=["standby", "claiming", "leading"])
def test_to_be_asked_changes_nothing_else(state: Leadership) -> None:
    assert state.asked(100.0) is state


def test_a_renewed_lease_changes_nothing() -> None:
    state = leading()

    assert state.seen(a_lease(), 20.0) is state


def test_lists_that_were_begun_under_another_term_do_not_count() -> None:
    listing = leading().seen(a_lease(OURS, 2), 20.0).seen(a_lease(OURS, 2, AGAIN), 20.0).passed(30.0)

    assert (listing.phase, listing.listed(f"{OURS}/0/{MINE}", 31.0)) == (Phase.LISTING, listing)


@pytest.mark.parametrize(
    ("holder", "identity", "ours"),
    [
        ("a_1-2", "a", True),
        ("a_b_1-2", "a_b", True),
        ("a_b_1-2", "a", False),
        ("a", "a", False),
        ("a_", "a", False),
        ("", "", False),
        ("b_1", "a", False),
    ],
)
def test_the_holder_is_ours_if_it_is_our_name_and_one_word(holder: str, identity: str, ours: bool) -> None:
    assert is_ours(holder, identity) is ours


def test_a_lease_without_transitions_is_the_first_term() -> None:
    assert term_of(a_lease(OURS, None)) == f"{OURS}/0/{MINE}"


@pytest.mark.parametrize("lease", [None, a_lease(None), a_lease(""), a_lease(word=None), a_lease(word="")])
def test_without_a_holder_or_a_word_there_is_no_term(lease: Lease | None) -> None:
    assert term_of(lease) == ""


_WORDS = st.sampled_from([*(f"{PROCESS}-{n}" for n in range(1, 9)), YOURS, None])
_LEASES = st.builds(a_lease, st.sampled_from([OURS, OURS, THEIRS, "", None]), st.integers(0, 1), _WORDS)
_EVENTS = st.one_of(
    st.tuples(st.just("seen"), _LEASES | st.none()),
    st.tuples(st.just("shown"), st.none()),
    st.tuples(st.sampled_from(["passed", "asked"]), st.none()),
    st.tuples(st.just("listed"), st.booleans()),
)


@given(st.lists(st.tuples(_EVENTS, st.floats(0, 2)), max_size=40))
def test_who_leads_has_listed_under_the_term_of_the_last_lease_after_its_grace(
    events: list[tuple[tuple[str, object], float]],
) -> None:
    state, now, last, since, listed = standing_by(), 0.0, None, 0.0, ""
    for (what, value), seconds in events:
        now += seconds
        if what in {"seen", "shown"}:
            lease = _shown(state) if what == "shown" else value
            assert lease is None or isinstance(lease, Lease)
            if term_of(lease) != term_of(last):
                since, listed = now, ""
            last, state = lease, state.seen(lease, now)
        elif what == "listed":
            term = state.term if value else YOURS
            if state.phase is Phase.LISTING and now - since >= 1.0:
                listed = term if term == state.term else listed
            state = state.listed(term, now)
        else:
            state = state.passed(now) if what == "passed" else state.asked(now)
        if state.leading:
            assert state.term == term_of(last) == listed
            assert state.term.startswith(OURS)


def _shown(state: Leadership) -> Lease:
    """The Lease that it waits for; kube-scheduler's, if it waits for none."""
    return a_lease(OURS, int(state.reign.rpartition("/")[2] or 0), state.word)
