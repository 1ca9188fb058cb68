"""The table of rates that conversions are quoted by: set, listed, recorded, and never giving money away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import psycopg
import pytest

from kobklein.wallets.v1 import conversions_pb2 as pb
from tests import conversions, databases, wallets


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        await conversions.set_rate(client)
        yield client


async def test_rates_that_would_give_money_away_are_not_offered(client: wallets.Client) -> None:
    await conversions.set_rate(client, "HTG", "USD", "0.0078", 0)
    for sell, buy in (("USD", "HTG"), ("HTG", "USD")):
        status = await wallets.refused(conversions.quote(client, sell=(10_000, sell), buy=(None, buy)))
        assert status.reason == "CONVERSION_NOT_OFFERED"
    await conversions.set_rate(client, "HTG", "USD", "0.0076", 0)
    assert (await conversions.quote(client, sell=(10_000, "HTG"), buy=(None, "USD"))).buy.amount == 76


async def test_rates_in_whose_round_money_would_grow_are_not_offered(client: wallets.Client) -> None:
    """One dollar would become 1.0348; none of the pairs has a rate back."""
    await conversions.set_rate(client)
    await conversions.set_rate(client, "HTG", "EUR", "0.0075")
    await conversions.set_rate(client, "EUR", "USD", "1.10")
    for pair in (("USD", "HTG"), ("HTG", "EUR"), ("EUR", "USD")):
        status = await wallets.refused(conversions.quote(client, sell=(10_000, pair[0]), buy=(None, pair[1])))
        assert status.reason == "CONVERSION_NOT_OFFERED"
    await conversions.set_rate(client, "EUR", "USD", "1.06")
    assert (await conversions.quote(client, sell=(10_000, "USD"))).rate == conversions.HTG_PER_USD


async def test_a_rate_is_set_listed_and_recorded_with_what_it_was_before(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    changed = await conversions.set_rate(client, "USD", "HTG", "132.500000000001", 1, reason="The market moved.")
    assert (changed.rate, changed.spread_parts_per_million, changed.source) == ("132.500000000001", 1, "table")
    listed = await client.conversions.ListRates(pb.ListRatesRequest(), metadata=conversions.ANA)
    assert list(listed.rates) == [changed]
    async with await psycopg.AsyncConnection.connect(wallets_database.superuser_url) as connection:
        entries = await connection.execute("SELECT subject, action, actor, reason, before, after FROM audit_entries")
        *_, last = await entries.fetchall()
    assert last == (
        "rates/USD/HTG",
        "SET",
        "root",
        "The market moved.",
        {"rate": conversions.HTG_PER_USD, "spread_parts_per_million": conversions.SPREAD},
        {"rate": "132.500000000001", "spread_parts_per_million": 1},
    )


async def test_a_rate_that_is_set_already_is_neither_changed_nor_recorded(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    first = await conversions.set_rate(client, reason="again")
    assert await conversions.set_rate(client, "USD", "HTG", "131.2500", reason="written otherwise") == first
    await conversions.set_rate(client, "USD", "HTG", conversions.HTG_PER_USD, conversions.SPREAD + 1)
    async with await psycopg.AsyncConnection.connect(wallets_database.superuser_url) as connection:
        entries = await connection.execute("SELECT reason, after->>'spread_parts_per_million' FROM audit_entries")
        assert await entries.fetchall() == [("by the book", "15000"), ("by the book", "15001")]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (("USD", "USD", "1", 0), "rate.buy_currency"),
        (("USD", "ABC", "1", 0), "rate.buy_currency"),
        (("ABC", "USD", "1", 0), "rate.sell_currency"),
        (("USD", "HTG", "0.000", 0), "rate.rate"),
        (("USD", "HTG", "-1", 0), "rate.rate"),
        (("USD", "HTG", "1e3", 0), "rate.rate"),
        (("USD", "HTG", "1.0000000000001", 0), "rate.rate"),
        (("USD", "HTG", "1", 500_001), "rate.spread_parts_per_million"),
    ],
)
async def test_a_rate_that_makes_no_sense_names_the_field(client: wallets.Client, wrong: Any, field: str) -> None:
    status = await wallets.refused(conversions.set_rate(client, *wrong))
    assert (status.reason, [each.field for each in status.violations]) == ("INVALID_ARGUMENT", [field])
    listed = await client.conversions.ListRates(pb.ListRatesRequest(), metadata=conversions.ANA)
    assert [each.rate for each in listed.rates] == [conversions.HTG_PER_USD]


@pytest.mark.parametrize("reason", ["", " \u2003"])
async def test_a_rate_changes_with_a_reason_only(client: wallets.Client, reason: str) -> None:
    deleting = pb.DeleteRateRequest(sell_currency="USD", buy_currency="HTG", reason=reason)
    for call in (
        conversions.set_rate(client, "USD", "HTG", "1", reason=reason),
        client.conversions.DeleteRate(deleting, metadata=conversions.ADMIN),
    ):
        status = await wallets.refused(call)
        assert (status.reason, [each.field for each in status.violations]) == ("INVALID_ARGUMENT", ["reason"])
    listed = await client.conversions.ListRates(pb.ListRatesRequest(), metadata=conversions.ANA)
    assert [each.rate for each in listed.rates] == [conversions.HTG_PER_USD]


@pytest.mark.parametrize("role", ["user", "support", "merchant"])
async def test_only_who_runs_the_platform_sets_rates(client: wallets.Client, role: str) -> None:
    call = client.conversions.SetRate(
        pb.SetRateRequest(rate=conversions.rate()), metadata=wallets.metadata("eve", role)
    )
    assert (await wallets.refused(call)).code == grpc.StatusCode.PERMISSION_DENIED


async def test_concurrent_changes_of_one_rate_are_recorded_one_after_the_other(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    values = [str(value) for value in range(1, 21)]
    await asyncio.gather(*(conversions.set_rate(client, "EUR", "HTG", value, 0) for value in values))
    async with await psycopg.AsyncConnection.connect(wallets_database.superuser_url) as connection:
        found = await connection.execute(
            "SELECT before->>'rate', after->>'rate' FROM audit_entries WHERE subject = 'rates/EUR/HTG'"
        )
        after = dict(await found.fetchall())
    chain: list[str | None] = [None]
    while chain[-1] in after:
        chain.append(after[chain[-1]])
    assert sorted(map(int, filter(None, chain))) == list(range(1, 21))
