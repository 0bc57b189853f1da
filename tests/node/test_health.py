from __future__ import annotations

from hami_core.node.health import SILENT, Health, sick, told

DEVICES = ("a", "b")
SETTLE, SILENCE = 10.0, 60.0


def after(*answers: tuple[float, dict[str, str]]) -> Health:
    """The health after answers at these times."""
    health = Health(0.0)
    for now, reasons in answers:
        health = told(health, reasons, now, SETTLE)
    return health


def test_a_device_that_is_called_sick_is_out_at_once() -> None:
    assert sick(after((1, {"a": "lost"})), DEVICES, 1, SILENCE) == {"a": "lost"}


def test_it_is_in_again_when_it_was_well_for_long_enough() -> None:
    assert sick(after((1, {"a": "lost"}), (10.9, {})), DEVICES, 10.9, SILENCE) == {"a": "lost"}
    assert sick(after((1, {"a": "lost"}), (11, {})), DEVICES, 11, SILENCE) == {}


def test_what_flickers_stays_out() -> None:
    flickering = after((1, {"a": "lost"}), (5, {}), (9, {"a": "lost again"}), (18, {}))

    assert sick(flickering, DEVICES, 18, SILENCE) == {"a": "lost"}


def test_the_words_of_a_reason_stay_for_a_while() -> None:
    looks = [(now, {"a": f"hot: {now} degrees"}) for now in (1, 9, 18, 27, 36, 45, 54)]

    assert sick(after(*looks, (60, {"a": "lost"})), DEVICES, 60, SILENCE) == {"a": "hot: 1 degrees"}
    assert sick(after(*looks, (61, {"a": "lost"})), DEVICES, 61, SILENCE) == {"a": "lost"}


def test_without_a_time_to_settle_it_is_in_with_the_next_answer() -> None:
    health = told(told(Health(0.0), {"a": "lost"}, 1, 0), {}, 1.1, 0)

    assert sick(health, DEVICES, 1.1, SILENCE) == {}


def test_the_last_answer_stands_for_a_while() -> None:
    assert sick(after((1, {"a": "lost"})), DEVICES, 60.9, SILENCE) == {"a": "lost"}


def test_after_that_nobody_knows_and_nothing_new_comes() -> None:
    assert sick(after((1, {"a": "lost"})), DEVICES, 61, SILENCE) == {"a": "lost", "b": SILENT}


def test_one_answer_ends_the_silence() -> None:
    assert sick(after((1, {}), (100, {})), DEVICES, 100, SILENCE) == {}
