"""Conversions as clients of the gateway meet them: real gateway, real service, real database."""

import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway import app, backends, comments
from kobklein import client as channels
from tests import databases, gateways, rate_servers, wallets
from tests.rate_servers import RateServer

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class System:
    """A gateway, and the service behind it."""

    http: httpx.AsyncClient
    service: wallets.Client

    async def set_rate(self, pair: str = "USD/HTG", **changes: Any) -> httpx.Response:
        body = {"rate": "131.25", "spreadPartsPerMillion": 15_000} | changes
        return await self.http.put(f"/rates/{pair}?reason=moved", json=body, headers=bearer("root", "admin"))

    async def set_fee(self, currency: str = "USD", **terms: Any) -> httpx.Response:
        path = f"/fees/{currency}/CONVERSION?reason=launch"
        return await self.http.put(path, json=terms, headers=bearer("root", "admin"))

    async def quote(self, *, sell: Json | None = None, buy: Json | None = None) -> httpx.Response:
        body = {"sell": {"currency": "USD"} | (sell or {}), "buy": {"currency": "HTG"} | (buy or {})}
        return await self.http.post("/quotes", json=body, headers=keyed())

    async def accept(self, id_: str, *, key: str = "") -> httpx.Response:
        return await self.http.post(f"/quotes/{id_}:accept", json={}, headers=keyed(key=key))


@contextlib.asynccontextmanager
async def serving(database: databases.Database, **changes: Any) -> AsyncIterator[System]:
    """Run the service and a gateway in front of it."""
    configured = gateways.settings(auth={"hs256_secret": wallets.SECRET})
    async with (
        wallets.running(database, **changes) as service,
        channels.channel(f"127.0.0.1:{service.port}", None) as channel,
    ):
        behind = [backends.of_package("wallets", "kobklein.wallets", channel)]
        application = app.create(configured, behind, texts=comments.load())
        async with gateways.running(application, configured) as gateway:
            yield System(gateway.http, service)


@pytest.fixture
async def system(wallets_database: databases.Database) -> AsyncIterator[System]:
    async with serving(wallets_database) as system:
        await system.set_rate()
        yield system


def bearer(subject: str, *roles: str) -> dict[str, str]:
    return {"authorization": f"Bearer {wallets.token(subject, *roles)}"}


def keyed(*, key: str = "") -> dict[str, str]:
    return bearer("ana", "user") | {"idempotency-key": key or str(uuid.uuid4())}


async def test_a_rate_is_set_by_its_path_and_shown(system: System) -> None:
    answer = await system.http.put(
        "/rates/EUR/JPY",
        params={"reason": "The market moved."},
        json={"rate": "160.5000"},
        headers=bearer("fin", "finance"),
    )
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert shown.pop("updatedTime").endswith("Z")
    assert shown == {
        "sellCurrency": "EUR", "buyCurrency": "JPY", "rate": "160.5", "spreadPartsPerMillion": 0, "source": "table",
    }  # fmt: skip
    listed = (await system.http.get("/rates", headers=bearer("ana", "user"))).json()["rates"]
    assert [(each["sellCurrency"], each["buyCurrency"]) for each in listed] == [("EUR", "JPY"), ("USD", "HTG")]
    assert listed[0] == answer.json()


async def test_a_rate_that_is_deleted_is_quoted_no_more_and_recorded(system: System) -> None:
    deleting = {"url": "/rates/USD/HTG", "params": {"reason": "The feed is back."}}
    assert (await system.http.delete(**deleting, headers=bearer("ana", "user"))).status_code == 403
    assert (await system.http.delete(**deleting, headers=bearer("fin", "finance"))).status_code == 204
    refused = (await system.quote(sell={"amount": "1"})).json()
    assert refused["reason"] == "CONVERSION_NOT_OFFERED"
    gone = await system.http.delete(**deleting, headers=bearer("fin", "finance"))
    assert (gone.status_code, gone.json()["reason"]) == (404, "RATE_NOT_FOUND")
    recorded = await system.http.get(
        "/ledger/audit", params={"subject": "rates/USD/HTG"}, headers=bearer("root", "admin")
    )
    last = recorded.json()["entries"][0]
    assert (last["action"], last["actor"], last["reason"]) == ("DELETE", "fin", "The feed is back.")
    assert last["before"]["rate"] == "131.25"
    assert "after" not in last


async def test_a_rate_that_makes_no_sense_names_its_field(system: System) -> None:
    for pair, changes, field in (
        ("USD/HTG", {"rate": "0"}, "rate"),
        ("USD/HTG", {"rate": "1e3"}, "rate"),
        ("USD/USD", {}, "buyCurrency"),
        ("USD/XXX", {}, "buyCurrency"),
        ("USD/HTG", {"source": "me"}, "source"),
    ):
        answer = await system.set_rate(pair, **changes)
        assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (400, [field]), answer.text


