"""Numbers from text: what the API server writes is read, everything else is refused with what would be right."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hami_core.errors import QuantityError
from hami_core.quantity import whole

SPELLINGS = ("", "k", "M", "G", "T")


@pytest.mark.parametrize(
    "text",
    [
        "3000",
        "3k",
        "3e3",
        "3E3",
        "3000000e-3",
        "0.003M",
        ".003M",
        "3.0k",
        "3000.",
        "+3k",
        " 3000 ",
        "3E+3",
        3000,
        3000.0,
        "3000.000",
    ],
    ids=repr,
)
def test_every_decimal_spelling_of_3000_is_3000(text: object) -> None:
    assert whole(text) == 3000


@pytest.mark.parametrize(
    ("text", "number"), [("3000M", 3 * 10**9), ("3G", 3 * 10**9), ("0", 0), ("-0", 0), ("1T", 10**12), ("0k", 0)]
)
def test_decimal_suffixes_are_powers_of_ten(text: str, number: int) -> None:
    assert whole(text) == number


@pytest.mark.parametrize(
    ("text", "unit", "hint"),
    [
        ("3Gi", "MiB", "give MiB as a plain number (3072)"),
        ("512Mi", "MiB", "give MiB as a plain number (512)"),
        ("1Ti", "MiB", "give MiB as a plain number (1048576)"),
        ("1Ki", "MiB", "give MiB as a plain number (1)"),
        ("1.5Gi", "MiB", "give MiB as a plain number (1536)"),
        ("3Gi", "", 'the suffix "Gi" has no meaning here; give a plain number (3)'),
        ("1500m", "", "thousandths have no meaning here; give a whole number (2)"),
        ("3000m", "MiB", "thousandths have no meaning here; give a whole number of MiB (3)"),
        ("1.5", "", "fractions are not possible; give a whole number (2)"),
        ("-1", "MiB", "must not be negative; give a plain number of MiB"),
        ("-3k", "", "must not be negative; give a plain number"),
        ("1e99", "", "is larger than anything could be; give a plain number"),
        ("lots", "MiB", "give a plain number of MiB"),
        ("", "MiB", "give a plain number of MiB"),
        (None, "", "give a plain number"),
        (True, "", "give a plain number"),
        ([3000], "", "give a plain number"),
        ("3 000", "", "give a plain number"),
        ("٣", "", "give a plain number"),
    ],
)
def test_what_is_no_whole_number_is_refused_with_what_would_be_right(text: object, unit: str, hint: str) -> None:
    with pytest.raises(QuantityError) as caught:
        whole(text, unit)

    assert str(caught.value) == f"{text}: {hint}"


@given(
    st.one_of(
        st.text(),
        st.text("0123456789.eE+-kKMGTPimn", max_size=12),
        st.integers(),
        st.floats(),
        st.none(),
        st.lists(st.integers()),
        st.dictionaries(st.text(), st.integers()),
        st.binary(),
    ),
    st.sampled_from(("", "MiB")),
)
@example("1" * 5000, "")
@example("1" * 5000 + "Gi", "MiB")
@example("1" * 5000 + ".5", "")
@example(10**5000, "")
def test_nothing_but_a_quantity_error_is_raised(value: object, unit: str) -> None:
    try:
        number = whole(value, unit)
    except QuantityError:
        return
    assert number >= 0


@given(st.integers(0, 2**40), st.sampled_from(SPELLINGS), st.integers(0, 12))
def test_a_spelling_of_a_whole_number_is_read_exactly(number: int, suffix: str, exponent: int) -> None:
    power = 3 * SPELLINGS.index(suffix)
    shifted = number * 10**exponent
    whole_part, fraction = divmod(shifted, 10**power)
    text = f"{whole_part}.{fraction:0{power}d}{suffix}" if power else f"{shifted}"

    if shifted <= 2**53:
        assert whole(text) == shifted


@given(st.from_regex(r"\A[0-9]{1,9}(\.[0-9]{1,40})?(e-?[0-9])?\Z"))
@example("1.0000000000000000000000000000000000000001")
def test_a_number_is_read_if_and_only_if_it_is_whole(text: str) -> None:
    digits, _, exponent = text.partition("e")
    exact = Fraction(digits) * Fraction(10) ** int(exponent or 0)
    try:
        number = whole(text)
    except QuantityError:
        assert exact.denominator != 1 or exact > 2**53
    else:
        assert number == exact
