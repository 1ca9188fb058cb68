"""Card numbers are found in texts, and other numbers and ids are not taken for them."""

import hashlib
import random
import time
import uuid
from collections.abc import Iterator

import pytest

from deploy.sandbox import instruments
from kobklein import card_numbers

CARDS = [each.number for each in instruments.INSTRUMENTS if each.type == "card"]
LOOKS = 10_000


@pytest.mark.parametrize("number", CARDS)
def test_a_card_number_is_found_in_each_layout_of_cards(number: str) -> None:
    sizes = (4, 4, 4, 4) if len(number) == 16 else (4, 6, 5)
    groups = [number[sum(sizes[:at]) :][:size] for at, size in enumerate(sizes)]
    for mark in ("", " ", "-", "\u00a0", "\u2011", "\u2013"):
        text = mark.join(groups)
        for whole in (text, f"12 boxes, card {text} 12/29 737", f"4000 {text}.", f'{{"card_{text}":"{text}"}}'):
            assert card_numbers.stands_in(whole), whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4242424242424241",  # The check digit is wrong.
        "424242424242",  # Too short,
        "42424242424242424242",  # and too long.
        "4222222222222",  # Lengths that schemes hardly issue.
        "6304000000000000018",
        "2721000000000004",  # Digits that no scheme begins with at this length.
        "2220000000000000",
        "3412000000000006",
        "3590000000000000",
        "30600000000001",
        "400000000000006",
        "1764349200000",  # Milliseconds,
        "1764349200000000008",  # and nanoseconds.
        "20261128000000000005",
        "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10",
        "00000000-4242-4242-4242-424242424242",
        "4242424242424242-7",
        "A4242424242424242",
        "4242424242424242e",
        "42 42 42 42 42 42 42 42",  # No card is laid out like this,
        "4242-4242 4242-4242",  # nor with two kinds of marks.
        "4242424242 424242",
        "0.4242424242424242",  # Decimals of a number.
        "+509 3412 3456, +509 3712 3456",
        "2026-11-28 2026-11-29",
    ],
)
def test_other_numbers_are_no_card_numbers(text: str) -> None:
    assert not card_numbers.stands_in(text)


def _ids(chance: random.Random) -> Iterator[str]:
    id_ = uuid.UUID(int=chance.getrandbits(128), version=4)
    yield from (str(id_), id_.hex, id_.urn)
    for algorithm in ("md5", "sha1", "sha256"):
        yield hashlib.new(algorithm, id_.bytes, usedforsecurity=False).hexdigest()


def _phones(chance: random.Random) -> Iterator[str]:
    numbers = [f"{chance.choice('234')}{chance.randrange(10**7):07}" for _ in range(2)]
    split = [(number[:4], number[4:]) for number in numbers]
    spaced, hyphened = ([mark.join(halves) for halves in split] for mark in " -")
    for joint in (", ", " / ", "/", " or ", "\n"):
        yield from map(joint.join, (numbers, spaced, hyphened))
    yield from map(" ".join, (numbers, hyphened))
    for code in ("+509 ", "509", "509-", "(509) "):
        for written in (numbers, spaced, hyphened):
            yield " ".join(code + number for number in written)


def _long_numbers(chance: random.Random) -> Iterator[str]:
    yield str(chance.randrange(10**12, 10**13))
    yield str(chance.randrange(10**16, 10**20))


@pytest.mark.parametrize("texts", [_ids, _phones, _long_numbers])
def test_ids_and_pairs_of_phone_numbers_are_never_taken_for_cards(texts: object) -> None:
    chance = random.Random(11)
    assert callable(texts)
    taken = [text for _ in range(LOOKS) for text in texts(chance) if card_numbers.stands_in(text)]
    assert taken == []


@pytest.mark.parametrize(("length", "most"), [(14, 0.006), (15, 0.004), (16, 0.03)])
def test_few_numbers_of_the_length_of_a_card_are_taken_for_one(length: int, most: float) -> None:
    chance = random.Random(11)
    taken = sum(card_numbers.stands_in(f"{chance.randrange(10**length):0{length}}") for _ in range(LOOKS))
    assert 0 < taken / LOOKS < most


def _seconds(text: str) -> float:
    start = time.process_time()
    assert not card_numbers.stands_in(text)
    return time.process_time() - start


@pytest.mark.parametrize("piece", ["4", "4 ", "4444 ", "4444-", "4\u2010\u2010\u2010", "4444444444444444 x", "4      "])
def test_the_cost_is_linear(piece: str) -> None:
    size = 8192
    small = min(_seconds(piece * (size // len(piece))) for _ in range(5))
    large = min(_seconds(piece * (4 * size // len(piece))) for _ in range(5))
    assert large <= 6 * small + 0.01
