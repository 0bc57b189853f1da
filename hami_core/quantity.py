"""Numbers from the text of a manifest or a setting: whole numbers in the unit that the field has.

Kubernetes' API server rewrites quantities (``3000`` comes back as ``"3k"``, ``"3000M"`` as ``3G``; seen), so decimal forms are
the integers they stand for. Binary suffixes, milli, and fractions are refused with what would be right.
Forms: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from hami_core.errors import QuantityError

_DECIMAL = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_MIB = {"Ki": Fraction(1, 1024), "Mi": Fraction(1), "Gi": Fraction(1024), "Ti": Fraction(1024**2)}
_FORM = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,2})|([A-Za-zµ]{0,3}))", re.ASCII)
_LARGEST = 2**53  # beyond it no unit of ours means anything, and JSON readers lose digits
_ORDINARY = 16  # digits that stay below the largest
_LONGEST = 64  # characters; a longer text is no number that a person meant, and Python refuses to convert the longest


def whole(value: object, unit: str = "") -> int:
    """The whole number that a quantity stands for: 3000, "3000", "3k" and "3e3" are 3000.

    ``unit`` is the word for messages, e.g. "MiB". QuantityError: anything else, with what would be right.
    """
    text = _text(value, unit)
    if text.isdecimal() and text.isascii() and len(text) < _ORDINARY:  # what nearly every manifest says
        return int(text)
    match = _FORM.fullmatch(text)
    if match is None:
        raise QuantityError(_cut(value), f"give a plain number{_of(unit)}")
    sign, digits, exponent, suffix = match.groups()
    if suffix and suffix not in _DECIMAL:
        raise QuantityError(value, _right_form(Fraction(digits), suffix, unit))
    number = Fraction(digits) * Fraction(10) ** (int(exponent or 0) + _DECIMAL[suffix or ""])
    if number.denominator != 1:
        raise QuantityError(value, f"fractions are not possible; give a whole number{_of(unit)} ({_near(number)})")
    if sign == "-" and number:
        raise QuantityError(value, f"must not be negative; give a plain number{_of(unit)}")
    if number > _LARGEST:
        raise QuantityError(value, f"is larger than anything could be; give a plain number{_of(unit)}")
    return int(number)


def _text(value: object, unit: str) -> str:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise QuantityError("a huge number", f"is larger than anything could be; give a plain number{_of(unit)}")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise QuantityError(value, f"give a plain number{_of(unit)}")
    text = str(value).strip()
    if len(text) > _LONGEST:
        raise QuantityError(_cut(text), f"give a plain number{_of(unit)}")
    return text


def _cut(value: object) -> object:
    return f"{value[:_LONGEST]}..." if isinstance(value, str) and len(value) > _LONGEST else value


def _of(unit: str) -> str:
    return f" of {unit}" if unit else ""


def _near(number: Fraction) -> int:
    """The whole number to propose. Rounded up: a person who asked for something needs at least that."""
    return min(max(1, math.ceil(number)), _LARGEST)


def _right_form(digits: Fraction, suffix: str, unit: str) -> str:
    if unit == "MiB" and suffix in _BINARY_MIB:
        return f"give MiB as a plain number ({_near(digits * _BINARY_MIB[suffix])})"
    if suffix == "m":
        return f"thousandths have no meaning here; give a whole number{_of(unit)} ({_near(digits / 1000)})"
    guess = "" if unit else f" ({_near(digits)})"  # 3GB are not 3 MiB: what was meant is not ours to guess
    return f'the suffix "{suffix}" has no meaning here; give a plain number{_of(unit)}{guess}'
