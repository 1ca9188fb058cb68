"""The HTTP source against a real server: what it believes, what it keeps, and for how long."""

import contextlib
import datetime
import gzip
import math
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any, Final

import httpx
import pydantic
import pytest
from structlog import testing

from tests import metrics, rate_servers
from tests.rate_servers import RateServer
from wallets_service import errors
from wallets_service.rates import http, sources, table
from wallets_service.rates.sources import Rate
from wallets_service.settings import RateSourceSettings, Settings

NOW: Final = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime.datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += datetime.timedelta(seconds=seconds)


@pytest.fixture
async def served() -> AsyncIterator[RateServer]:
    server = RateServer()
    server.body = document()
    async with server.running():
        yield server


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def document(**changes: Any) -> bytes:
    return rate_servers.document(**{"time": NOW.isoformat(), **changes})


def other(**changes: Any) -> bytes:
    """Return a document that is as good as the first, with another rate."""
    return document(**{"rates": {"HTG": "7"}, **changes})


def source_of(
    served: RateServer, web: httpx.AsyncClient, clock: Clock | None = None, **changes: Any
) -> http.HttpSource:
    settings = {"url": served.url, "spread_parts_per_million": 10_000, "stale_seconds": 60.0, **changes}
    return http.HttpSource(RateSourceSettings(**settings), web, clock=clock or Clock())


def value(source: http.HttpSource, sell: str = "USD", buy: str = "HTG") -> Fraction | None:
    rate = source.rate(sell, buy)
    return None if rate is None else rate.value


async def test_before_the_first_reading_there_is_no_rate(served: RateServer, web: httpx.AsyncClient) -> None:
    source = source_of(served, web)
    with pytest.raises(errors.RateStale):
        source.rate("USD", "HTG")
    assert source.rates() == []
    assert source.age_seconds == math.inf


async def test_rates_go_from_the_base_to_the_base_and_across_it(served: RateServer, web: httpx.AsyncClient) -> None:
    source = source_of(served, web, name="feed")
    await source.refresh()
    assert source.rate("USD", "HTG") == Rate("USD", "HTG", Fraction("131.25"), 10_000, "feed", NOW)
    assert value(source, "HTG", "USD") == Fraction("0.007619047619")
    assert value(source, "EUR", "HTG") == Fraction("142.663043478260")
    assert value(source, "HTG", "EUR") == Fraction("0.007009523809")
    assert source.rate("USD", "JPY") is None
    assert [(each.sell_currency, each.buy_currency) for each in source.rates()] == [
        ("USD", "EUR"), ("EUR", "USD"), ("USD", "HTG"), ("HTG", "USD"),
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "offered"), [("1.02", True), ("1.05", False)])
async def test_a_rate_of_the_table_is_offered_while_no_way_back_by_those_of_the_web_gains(
    served: RateServer, web: httpx.AsyncClient, value: str, offered: bool
) -> None:
    """Straight back the table loses; back through the yen, it takes twice the spread of one per cent."""
    served.body = document(rates={"EUR": "1", "JPY": "100"})
    source = source_of(served, web)
    await source.refresh()
    set_ = [
        Rate(*pair, Fraction(rate), 0, "table", NOW)
        for pair, rate in ((("USD", "EUR"), value), (("EUR", "USD"), "0.5"))
    ]
    both = table.Table(set_), source
    with contextlib.nullcontext() if offered else pytest.raises(errors.ConversionNotOffered):
        assert sources.find(both, "USD", "EUR") == set_[0]
    assert sources.find(both, "EUR", "USD") == set_[1]
    for pair in (("EUR", "JPY"), ("JPY", "USD")):
        with contextlib.nullcontext() if offered else pytest.raises(errors.ConversionNotOffered):
            assert sources.find(both, *pair) == source.rate(*pair)


async def test_a_rate_of_which_twelve_decimals_leave_nothing_is_not_offered(
    served: RateServer, web: httpx.AsyncClient
) -> None:
    served.body = document(rates={"HTG": "999999999", "EUR": "0.000001"})
    source = source_of(served, web)
    await source.refresh()
    assert value(source, "HTG", "USD") == Fraction("0.000000001")
    assert (source.rate("HTG", "EUR"), source.rate("EUR", "HTG")) == (None, None)


async def test_the_request_asks_for_plain_json_with_the_secret_of_the_settings(
    served: RateServer, web: httpx.AsyncClient
) -> None:
    await source_of(served, web, authorization="Bearer of-rates").refresh()
    (request,) = served.requests
    assert request.startswith("GET /rates?of=now HTTP/1.1\r\n")
    assert "\r\naccept-encoding: identity\r\n" in request.lower()
    assert "\r\nauthorization: Bearer of-rates\r\n" in request.replace("Authorization", "authorization")


async def test_the_last_good_rates_stay_until_they_are_too_old(served: RateServer, web: httpx.AsyncClient) -> None:
    clock = Clock()
    source = source_of(served, web, clock)
    await source.refresh()
    served.status = 500
    clock.advance(60)
    await source.refresh()
    assert value(source) == Fraction("131.25")
    clock.advance(0.001)
    with pytest.raises(errors.RateStale, match="there is no rate of now from http"):
        source.rate("USD", "HTG")
    assert source.rates() == []
    served.status, served.body = 200, document(time=clock.now.isoformat(), rates={"HTG": "140"})
    await source.refresh()
    assert value(source) == 140