async def test_a_conversion_is_quoted_and_accepted_in_decimals(system: System) -> None:
    await system.service.fund("ana", 20_000, "USD")
    made = await system.quote(sell={"amount": "100.01"})
    assert made.status_code == 201, made.text
    quote = made.json()
    assert {name: quote[name] for name in quote if not name.endswith("Time")} == {
        "id": quote["id"],
        "userId": "ana",
        "sell": {"amount": "100.01", "currency": "USD"},
        "buy": {"amount": "12929.41", "currency": "HTG"},
        "spread": {"amount": "196.90", "currency": "HTG"},
        "fee": {"amount": "0.00", "currency": "USD"},
        "rate": "131.25",
        "spreadPartsPerMillion": 15_000,
        "effectiveRate": "129.281171882811",
        "rounding": "0.78125",
        "roundingCurrency": "HTG",
        "rateSource": "table",
        "status": "OPEN",
        "transactionId": "",
    }
    read = await system.http.get(f"/quotes/{quote['id']}", headers=bearer("ana", "user"))
    assert read.json() == quote
    accepted = await system.accept(quote["id"], key="k")
    assert (accepted.status_code, accepted.json()["status"]) == (200, "ACCEPTED"), accepted.text
    assert {name: accepted.json()[name] for name in ("sell", "buy", "spread", "rate", "expiresTime")} == {
        name: quote[name] for name in ("sell", "buy", "spread", "rate", "expiresTime")
    }
    assert accepted.json()["acceptedTime"] < quote["expiresTime"]
    again = await system.accept(quote["id"], key="k")
    assert (again.json(), again.headers["idempotency-replayed"]) == (accepted.json(), "true")
    sold = await system.http.get(f"/transactions/{accepted.json()['transactionId']}", headers=bearer("ana", "user"))
    assert (sold.json()["amount"], sold.json()["type"]) == ("100.01", "CONVERSION")


async def test_the_fee_of_a_conversion_is_shown_locked_and_charged_in_decimals(system: System) -> None:
    await system.service.fund("ana", 10_075, "USD")
    assert (await system.set_fee(fixedAmount="0.25", partsPerMillion=5_000)).status_code == 200
    quote = (await system.quote(sell={"amount": "100"})).json()
    assert (quote["sell"]["amount"], quote["fee"]) == ("100.00", {"amount": "0.75", "currency": "USD"})
    await system.set_fee(fixedAmount="9.99")
    accepted = await system.accept(quote["id"], key="k")
    assert (accepted.status_code, accepted.json()["fee"]) == (200, quote["fee"]), accepted.text
    again = await system.accept(quote["id"], key="k")
    assert (again.json(), again.headers["idempotency-replayed"]) == (accepted.json(), "true")
    sold = await system.http.get(f"/transactions/{accepted.json()['transactionId']}", headers=bearer("ana", "user"))
    lines = await system.http.get(f"/wallets/{sold.json()['walletId']}/transactions", headers=bearer("ana", "user"))
    assert [(line["type"], line["amount"], line["balanceAfter"]) for line in lines.json()["transactions"]] == [
        ("FEE", "0.75", "0.00"),
        ("CONVERSION", "100.00", "0.75"),
        ("DEPOSIT", "100.75", "100.75"),
    ]


async def test_who_cannot_pay_the_fee_is_told_what_is_needed(system: System) -> None:
    await system.service.fund("ana", 10_000, "USD")
    await system.set_fee(fixedAmount="0.25", partsPerMillion=5_000)
    quote = (await system.quote(sell={"amount": "100"})).json()
    refused = (await system.accept(quote["id"])).json()
    assert (refused["status"], refused["reason"]) == (400, "INSUFFICIENT_FUNDS")
    assert {name: refused["metadata"][name] for name in ("available", "needed", "fee")} == {
        "available": "100.00", "needed": "100.75", "fee": "0.75",
    }  # fmt: skip


async def test_amounts_of_a_quote_follow_the_decimals_of_their_currency(system: System) -> None:
    await system.set_rate("JPY/KWD", rate="0.00204")
    await system.set_fee("JPY", fixedAmount="7")
    quote = (await system.quote(sell={"currency": "JPY"}, buy={"currency": "KWD", "amount": "1.234"})).json()
    assert (quote["sell"]["amount"], quote["buy"]["amount"], quote["roundingCurrency"]) == ("615", "1.234", "JPY")
    assert quote["fee"] == {"amount": "7", "currency": "JPY"}


async def test_a_second_acceptance_is_a_conflict(system: System) -> None:
    await system.service.fund("ana", 20_000, "USD")
    quote = (await system.quote(sell={"amount": "1"})).json()
    await system.accept(quote["id"])
    answer = await system.accept(quote["id"])
    assert (answer.status_code, answer.json()["reason"]) == (409, "QUOTE_ALREADY_ACCEPTED")


