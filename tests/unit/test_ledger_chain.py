"""The chain's arithmetic: what is hashed, what follows from what, and what a signature proves."""

import dataclasses
import hashlib
import struct
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallets_service.proof import chain
from wallets_service.settings import Settings

KEY = chain.Key(bytes(range(32)))
VALUES = st.lists(st.none() | st.binary(max_size=40), max_size=21)


def raw(number: int = 1, *more: bytes | None) -> bytes:
    start = (uuid.UUID(int=number).bytes, struct.pack(">Q", 700), struct.pack(">i", number), struct.pack(">q", 5))
    return chain.encoded([*start, *more])


def rows(count: int, start: int = 1) -> list[chain.Row]:
    return [chain.row(raw(number)) for number in range(start, start + count)]


FIRST = chain.sealed(None, rows(3), KEY, sealed_microseconds=1_000)
SECOND = chain.sealed(FIRST, rows(2, 4), KEY, sealed_microseconds=2_000)


@given(VALUES, VALUES)
def test_other_values_never_have_the_same_bytes(one: list[bytes | None], other: list[bytes | None]) -> None:
    assert (chain.encoded(one) == chain.encoded(other)) == (one == other)


def test_a_row_says_whose_it_is_and_where() -> None:
    row = chain.row(raw(9, b"x", None))
    assert row[:2] == (uuid.UUID(int=9), (700, 9))
    assert row.digest == hashlib.sha256(b"kobklein ledger transfer\x00\x01" + raw(9, b"x", None)).digest()


def test_a_seal_is_what_is_documented() -> None:
    fields = struct.pack(">qqiQiq", 2, 5, 2, 700, 5, 2_000)
    expected = hashlib.sha256(b"kobklein ledger seal\x00\x01" + FIRST.head.hash + fields + SECOND.digests)
    assert SECOND.head.hash == expected.digest()
    assert (SECOND.number, SECOND.head.sequence, SECOND.transfer_count, SECOND.last) == (2, 5, 2, (700, 5))


def test_seals_follow_each_other_and_are_proved() -> None:
    assert chain.follows(FIRST, None)
    assert chain.follows(SECOND, FIRST)
    assert not chain.follows(SECOND, None)
    assert chain.proved(SECOND.head)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 3},
        {"format": 2},
        {"transfer_count": 3},
        {"last": chain.Place(700, 6)},
        {"digests": bytes(64)},
        {"digests": SECOND.digests + bytes(32), "transfer_count": 3},
        {"head": dataclasses.replace(SECOND.head, sequence=6)},
        {"head": dataclasses.replace(SECOND.head, sealed_microseconds=1)},
        {"head": dataclasses.replace(SECOND.head, hash=bytes(32))},
    ],
    ids=str,
)
def test_no_part_of_a_seal_can_change(changes: dict[str, Any]) -> None:
    assert not chain.follows(dataclasses.replace(SECOND, **changes), FIRST)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 6},
        {"hash": bytes(32)},
        {"sealed_microseconds": 1},
        {"signature": bytes(64)},
        {"signature": b""},
        {"public_key": chain.Key(bytes(32)).public},
        {"public_key": b"short"},
    ],
    ids=str,
)
def test_no_part_of_a_head_can_change(changes: dict[str, Any]) -> None:
    assert not chain.proved(dataclasses.replace(SECOND.head, **changes))


def test_the_key_of_seals_is_needed_in_production_and_derived_in_development() -> None:
    common: dict[str, Any] = {
        "auth": {"hs256_secret": "x" * 32},
        "database_url": "postgresql://app@127.0.0.1/wallets",
        "page_token_key": "11" * 32,
    }
    files = {"certificate_file": "c", "key_file": "k", "authority_file": "a"}
    strict = {**common, "environment": "production", "tls": files, "reflection": False}
    with pytest.raises(ValueError, match="seal_key is needed in production"):
        Settings(**strict)
    given_key = Settings(**strict, seal_key=bytes(range(32)).hex(), seal_trusted_keys=["ab" * 32])
    assert given_key.trusted_seal_keys == {KEY.public, bytes.fromhex("ab" * 32)}
    derived = Settings(**common).signing_key
    assert derived.public == Settings(**common).signing_key.public != KEY.public


def test_no_sealer_may_pause_for_longer_than_verification_allows_for() -> None:
    given = {"auth": {"hs256_secret": "x" * 32}, "database_url": "postgresql://x", "page_token_key": "11" * 32}
    assert Settings(**given, seal_seconds=10).seal_seconds == 10
    with pytest.raises(ValueError, match="less than or equal to 10"):
        Settings(**given, seal_seconds=10.1)


@pytest.mark.parametrize("wrong", [{"seal_key": "ab"}, {"seal_key": "no hex"}, {"seal_trusted_keys": ["ab"]}], ids=str)
def test_a_key_of_another_length_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        Settings(auth={"hs256_secret": "x" * 32}, database_url="postgresql://x", page_token_key="11" * 32, **wrong)
