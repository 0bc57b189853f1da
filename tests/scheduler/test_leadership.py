"""Who leads: the Lease followed, as a machine of states and as a property of any order of what happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core.kube.objects import Lease, LeaseSpec, Meta
from hami_scheduler.leadership import Leadership, Phase, is_ours, term_of

OURS, THEIRS = "gpu-1_0f3c-77", "gpu-2_9a1b-20"


def a_lease(holder: str | None = OURS, transitions: int | None = 0) -> Lease:
    return Lease(Meta(name="hami-scheduler"), LeaseSpec(holder_identity=holder, lease_transitions=transitions))


def leading(holder: str = OURS, transitions: int = 0) -> Leadership:
    state = Leadership("gpu-1", grace=1.0).seen(a_lease(holder, transitions), 10.0).passed(11.0)
    return state.listed(state.term, 12.0)


def test_who_sees_its_own_name_waits_lists_and_leads() -> None:
    first = Leadership("gpu-1", grace=1.0)
    seen = first.seen(a_lease(), 10.0)
    early, over = seen.passed(10.9), seen.passed(11.0)
    leads = over.listed(f"{OURS}/0", 12.0)

    assert [one.phase for one in (first, seen, early, over, leads)] == [
        Phase.STANDBY,
        Phase.GRACE,
        Phase.GRACE,
        Phase.LISTING,
        Phase.LEADING,
    ]
    assert leads.term == f"{OURS}/0"


def test_who_sees_another_name_stands_by() -> None:
    state = leading().seen(a_lease(THEIRS, 1), 20.0)

    assert (state.phase, state.term, state.holder) == (Phase.STANDBY, "", THEIRS)


@pytest.mark.parametrize("lease", [None, a_lease(None), a_lease("")])
def test_nobody_leads_without_a_holder(lease: Lease | None) -> None:
    state = leading().seen(lease, 20.0)

    assert (state.phase, state.term) == (Phase.STANDBY, "")


def test_our_own_name_under_another_term_is_a_new_leadership() -> None:
    again = leading().seen(a_lease(OURS, 2), 20.0)

    assert (again.phase, again.term) == (Phase.GRACE, f"{OURS}/2")


def test_a_renewed_lease_changes_nothing() -> None:
    state = leading()

    assert state.seen(a_lease(), 20.0) is state


def test_lists_that_were_begun_under_another_term_do_not_count() -> None:
    listing = leading().seen(a_lease(OURS, 2), 20.0).passed(30.0)

    assert listing.listed(f"{OURS}/0", 31.0) is listing


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
    assert term_of(a_lease(OURS, None)) == f"{OURS}/0"


_LEASES = st.builds(a_lease, st.sampled_from([OURS, THEIRS, "", None]), st.integers(0, 3))
_EVENTS = st.one_of(
    st.tuples(st.just("seen"), _LEASES | st.none()),
    st.tuples(st.just("passed"), st.none()),
    st.tuples(st.just("listed"), st.sampled_from([f"{OURS}/{n}" for n in range(4)])),
)


Happening = tuple[tuple[str, object], float]


@given(st.lists(st.tuples(_EVENTS, st.floats(0, 2)), max_size=40))
def test_who_leads_has_listed_under_the_term_of_the_last_lease_after_its_grace(
    events: list[tuple[tuple[str, object], float]],
) -> None:
    state, now, last, since, listed = Leadership("gpu-1", grace=1.0), 0.0, None, 0.0, ""
    for (what, value), seconds in events:
        now += seconds
        if what == "seen":
            assert value is None or isinstance(value, Lease)
            if term_of(value) != term_of(last):
                since, listed = now, ""
            last, state = value, state.seen(value, now)
        elif what == "passed":
            state = state.passed(now)
        else:
            if state.phase is Phase.LISTING and now - since >= 1.0:
                listed = str(value) if value == state.term else listed
            state = state.listed(str(value), now)
        if state.leading:
            assert state.term == term_of(last) == listed
            assert state.term.startswith(OURS)
