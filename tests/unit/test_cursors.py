"""Cursors: each is of one watch and one place, and nobody else's text is one."""

import string
import uuid

import pytest

from kobklein import errors
from wallets_service.cursors import Cursors

ACCOUNT = uuid.UUID(int=7)
CURSORS = Cursors("00" * 32)


@pytest.mark.parametrize("account_id", [None, ACCOUNT])
@pytest.mark.parametrize("position", [(0, 0), (1, 0), (2**63, 2**31 - 1)])
def test_a_cursor_reads_as_it_was_written(account_id: uuid.UUID | None, position: tuple[int, int]) -> None:
    assert CURSORS.read(account_id, CURSORS.write(account_id, position)) == position


@pytest.mark.parametrize("place", range(27))
def test_with_any_other_letter_it_is_none(place: int) -> None:
    cursor = CURSORS.write(ACCOUNT, (3, 0))
    for letter in set(string.ascii_letters + string.digits + "-_") - {cursor[place]}:
        with pytest.raises(errors.InvalidArgument):
            CURSORS.read(ACCOUNT, cursor[:place] + letter + cursor[place + 1 :])


@pytest.mark.parametrize("text", ["", "x", "é", "=" * 40, "A" * 27, "A" * 28, CURSORS.write(None, (3, 0))])
def test_what_is_no_cursor_of_the_watch_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        CURSORS.read(ACCOUNT, text)