async def test_what_cannot_be_quoted_names_its_field(system: System) -> None:
    for amounts, field in (
        ({}, "sell.amount"),
        ({"sell": {"amount": "1"}, "buy": {"amount": "1"}}, "buy.amount"),
        ({"sell": {"amount": "1.001"}}, "sell.amount"),
        ({"sell": {"amount": "99999999999.99"}}, "sell.amount"),
        ({"buy": {"amount": "1", "currency": "USD"}}, "buy.currency"),
        ({"buy": {"amount": "1", "currency": "XXX"}}, "buy.currency"),
    ):
        answer = await system.quote(**amounts)
        assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (400, [field]), answer.text


async def test_a_pair_that_is_not_offered_and_a_quote_without_cover_are_told(system: System) -> None:
    refused = await system.quote(sell={"currency": "HTG", "amount": "1"}, buy={"currency": "USD"})
    assert (refused.status_code, refused.json()["reason"]) == (400, "CONVERSION_NOT_OFFERED")
    quote = (await system.quote(sell={"amount": "1"})).json()
    poor = await system.accept(quote["id"])
    assert (poor.status_code, poor.json()["reason"]) == (400, "INSUFFICIENT_FUNDS")


@pytest.fixture
async def rates() -> AsyncIterator[RateServer]:
    async with RateServer().running() as server:
        yield server


def reading(rates: RateServer, **changes: Any) -> dict[str, Any]:
    """Return settings of a service that takes its rates from there."""
    source = {"url": rates.url, "name": "feed", "spread_parts_per_million": 10_000, "refresh_seconds": 0.01}
    return {"rate_source": source | changes}


async def until_quoted(system: System, *, source: str = "feed") -> Json:
    """Return a quote of 100.00 USD in HTG once there is one by this source."""
    while True:
        answer = await system.quote(sell={"amount": "100"})
        if answer.status_code == 201 and answer.json()["rateSource"] == source:
            quote: Json = answer.json()
            return quote
        assert answer.status_code in (201, 503), answer.text


async def test_where_the_table_has_no_rate_the_source_has_the_say(
    wallets_database: databases.Database, rates: RateServer
) -> None:
    rates.body = rate_servers.document(rates={"HTG": "131.25", "EUR": "0.92"})
    async with serving(wallets_database, **reading(rates)) as system:
        quote = await until_quoted(system)
        assert (quote["rate"], quote["buy"]["amount"], quote["spread"]["amount"]) == ("131.25", "12993.75", "131.25")
        across = (await system.quote(sell={"amount": "100", "currency": "EUR"})).json()
        assert (across["rate"], across["rateSource"]) == ("142.66304347826", "feed")
        await system.set_rate(rate="120", spreadPartsPerMillion=0)
        quote = await until_quoted(system, source="table")
        assert (quote["rate"], quote["buy"]["amount"]) == ("120", "12000.00")
        listed = (await system.http.get("/rates", headers=bearer("ana", "user"))).json()["rates"]
        assert {f"{each['sellCurrency']}/{each['buyCurrency']}": each["source"] for each in listed} == {
            "EUR/USD": "feed", "HTG/USD": "feed", "USD/EUR": "feed", "USD/HTG": "table",
        }  # fmt: skip
        await system.http.delete("/rates/USD/HTG?reason=back", headers=bearer("root", "admin"))
        assert (await until_quoted(system))["rate"] == "131.25"


async def test_rates_that_are_too_old_are_not_quoted_by_and_the_table_still_is(
    wallets_database: databases.Database, rates: RateServer
) -> None:
    async with serving(wallets_database, **reading(rates, stale_seconds=0.001, refresh_seconds=3_600)) as system:
        stale = await system.quote(sell={"amount": "100"})
        assert (stale.status_code, stale.json()["reason"]) == (503, "RATE_STALE")
        assert int(stale.headers["retry-after"]) >= 1
        await system.set_rate()
        assert (await system.quote(sell={"amount": "100"})).status_code == 201


async def test_a_quote_is_repeated_to_its_key_even_while_rates_are_stale(
    wallets_database: databases.Database, rates: RateServer
) -> None:
    body = {"sell": {"amount": "100", "currency": "USD"}, "buy": {"currency": "HTG"}}
    async with serving(wallets_database, **reading(rates)) as system:
        await until_quoted(system)
        first = await system.http.post("/quotes", json=body, headers=keyed(key="k"))
    rates.body = None
    async with serving(wallets_database, **reading(rates, timeout_seconds=0.5)) as system:
        assert (await system.quote(sell={"amount": "100"})).json()["reason"] == "RATE_STALE"
        again = await system.http.post("/quotes", json=body, headers=keyed(key="k"))
        assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
