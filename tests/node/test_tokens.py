"""Tokens and their text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core.errors import WireError
from hami_core.node import tokens
from hami_core.node.tokens import Token

WORDS = st.text(st.characters(exclude_categories=("Z", "C"), exclude_characters=","), min_size=1)
TOKENS = st.builds(Token, WORDS | st.just("MIG-0::1"), st.integers(0, 10**9 - 1))


def test_a_token_is_the_device_and_the_slot() -> None:
    assert str(Token("GPU-5f2a", 7)) == "GPU-5f2a::7"


@given(TOKENS)
def test_a_token_is_read_back_from_its_text(token: Token) -> None:
    assert tokens.parse(str(token)) == token


@given(st.text())
def test_a_text_is_a_token_in_one_spelling_or_none(text: str) -> None:
    try:
        token = tokens.parse(text)
    except WireError:
        return

    assert str(token) == text


@pytest.mark.parametrize(
    "text", ["", "GPU-1", "GPU-1::", "::3", "GPU-1::03", "GPU-1::-1", "GPU-1::x", "GPU 1::0", "GPU-1::0\n"]
)
def test_what_is_no_token_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(WireError) as refused:
        tokens.parse(text)

    assert str(refused.value) == (f"device id @ {text!r}: is no token: a device, '::' and the number of a slot would be right")


def test_a_token_of_an_nvidia_device_fits_the_interface() -> None:
    assert len(str(Token("GPU-00000000-0000-0000-0000-000000000000", 99))) <= 63
