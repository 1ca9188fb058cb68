"""Card numbers in free texts, where they must not stand: texts are stored, shown and exported as they are."""

import re
from typing import Final

_HYPHENS: Final = r"\-\u2010-\u2013"
_MARK: Final = rf"[ \u00a0\u2007\u202f{_HYPHENS}]?"
_BEGIN: Final = rf"(?<![^\W_])(?<![{_HYPHENS}])(?<![0-9]\.)"
_END: Final = rf"(?![^\W_])(?![{_HYPHENS}])"
_FOURS: Final = rf"[0-9]{{4}}(?P<four>{_MARK})[0-9]{{4}}(?P=four)[0-9]{{4}}(?P=four)[0-9]{{4}}"
_SIX: Final = rf"[0-9]{{4}}(?P<six>{_MARK})[0-9]{{6}}(?P=six)[0-9]{{4,5}}"
_RUN: Final = re.compile(rf"{_BEGIN}(?=[2-6])(?=(?P<run>{_FOURS}|{_SIX}){_END})")
"""Digits as cards show them: 4-4-4-4, 4-6-5 or 4-6-4, with one blank or hyphen at each gap, the same one, or with none.

A letter, a digit or a hyphen beside them makes them a part of something else, such as a UUID or a digest; and decimals
of a number are none. Runs are found where they overlap, too. An attempt reads 20 characters, so the cost is linear.
"""
_OTHERS: Final = re.compile("[^0-9]")
_ISSUED: Final = re.compile(
    "4[0-9]{15}"  # Visa
    "|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    "|3[47][0-9]{13}"  # American Express
    "|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}"  # Discover
    "|62[0-9]{14}"  # UnionPay
    "|35(?:2[89]|[3-8][0-9])[0-9]{12}"  # JCB
    "|(?:30[0-5][0-9]|3095|36[0-9]{2}|3[89][0-9]{2})[0-9]{10}|30[0-5][0-9]{13}"  # Diners Club
)
"""Lengths and first digits of the numbers that card schemes issue. Lengths that are rare, such as Visa's 13 and 19, are
left out: they would take far more numbers of orders and times for cards than they would find cards."""
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def stands_in(text: str) -> bool:
    """Whether a text holds a card number: 14 to 16 digits of a scheme with a right check digit, laid out as on cards.

    A number that means something else can look the same. By chance 2.4 % of all strings of 16 digits do, 0.2 % of those
    of 15, and 0.4 % of those of 14; so does every tenth pair of phone numbers `4xxx xxxx` with one blank between them.
    """
    return any(_is_card(_OTHERS.sub("", match["run"])) for match in _RUN.finditer(text))


def _is_card(number: str) -> bool:
    return _ISSUED.fullmatch(number) is not None and _passes_check(number)


def _passes_check(number: str) -> bool:
    """Whether the last digit is right, by the formula of ISO/IEC 7812-1 (Luhn)."""
    digits = [int(digit) for digit in reversed(number)]
    return (sum(digits[::2]) + sum(_DOUBLED[digit] for digit in digits[1::2])) % 10 == 0
