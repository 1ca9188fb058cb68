"""Ids that are found again."""

import hashlib
import uuid

from hypothesis import given
from hypothesis import strategies as st

from kobklein import ids

printable = st.text(st.characters(exclude_categories=["C"]), min_size=1)


@given(printable, printable, printable, printable)
def test_a_key_has_one_id_and_belongs_to_one_caller(one: str, key: str, other: str, other_key: str) -> None:
    same = (one, key) == (other, other_key)
    assert (ids.of_key(one, key) == ids.of_key(other, other_key)) == same
    assert ids.of_key(one, key) == ids.of_key(one, key)


def test_where_the_caller_ends_and_the_key_begins_is_part_of_the_id() -> None:
    assert ids.of_key("user-1", "1-a") != ids.of_key("user-11", "-a")


@given(printable)
def test_the_id_of_a_name_is_its_hash_and_says_so(name: str) -> None:
    id_, digest = ids.named(name), hashlib.sha256(name.encode()).digest()
    assert (id_.version, id_.variant) == (8, uuid.RFC_4122)
    marked = 0xF << 76 | 0x3 << 62
    assert (id_.int ^ int.from_bytes(digest[:16], "big")) & ~marked == 0
