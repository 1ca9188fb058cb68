"""Quotes that nobody accepted are deleted a while after their time; everything else stays."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import structlog

from kobklein import database
from tests import conversions, databases, wallets
from wallets_service import retention

OLD = "UPDATE fx_quotes SET expires_time = clock_timestamp() - interval '30 days 1 second'"

OLD_IN_ORDER = "UPDATE fx_quotes SET expires_time = created_time - interval '31 days'"


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        await conversions.set_rate(client)
        await client.fund("ana", 10_000, "USD")
        yield client


async def quotes(client: wallets.Client, count: int) -> list[str]:
    return [(await conversions.quote(client, sell=(100, "USD"))).id for _ in range(count)]


def kept(of: databases.Database) -> list[str]:
    """Return the ids of the quotes that are left."""
    with psycopg.connect(of.superuser_url) as connection:
        return [id_ for (id_,) in connection.execute("SELECT id::text FROM fx_quotes ORDER BY created_time, id")]


async def test_only_what_expired_long_ago_and_was_not_accepted_is_deleted(
    client: wallets.Client, wallets_database: databases.Database, sessions: database.Sessions
) -> None:
    unaccepted, accepted, young, still_open = await quotes(client, 4)
    first = await conversions.accept(client, accepted, key="k")
    await conversions.tamper(wallets_database, f"{OLD} WHERE id IN ('{unaccepted}', '{accepted}')")
    almost = "UPDATE fx_quotes SET expires_time = clock_timestamp() - interval '29 days 23 hours' WHERE id = "
    await conversions.tamper(wallets_database, f"{almost} '{young}'")
    await retention.forget(sessions)
    assert kept(wallets_database) == [accepted, young, still_open]
    assert (await wallets.refused(conversions.get(client, unaccepted))).reason == "QUOTE_NOT_FOUND"
    assert (await wallets.refused(conversions.accept(client, unaccepted))).reason == "QUOTE_NOT_FOUND"
    assert (await wallets.refused(conversions.accept(client, young))).reason == "QUOTE_EXPIRED"
    await conversions.tamper(wallets_database, "DELETE FROM idempotency_keys")
    again = await conversions.accept(client, accepted, key="k")
    again.expires_time.CopyFrom(first.expires_time)  # which the test has changed
    assert again == first


async def test_a_round_is_bounded_and_the_next_one_goes_on_where_it_ended(
    client: wallets.Client, wallets_database: databases.Database, sessions: database.Sessions
) -> None:
    made = await quotes(client, 22)
    await conversions.accept(client, made[0])
    await conversions.tamper(wallets_database, OLD_IN_ORDER)
    reached = await retention.forget(sessions, page=1)
    assert kept(wallets_database) == [made[0], *made[20:]]
    end = await retention.forget(sessions, after=reached, page=1)
    assert kept(wallets_database) == [made[0]]
    assert await retention.forget(sessions, after=end, page=1) == end


async def test_a_process_does_not_walk_again_past_what_it_has_seen(
    client: wallets.Client, wallets_database: databases.Database, sessions: database.Sessions
) -> None:
    first, last, seen_before = await quotes(client, 3)
    aged = "UPDATE fx_quotes SET expires_time = created_time - interval '{} days' WHERE id = '{}'"
    await conversions.tamper(wallets_database, aged.format(40, first))
    async with retention.forgetting(sessions, seconds=0.02):
        while first in kept(wallets_database):  # noqa: ASYNC110  # rows set no event
            await asyncio.sleep(0.02)
        await conversions.tamper(wallets_database, aged.format(50, seen_before))
        await conversions.tamper(wallets_database, aged.format(31, last))
        while last in kept(wallets_database):  # noqa: ASYNC110  # rows set no event
            await asyncio.sleep(0.02)
    assert kept(wallets_database) == [seen_before]
    await retention.forget(sessions)
    assert kept(wallets_database) == []


async def test_accepted_quotes_are_walked_past_however_many_there_are(
    client: wallets.Client, wallets_database: databases.Database, sessions: database.Sessions
) -> None:
    made = await quotes(client, 8)
    for id_ in made[:5]:
        await conversions.accept(client, id_)
    await conversions.tamper(wallets_database, OLD_IN_ORDER)
    await retention.forget(sessions, page=2)
    assert kept(wallets_database) == made[:5]


async def test_replicas_delete_old_quotes_at_once(
    client: wallets.Client, wallets_database: databases.Database, sessions: database.Sessions
) -> None:
    await quotes(client, 20)
    await conversions.tamper(wallets_database, OLD)
    await asyncio.gather(*(retention.forget(sessions, page=3) for _ in range(2)))
    assert kept(wallets_database) == []


async def test_a_running_service_deletes_old_quotes(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    made = await quotes(client, 3)
    await conversions.accept(client, made[1])
    await conversions.tamper(wallets_database, OLD)
    async with wallets.running(wallets_database):
        while kept(wallets_database) != [made[1]]:  # noqa: ASYNC110  # rows set no event
            await asyncio.sleep(0.02)


async def test_an_error_only_costs_a_round(
    client: wallets.Client, wallets_database: databases.Database, sessions: database.Sessions
) -> None:
    made = await quotes(client, 2)
    await conversions.accept(client, made[0])
    await conversions.tamper(wallets_database, OLD)
    role = psycopg.conninfo.conninfo_to_dict(wallets_database.application_url)["user"]
    await conversions.tamper(wallets_database, f'REVOKE DELETE ON fx_quotes FROM "{role}"')
    with structlog.testing.capture_logs() as logs:
        async with retention.forgetting(sessions, seconds=0.02):
            while not any(each["event"] == "old quotes stay" for each in logs):  # noqa: ASYNC110  # logs set no event
                await asyncio.sleep(0.02)
            assert kept(wallets_database) == made
            await conversions.tamper(wallets_database, f'GRANT DELETE ON fx_quotes TO "{role}"')
            while kept(wallets_database) != made[:1]:  # noqa: ASYNC110  # rows set no event
                await asyncio.sleep(0.02)