WRONG: Final[dict[str, dict[str, Any]]] = {
    "an error": {"status": 503, "body": other()},
    "a redirect": {"status": 302, "body": other(), "headers": {"location": "/elsewhere"}},
    "no JSON": {"body": b"<html></html>"},
    "another shape": {"body": b"[]"},
    "a rate of zero": {"body": document(rates={"HTG": "0"})},
    "a negative rate": {"body": document(rates={"HTG": -131.25})},
    "no number": {"body": document(rates={"HTG": float("nan")})},
    "a huge rate": {"body": document(rates={"HTG": 1e30})},
    "a time to come": {"body": other(time="2026-01-02T03:06:00Z")},
    "a time long gone": {"body": other(time="1970-01-01T00:00:00Z")},
    "a time before the last": {"body": other(time="2026-01-02T03:04:04Z")},
    "no time": {"body": other(time=None)},
    "too much": {"body": other(padding="x" * 2_000)},
    "too much, without an end": {"body": b" " * 1_000, "endless": True},
    "something compressed": {"body": gzip.compress(other()), "headers": {"content-encoding": "gzip"}},
    "half of it": {"body": other(), "headers": {"content-length": "100000"}},
    "nonsense": {"status": "nonsense", "body": other()},
    "nothing for too long": {"body": None},
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_not_believed_leaves_the_last_good_rates(
    served: RateServer, web: httpx.AsyncClient, name: str
) -> None:
    source = source_of(
        served, web, max_bytes=1_024, timeout_seconds=0.5 if WRONG[name].get("body", b"") is None else 10
    )
    await source.refresh()
    assert value(source) == Fraction("131.25")
    for attribute, told in WRONG[name].items():
        setattr(served, attribute, told)
    failed = metrics.value("wallets_rate_reads_failed_total")
    with testing.capture_logs() as logs:
        await source.refresh()
    assert [(each["event"], each["source"], each["log_level"]) for each in logs] == [
        ("rates not read", "http", "warning")
    ]
    assert metrics.value("wallets_rate_reads_failed_total") == failed + 1
    assert len(served.requests) == 2
    assert value(source) == Fraction("131.25")


async def test_a_document_that_trickles_in_is_not_waited_for(served: RateServer, web: httpx.AsyncClient) -> None:
    served.body, served.endless, served.pause_seconds = b" ", True, 0.01
    with testing.capture_logs() as logs:
        await source_of(served, web, timeout_seconds=0.5, max_bytes=1_024).refresh()
    assert [each["error"] for each in logs] == ["TimeoutError()"]


async def test_what_is_out_of_date_when_it_is_read_is_said_to_be(served: RateServer, web: httpx.AsyncClient) -> None:
    clock = Clock()
    clock.advance(61)
    source = source_of(served, web, clock)
    with testing.capture_logs() as logs:
        await source.refresh()
    assert [each["error"] for each in logs] == ["Refused('it is out of date')"]
    with pytest.raises(errors.RateStale):
        source.rate("USD", "HTG")


async def test_another_good_document_takes_the_place_of_the_last(served: RateServer, web: httpx.AsyncClient) -> None:
    source = source_of(served, web, max_bytes=1_024)
    await source.refresh()
    served.body = other()
    await source.refresh()
    assert value(source) == 7


async def test_a_server_that_is_away_leaves_the_last_good_rates(web: httpx.AsyncClient) -> None:
    server = RateServer()
    server.body = document()
    async with server.running():
        source = source_of(server, web)
        await source.refresh()
    await source.refresh()
    assert value(source) == Fraction("131.25")


async def test_a_source_reads_again_and_again_by_itself(served: RateServer) -> None:
    served.body = rate_servers.document()
    settings = RateSourceSettings(url=served.url, spread_parts_per_million=0, refresh_seconds=0.01)
    async with http.running(settings) as source:
        await served.until_asked(2)
        assert value(source) == Fraction("131.25")
        assert 0 < metrics.value("wallets_rate_age_seconds") < settings.stale_seconds
        served.body = rate_servers.document(rates={"HTG": "132"})
        await served.until_asked(3)
        assert value(source) == 132


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://rates.test/"},
        {"url": "rates"},
        {"name": "table"},
        {"name": "a b"},
        {"spread_parts_per_million": 500_001},
        {"spread_parts_per_million": -1},
        {"stale_seconds": 0},
        {"max_bytes": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        RateSourceSettings(**{"url": "https://rates.test/", "spread_parts_per_million": 0, **wrong})


def test_in_production_rates_are_not_read_over_a_connection_that_anybody_can_change() -> None:
    strict: dict[str, Any] = {
        "environment": "production",
        "auth": {"hs256_secret": "0" * 32},
        "tls": {"certificate_file": "c", "key_file": "k", "authority_file": "a"},
        "reflection": False,
        "database_url": "postgresql://127.0.0.1/x",
        "page_token_key": "00" * 32,
        "seal_key": "00" * 32,
    }
    source = {"url": "https://rates.test/", "spread_parts_per_million": 0}
    assert Settings(**strict, rate_source=source).rate_source is not None
    with pytest.raises(pydantic.ValidationError, match="rate_source__url must be https"):
        Settings(**strict, rate_source=source | {"url": "http://rates.test/"})
