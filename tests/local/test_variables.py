from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core.local.variables import expand


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "one"),
        ("x$(A)y$(B)z", "xoneytwoz"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
    ],
)
def test_variables_are_put_in_by_kubernetes_rules(text: str, expanded: str) -> None:
    assert expand(text, {"A": "one", "B": "two"}) == expanded


def test_a_value_is_not_expanded_again() -> None:
    assert expand("$(A)", {"A": "$(B)", "B": "two"}) == "$(B)"


@given(st.text())
def test_doubled_dollars_protect_any_text(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"": "x", "A": "y"}) == text
