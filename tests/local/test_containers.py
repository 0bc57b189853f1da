from __future__ import annotations

from hami_core.local.containers import Backoff


def test_delays_double_up_to_the_most_and_begin_anew_after_a_good_run() -> None:
    backoff = Backoff(first_s=1.0, most_s=60.0)

    assert [backoff.delay(runs) for runs in (0, 1, 2, 3, 6, 7, 1000)] == [0.0, 1.0, 2.0, 4.0, 32.0, 60.0, 60.0]
