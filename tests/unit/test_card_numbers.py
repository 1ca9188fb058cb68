"""Card numbers are found in texts, and other long numbers are not taken for them."""

import time

import pytest

from deploy.sandbox import instruments
from kobklein import card_numbers

CARDS = [each.number for each in instruments.INSTRUMENTS if each.type == "card"]


@pytest.mark.parametrize("number", [*CARDS, "4222222222222", "6304000000000000018"])
def test_a_card_number_is_found_however_it_is_grouped(number: str) -> None:
    groups = [number[at : at + 4] for at in range(0, len(number), 4)]
    for text in (number, " ".join(groups), "-".join(groups), " - ".join(groups), "\u00a0".join(groups)):
        assert card_numbers.stands_in(f"12 boxes, card {text} 12/29 737"), text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4242424242424241",  # The check digit is wrong.
        "424242424242",  # Too short,
        "42424242424242424242",  # and too long.
        "1764349200000",  # Milliseconds,
        "1764349200000000008",  # and nanoseconds.
        "20261128000000000005",
        "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10",
        "0.4242424242424242",  # Decimals of a number.
        "+509 3412 3456, +509 3712 3456",
        "2026-11-28 2026-11-29",
    ],
)
def test_other_numbers_are_no_card_numbers(text: str) -> None:
    assert not card_numbers.stands_in(text)


def _seconds(text: str) -> float:
    start = time.process_time()
    assert not card_numbers.stands_in(text)
    return time.process_time() - start


@pytest.mark.parametrize("piece", ["9", "9 ", "91 ", "9\u2010\u2010\u2010", "999999999999 x", "9      "])
def test_the_cost_is_linear(piece: str) -> None:
    size = 8192
    small = min(_seconds(piece * (size // len(piece))) for _ in range(5))
    large = min(_seconds(piece * (4 * size // len(piece))) for _ in range(5))
    assert large <= 6 * small + 0.01
