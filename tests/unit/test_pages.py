"""Page tokens are opaque, and good only for the list they came from."""

import base64

import pytest

from kobklein import errors, pages
from kobklein.payments.v1 import payments_pb2 as pb

KEY = "ab" * 32
REQUEST = pb.ListPaymentsRequest(user_id="user-1", page_size=2)


def opened(token: str, **changes: object) -> list[object] | None:
    request = pb.ListPaymentsRequest(page_token=token, **({"user_id": "user-1"} | changes))  # type: ignore[arg-type]  # mixed values
    return pages.Pager(KEY).open(request)


@pytest.fixture
def token() -> str:
    return pages.Pager(KEY).seal(REQUEST, ["2026-01-01", 7])


def test_a_token_opens_to_its_position_whatever_the_page_size(token: str) -> None:
    assert opened(token, page_size=9) == ["2026-01-01", 7]


@pytest.mark.parametrize(("asked", "size"), [(0, 50), (1, 1), (200, 200), (201, 200), (2**31 - 1, 200)])
def test_a_page_is_as_large_as_asked_for_up_to_a_limit(asked: int, size: int) -> None:
    assert pages.size(pb.ListPaymentsRequest(page_size=asked)) == size


def test_the_first_page_has_no_position() -> None:
    assert pages.Pager(KEY).open(REQUEST) is None


def test_a_token_is_refused_with_another_filter(token: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="page_token"):
        opened(token, user_id="user-2")


def test_a_token_is_refused_when_any_bit_of_it_changes(token: str) -> None:
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for index in range(len(raw)):
        changed = bytearray(raw)
        changed[index] ^= 1
        with pytest.raises(errors.InvalidArgument):
            opened(base64.urlsafe_b64encode(changed).decode().rstrip("="))


@pytest.mark.parametrize("garbage", ["x", "é", "AAAA", "....", "A" * 1024, "=" * 8])
def test_garbage_is_refused(garbage: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        opened(garbage)


def test_a_token_tells_nothing_of_its_position(token: str) -> None:
    assert b"2026" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def test_a_page_has_a_default_size() -> None:
    assert pages.size(pb.ListPaymentsRequest()) == pages.DEFAULT_SIZE
    assert pages.size(REQUEST) == 2
