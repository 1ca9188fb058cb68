"""Card numbers in free texts, where they must not stand: texts are stored, shown and exported as they are."""

import itertools
import re
from typing import Final

_SEPARATORS: Final = r"[\s\u00ad\u2010-\u2015-]{0,3}"
_RUN: Final = re.compile(rf"(?<![0-9])(?<![0-9]\.)[0-9](?:{_SEPARATORS}[0-9]){{12,}}")
"""Digits, in groups or not, that are enough for a card number; the decimals of a number are none."""
_GROUP: Final = re.compile("[0-9]+")
_ISSUED: Final = re.compile("[3-6][0-9]{12,18}|2[2-7][0-9]{14}")
"""Lengths and first digits of the numbers that card schemes issue. Others that pass the check digit by chance, such as
every tenth time in milliseconds or order number that begins with a year, are none."""
_LONGEST: Final = 19
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def stands_in(text: str) -> bool:
    """Whether a text holds a card number: 13 to 19 digits with a right check digit, with spaces and dashes or without.

    The cost is linear in the length of the text.
    """
    return any(map(_holds_one, _RUN.findall(text)))


def _holds_one(run: str) -> bool:
    groups = _GROUP.findall(run)
    return any(
        _ISSUED.fullmatch(number) and _passes_check(number)
        for start in range(len(groups))
        for number in itertools.takewhile(_is_short, itertools.accumulate(groups[start : start + _LONGEST]))
    )


def _is_short(number: str) -> bool:
    return len(number) <= _LONGEST


def _passes_check(number: str) -> bool:
    """Whether the last digit is right, by the formula of ISO/IEC 7812-1 (Luhn)."""
    digits = [int(digit) for digit in reversed(number)]
    return (sum(digits[::2]) + sum(_DOUBLED[digit] for digit in digits[1::2])) % 10 == 0
