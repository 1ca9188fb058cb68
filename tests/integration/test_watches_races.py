"""Watches while transactions commit late, roll back and race: nothing skipped, nothing doubled, all in order."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from tests import databases, wallets
from tests.sizes import size
from tests.watching import transfers as watch_transfers


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database, watch_poll_seconds=0.05) as running:
        yield running


class Ledger:
    """Writes transfers over connections of its own, and commits them when its test says so."""

    def __init__(self, database_: databases.Database) -> None:
        self._url = database_.application_url

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            yield connection

    async def post(self, connection: psycopg.AsyncConnection[Any], debit: str, credit: str) -> str:
        """Record a transfer of 1 between two accounts, locked in one order as all writers do."""
        id_ = str(uuid.uuid4())
        locked = await connection.execute(
            "SELECT id, balance, version FROM accounts WHERE id = ANY (%s::uuid[]) ORDER BY id FOR NO KEY UPDATE",
            ([debit, credit],),
        )
        rows = {str(row[0]): row for row in await locked.fetchall()}
        (_, paid, debit_version), (_, got, credit_version) = rows[debit], rows[credit]
        await connection.execute(
            "INSERT INTO transfers (id, debit_account_id, credit_account_id, amount, currency, type,"
            " debit_balance_after, credit_balance_after, debit_version, credit_version, created_time)"
            " VALUES (%s, %s, %s, 1, 'HTG', 'TRANSFER', %s, %s, %s, %s, clock_timestamp())",
            (id_, debit, credit, paid - 1, got + 1, debit_version + 1, credit_version + 1),
        )
        for account, change in ((debit, -1), (credit, 1)):
            await connection.execute(
                "UPDATE accounts SET balance = balance + %s, version = version + 1 WHERE id = %s", (change, account)
            )
        return id_


async def accounts_of(client: wallets.Client, *users: str) -> list[str]:
    for user in users:
        await client.fund(user, 1_000)
    return [(await client.account(f"user/{user}")).id for user in users]


async def test_a_transaction_that_commits_late_delays_others_and_is_not_skipped(
    wallets_database: databases.Database, client: wallets.Client
) -> None:
    ledger = Ledger(wallets_database)
    ana, ben, eva, leo = await accounts_of(client, "ana", "ben", "eva", "leo")
    watch = await watch_transfers(client, only_new=True).begun()
    async with ledger.writing() as late, ledger.writing() as early:
        first = await ledger.post(late, ana, ben)
        second = await ledger.post(early, eva, leo)
        await early.commit()
        (third,) = await client.post(wallets.transfer("user/eva", "user/leo", 1))
        assert await watch_transfers(client, only_new=True).nothing_within(0.5)
        assert await watch_transfers(client, account_id=eva, only_new=False).take(3)  # One account waits for nobody.
        await late.commit()
    assert [event.transfer.id for event in await watch.take(3)] == [first, second, third.transfer.id]


async def test_a_transaction_that_is_rolled_back_late_is_passed_over(
    wallets_database: databases.Database, client: wallets.Client
) -> None:
    ledger = Ledger(wallets_database)
    ana, ben, *_ = await accounts_of(client, "ana", "ben", "eva", "leo")
    watch = await watch_transfers(client, only_new=True).begun()
    async with ledger.writing() as late:
        await ledger.post(late, ana, ben)
        (other,) = await client.post(wallets.transfer("user/eva", "user/leo", 1))
        await late.rollback()
    assert (await watch.next()).transfer.id == other.transfer.id


@pytest.mark.chaos
async def test_nothing_is_skipped_doubled_or_out_of_order_with_sixteen_writers_and_fifty_reconnections(
    wallets_database: databases.Database, client: wallets.Client
) -> None:
    """Writers hold their transactions open for random times; watchers leave at random, and go on at their cursors."""
    ledger, writers, each = Ledger(wallets_database), 16, size(20, 400)
    accounts = await accounts_of(client, *(f"user-{number}" for number in range(8)))
    hot = accounts[0]
    starts = [await watch_transfers(client).take(8), await watch_transfers(client, account_id=hot).take(1)]

    async def write(number: int) -> list[str]:
        dice, ids = random.Random(number), []
        async with ledger.writing() as connection:
            for _ in range(each):
                debit, credit = dice.sample(accounts, 2)
                ids.append(await ledger.post(connection, debit, credit))
                await asyncio.sleep(dice.random() * 0.03)
                await connection.commit()
        return ids

    async def follow(cursor: str, count: int, **asked: Any) -> tuple[list[str], int]:
        dice, found, connections = random.Random(cursor), [], 0
        while len(found) < count:
            watch = watch_transfers(client, cursor=cursor, **asked)
            connections += 1
            for event in await watch.take(min(dice.randint(1, max(1, count // 30)), count - len(found))):
                found.append(event.transfer.id)
                cursor = event.cursor
            watch.leave()
        return found, connections

    following = asyncio.create_task(follow(starts[0][-1].cursor, writers * each))
    ids = {id_ for written in await asyncio.gather(*map(write, range(writers))) for id_ in written}
    found, connections = await following
    assert connections >= 50
    assert len(found) == len(ids) == writers * each
    assert found == await ids_of(wallets_database, "SELECT id::text FROM transfers ORDER BY xid, place", skip=8)
    of_hot = await ids_of(
        wallets_database,
        "SELECT id::text FROM transfers WHERE %(id)s IN (debit_account_id, credit_account_id)"
        " ORDER BY CASE debit_account_id WHEN %(id)s THEN debit_version ELSE credit_version END",
        skip=1,
        id=uuid.UUID(hot),
    )
    assert (await follow(starts[1][-1].cursor, len(of_hot), account_id=hot))[0] == of_hot


async def ids_of(database_: databases.Database, query: str, *, skip: int, **parameters: Any) -> list[str]:
    async with await psycopg.AsyncConnection.connect(database_.application_url) as connection:
        rows = await (await connection.execute(query, parameters)).fetchall()
    return [row[0] for row in rows][skip:]


async def test_watches_of_a_hot_account_follow_it_while_it_is_written(
    wallets_database: databases.Database, client: wallets.Client
) -> None:
    ledger = Ledger(wallets_database)
    accounts = await accounts_of(client, *(f"user-{number}" for number in range(5)))
    hot, *others = accounts
    following = [await watch_transfers(client, account_id=hot, only_new=True).begun() for _ in range(3)]

    async def write(number: int) -> list[str]:
        dice, ids = random.Random(number), []
        async with ledger.writing() as connection:
            for _ in range(10):
                sides = [hot, dice.choice(others)]
                dice.shuffle(sides)
                ids.append(await ledger.post(connection, sides[0], sides[1]))
                await asyncio.sleep(dice.random() * 0.005)
                await connection.commit()
        return ids

    ids = {id_ for written in await asyncio.gather(*map(write, range(16))) for id_ in written}
    seen = [[event.transfer.id for event in await watch.take(160)] for watch in following]
    assert set(seen[0]) == ids
    assert seen[0] == seen[1] == seen[2]
    assert await versions_of(wallets_database, hot, seen[0]) == list(range(2, 162))


async def versions_of(database_: databases.Database, account_id: str, ids: list[str]) -> list[int]:
    async with await psycopg.AsyncConnection.connect(database_.application_url) as connection:
        rows = await connection.execute(
            "SELECT id::text, CASE debit_account_id WHEN %s THEN debit_version ELSE credit_version END FROM transfers",
            (uuid.UUID(account_id),),
        )
        by_id = dict(await rows.fetchall())
    return [by_id[id_] for id_ in ids]
