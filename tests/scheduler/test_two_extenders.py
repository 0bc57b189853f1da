"""Two extenders beside one kube-scheduler that lives, in any order of what happens: who binds knows what others got through."""

from __future__ import annotations

from attrs import Factory, define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_scheduler.leadership import Leadership, Phase, term_of
from tests.scheduler.test_leadership import a_lease

GRACE = 10  # in whole ticks: no two moments differ by a rounding
TICKS = [0, 0, 1, GRACE // 2, GRACE]
STEPS = {
    "claims": ("sees", "is asked", "writes", "sees"),
    "gets ready": ("passes", "lists"),
    **{
        step: (step,)
        for step in ("binds", "late Bindings", "late claims", "dies", "sees", "sends", "writes", "passes", "is asked")
    },
}
OFTEN = ["claims", "gets ready", "gets ready", "binds", "binds", "late Bindings", "late claims"]


@define
class Place:
    """Where one process runs after the other. It sees the Lease when it does."""

    state: Leadership
    saw: int = -1  # the Lease's version
    began: int = 0  # when its lists did


def a_place(process: str) -> Place:
    return Place(Leadership("gpu-1", process, grace=GRACE, rest=GRACE / 2))


@define
class Beside:
    """The Lease as the API server has it, and both places.

    The policy's cache may be as late as the grace is long: what the Lease said within that time may still be let through. And
    whatever was sent may be carried out at any time after, also when its sender is dead.
    """

    now: int = 0
    processes: int = 2
    leases: list[tuple[int, str]] = field(factory=lambda: [(0, "")])  # since when, and whose word
    both: list[Place] = Factory(lambda: [a_place("process1"), a_place("process2")])
    claims: list[tuple[str, int]] = field(factory=list)  # sent, and on which version
    led: list[str] = field(factory=list)  # words of which there may be Bindings
    through: list[tuple[int, str]] = field(factory=list)  # what was bound, when and under which word

    def happens(self, who: int, step: str) -> None:
        getattr(self, step.replace(" ", "_"))(who)

    def sees(self, who: int) -> None:
        one = self.both[who]
        one.saw = len(self.leases) - 1
        one.state = one.state.seen(a_lease(word=self.leases[-1][1]), self.now)

    def is_asked(self, who: int) -> None:
        self.both[who].state = self.both[who].state.asked(self.now)

    def sends(self, who: int) -> None:
        if self.both[who].state.phase is Phase.CLAIMING:
            self.claims.append((self.both[who].state.word, self.both[who].saw))

    def writes(self, who: int) -> None:
        self.sends(who)
        self.late_claims(who)

    def late_claims(self, _: int) -> None:
        """Each is of the Lease that was seen, and of no later one."""
        for word, version in self.claims:
            if version == len(self.leases) - 1:
                self.leases.append((self.now, word))

    def passes(self, who: int) -> None:
        one = self.both[who]
        before, one.state = one.state.phase, one.state.passed(self.now)
        if before is not one.state.phase:
            one.began = self.now

    def lists(self, who: int) -> None:
        one = self.both[who]
        one.state = one.state.listed(one.state.term, self.now)
        if one.state.leading:
            self.led.append(one.state.word)

    def binds(self, who: int) -> None:
        one = self.both[who]
        if one.state.leading and self._arrives(one.state.word):
            assert one.state.term == term_of(a_lease(word=one.state.word))
            assert all(at <= one.began for at, word in self.through if word != one.state.word)

    def late_Bindings(self, _: int) -> None:  # noqa: N802  as Kubernetes spells it
        for word in self.led:
            self._arrives(word)

    def dies(self, who: int) -> None:
        """kill -9, and another process in its place."""
        self.processes += 1
        self.both[who] = a_place(f"process{self.processes}")

    def _arrives(self, word: str) -> bool:
        """Whether a Binding under this word is let through now."""
        ends = [*(since for since, _ in self.leases[1:]), self.now]
        lately = {shown for (_, shown), end in zip(self.leases, ends, strict=True) if self.now - end < GRACE}
        if word in lately:
            self.through.append((self.now, word))
        return word in lately


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([*OFTEN, *OFTEN, *STEPS]), st.sampled_from(TICKS)), max_size=60)
)
def test_who_binds_began_its_lists_after_the_last_that_anybody_else_got_through(steps: list[tuple[int, str, int]]) -> None:
    beside = Beside()
    for who, steps_of_one, ticks in steps:
        beside.now += ticks
        for step in STEPS[steps_of_one]:
            beside.happens(who, step)


def test_the_one_takes_the_lead_from_the_other_and_back() -> None:
    """So that the property above speaks of something."""
    beside = Beside()
    for who in (0, 1, 0):
        for step in ("sees", "is asked", "writes", "sees", "passes", "lists", "binds"):
            beside.now += GRACE
            beside.happens(who, step)

    assert [word for _, word in beside.through] == ["process1-1", "process2-1", "process1-2"]
