"""Rates between their decimal text and the exact fractions that are computed with."""

from fractions import Fraction
from typing import Final

PLACES: Final = 12
"""Decimals of a rate; what a source gives beyond them is cut off, in the platform's favour."""
MAX_VALUE: Final = 10**9
"""Every rate is less than this."""
_SCALE: Final = 10**PLACES


def text(value: Fraction) -> str:
    """Return a number that is not negative as decimal text, cut after PLACES decimals, without zeros at the end."""
    whole, part = divmod(value.numerator * _SCALE // value.denominator, _SCALE)
    return f"{whole}.{part:0{PLACES}d}".rstrip("0").rstrip(".")


def rounded_down(value: Fraction) -> Fraction:
    """Return the greatest number of PLACES decimals that is not above `value`."""
    return Fraction(value.numerator * _SCALE // value.denominator, _SCALE)
