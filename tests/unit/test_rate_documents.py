"""The document of a rate source: read exactly, or not believed at all."""

import datetime
import json
from fractions import Fraction
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallets_service.rates import documents

NOW: Final = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
GOOD: Final = {"base": "USD", "time": "2026-01-02T03:04:05Z", "rates": {"HTG": "131.25"}}


def parse(content: Any) -> documents.Document:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return documents.parse(raw, now=NOW)


def test_a_document_is_read() -> None:
    assert parse(GOOD) == documents.Document("USD", NOW, {"HTG": Fraction("131.25"), "USD": Fraction(1)})


def test_strings_and_numbers_are_read_exactly_from_their_digits() -> None:
    digits = "131.250000000000000000000000000001"
    for shown in (digits, f'"{digits}"'):
        raw = f'{{"base": "USD", "time": "2026-01-02T03:04:05Z", "rates": {{"HTG": {shown}}}}}'.encode()
        assert parse(raw).rates["HTG"] == Fraction(digits)
    small = b'{"base": "USD", "time": "2026-01-02T03:04:05Z", "rates": {"HTG": 7.1e-5}}'
    assert parse(small).rates["HTG"] == Fraction("0.000071")


def test_what_the_platform_does_not_know_is_passed_over() -> None:
    document = parse(GOOD | {"licence": {"x": [None, True]}, "rates": {"HTG": "131.25", "XAU": "-1", "BTC": None}})
    assert document.rates.keys() == {"USD", "HTG"}


def test_the_base_may_be_among_its_own_rates_if_it_is_worth_itself() -> None:
    assert parse(GOOD | {"rates": {"HTG": "131.25", "USD": 1.0}}) == parse(GOOD)
    with pytest.raises(documents.Refused):
        parse(GOOD | {"rates": {"HTG": "131.25", "USD": 1.1}})


@pytest.mark.parametrize("time", ["2026-01-02T03:05:05Z", "2026-01-02T04:04:05+01:00", "1999-01-01T00:00:00Z"])
def test_an_instant_may_be_given_in_any_zone_and_be_a_little_ahead(time: str) -> None:
    assert parse(GOOD | {"time": time}).time == datetime.datetime.fromisoformat(time)


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-02T03:05:05.000001Z",
        "2027-01-01T00:00:00Z",
        "2026-01-02T03:04:05",
        "9999-12-31T23:59:59-23:59",
        "yesterday",
        "",
        None,
        1767323045,
        1767323045.5,
        True,
        ["2026-01-02T03:04:05Z"],
    ],
)
def test_a_time_in_the_future_or_of_no_instant_is_refused(time: Any) -> None:
    with pytest.raises(documents.Refused, match=r"^time "):
        parse(GOOD | {"time": time})


@pytest.mark.parametrize(
    "rate",
    [
        *("0", "0.000", "-1", "+1", "1,5", " 1", "1 ", "1.", ".5", "1_000", "0x1", "٣", "", "NaN", "Infinity", "1e400"),
        *("1000000000", "0.0000000000001", "1e-99", "1e99", "9" * 13, "1." + "0" * 31),
        *(0, -1, 1e9, 1e300, None, True, [], {}),
    ],
)
def test_a_rate_that_is_none_or_out_of_all_reason_is_refused_with_all_the_others(rate: Any) -> None:
    with pytest.raises(documents.Refused, match=r"^the rate of HTG "):
        parse(GOOD | {"rates": {"EUR": "0.9", "HTG": rate}})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"base": "USD", "time": "2026-01-02T03:04:05Z", "rates": {"HTG": NaN}}',
        b'{"base": "USD", "time": "2026-01-02T03:04:05Z", "rates": {"HTG": "1", "HTG": "2"}}',
        b'{"base": "USD", "base": "EUR", "time": "2026-01-02T03:04:05Z", "rates": {"HTG": "1"}}',
        [],
        None,
        "USD",
        {},
        GOOD | {"base": "XAU"},
        GOOD | {"base": ["USD"]},
        GOOD | {"base": None},
        GOOD | {"rates": {}},
        GOOD | {"rates": {"USD": 1}},
        GOOD | {"rates": [["HTG", "131.25"]]},
        GOOD | {"rates": None},
    ],
)
def test_another_shape_is_refused(content: Any) -> None:
    with pytest.raises(documents.Refused):
        parse(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["HTG", "USD", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional={"base": JSON | st.just("USD"), "time": JSON, "rates": JSON}) | JSON)
def test_nothing_but_a_refusal_comes_of_anything_else(content: Any) -> None:
    try:
        document = parse(content)
    except documents.Refused:
        return
    assert len(document.rates) > 1
    assert all(value > 0 for value in document.rates.values())


@given(st.binary(max_size=40))
def test_bytes_of_any_kind_are_refused(raw: bytes) -> None:
    with pytest.raises(documents.Refused):
        parse(raw)
