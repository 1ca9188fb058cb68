"""Holds whose time is over: free money at once, whoever runs or does not, and recorded a little later."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
import structlog

from kobklein import database, ids
from kobklein.wallets.v1 import holds_pb2, wallets_pb2
from tests import databases, holds, ledger_oracle, metrics, wallets
from wallets_service import expiry
from wallets_service.ledger import entries, rules
from wallets_service.ledger.group_commit import Ledger
from wallets_service.wallets import Filter, list_

NEVER, SOON = {"hold_sweep_seconds": 3_600.0}, {"hold_sweep_seconds": 0.05}
EXPIRED = holds_pb2.HOLD_STATUS_EXPIRED

OLD_HOLDS = """
    INSERT INTO holds (id, debit_account_id, credit_account_id, amount, currency, type, expires_time, created_time,
                       updated_time)
    SELECT gen_random_uuid(), eva.id, ana.id, 1, 'HTG', 'TRANSFER', now() - interval '1 hour',
           now() - interval '2 hours', now() - interval '2 hours'
    FROM accounts eva, accounts ana, generate_series(1, %s)
    WHERE eva.address = 'user/eva' AND ana.address = 'user/ana'
"""


def hold_in_the_past(connection: psycopg.Connection, count: int) -> None:
    """Record so many holds of one minor unit each, by eva for ana, whose time is over."""
    connection.execute("UPDATE accounts SET held_amount = held_amount + %s WHERE address = 'user/eva'", [count])
    connection.execute(OLD_HOLDS, [count])


@pytest.fixture(autouse=True)
def oracle(wallets_database: databases.Database) -> Iterator[None]:
    yield
    ledger_oracle.check(wallets_database.superuser_url)


async def expired_hold(client: wallets.Client, wallets_database: databases.Database, **fields: Any) -> holds_pb2.Hold:
    """Return a hold of all of Ana's money whose time has just run out."""
    made = await holds.create(client, expires_after_seconds=1, **{"amount": 100, **fields})
    await holds.until_over(wallets_database, made)
    return made


async def test_an_expired_hold_reads_as_expired_before_anybody_gave_it_back(
    wallets_database: databases.Database,
) -> None:
    async with wallets.running(wallets_database, **NEVER) as client:
        await client.fund("ana", 100)
        made = await expired_hold(client, wallets_database)
        assert holds.recorded(wallets_database, made) == "PENDING"
        seen = await holds.get(client, made.id)
        assert (seen.status, seen.remaining_amount, seen.updated_time) == (EXPIRED, 0, made.expires_time)
        for status, found in ((holds_pb2.HOLD_STATUS_PENDING, []), (EXPIRED, [seen])):
            answer = await client.holds.ListHolds(
                holds_pb2.ListHoldsRequest(status=status), metadata=wallets.metadata("ana", "user")
            )
            assert list(answer.holds) == found
        account = await client.account("user/ana")
        assert (account.balance, account.held_amount, account.available_amount) == (100, 0, 100)
        answer = await client.wallets.ListUserWallets(
            wallets_pb2.ListUserWalletsRequest(user_id="ana"), metadata=wallets.metadata("ana", "user")
        )
        assert [(each.held_amount, each.available_amount) for each in answer.wallets] == [(0, 100)]
        assert (await client.verify()).balanced


async def test_an_expired_hold_is_neither_posted_nor_voided(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database, **NEVER) as client:
        await client.fund("ana", 100)
        made = await expired_hold(client, wallets_database)
        for call in (holds.post(client, made), holds.post(client, made, 5), holds.void(client, made)):
            status = await wallets.refused(call)
            assert (status.reason, status.metadata["status"]) == ("HOLD_ENDED", "EXPIRED")
        assert (await client.account("user/ana")).available_amount == 100


async def test_the_money_of_an_expired_hold_is_spent_and_held_anew_before_it_is_swept(
    wallets_database: databases.Database,
) -> None:
    async with wallets.running(wallets_database, **NEVER) as client:
        await client.fund("ana", 100)
        await holds.post(client, made := await holds.create(client, amount=100, expires_after_seconds=2), 40)
        await holds.until_over(wallets_database, made)
        (result,) = await client.post(wallets.transfer("user/ana", "user/eva", 20))
        assert result.transfer.debit_balance_after == 40
        assert holds.recorded(wallets_database, made) == "EXPIRED"
        assert (await holds.get(client, made.id)).posted_amount == 40
        await holds.create(client, amount=40)
        assert (await client.account("user/ana")).available_amount == 0


async def test_a_hold_that_expires_while_the_service_is_stopped_frees_its_money(
    wallets_database: databases.Database,
) -> None:
    """First by itself, with nobody to sweep; then in a service that has only just started."""
    async with wallets.running(wallets_database, **NEVER) as client:
        for user in ("ana", "eva"):
            await client.fund(user, 100)
        made = [await holds.create(client, user, amount=100, expires_after_seconds=1) for user in ("ana", "eva")]
    for hold in made:
        await holds.until_over(wallets_database, hold)
    assert holds.rows(wallets_database, "SELECT status FROM holds") == [("PENDING",)] * 2
    settings = wallets.settings(wallets_database)
    engine = database.engine(wallets_database.application_url, pool_size=1)
    rows = await database.transaction(
        database.sessions(engine), lambda session: list_(session, Filter(user_id="ana"), after=None, limit=10)
    )
    assert [(row.held, row.available) for row in rows] == [(0, 100)]
    ledger = Ledger(settings)
    async with ledger.running():
        spending = entries.Transfer(made[0].id, "user/ana", "user/ben", 100, "HTG", "TRANSFER")
        (posting,) = await ledger.post([spending])
    assert isinstance(posting, entries.Posting)
    await engine.dispose()
    async with wallets.running(wallets_database, **SOON) as client:
        (result,) = await client.post(wallets.transfer("user/eva", "user/ben", 100))
        assert result.transfer.debit_balance_after == 0
        for hold in made:
            await holds.until_recorded(wallets_database, hold, "EXPIRED")


async def test_replicas_sweep_expired_holds_of_every_account_together(wallets_database: databases.Database) -> None:
    async with (
        wallets.running(wallets_database, **SOON) as one,
        wallets.running(wallets_database, **SOON) as other,
    ):
        users = [f"u{number}" for number in range(12)]
        await one.post(*(wallets.transfer("provider/stripe", f"user/{user}", 10, type_="DEPOSIT") for user in users))
        made = await asyncio.gather(*(holds.create(one, user, amount=5, expires_after_seconds=1) for user in users * 2))
        await other.fund("ana", 10)
        lasting = await holds.create(other, amount=10)
        for hold in made:
            await holds.until_recorded(wallets_database, hold, "EXPIRED")
        assert holds.recorded(wallets_database, lasting) == "PENDING"
        assert holds.rows(wallets_database, "SELECT sum(held_amount) FROM accounts") == [(10,)]


async def test_a_sweep_goes_on_when_the_database_is_back(wallets_database: databases.Database) -> None:
    before = metrics.value("wallets_hold_sweeps_failed_total")
    async with wallets.running(wallets_database, **SOON) as client:
        await client.fund("ana", 100)
        made = await holds.create(client, amount=100, expires_after_seconds=2)
        with structlog.testing.capture_logs() as logs, away(wallets_database):
            while not any("not given back" in each["event"] for each in logs):  # noqa: ASYNC110  # logs set no event
                await asyncio.sleep(0.02)
        assert metrics.value("wallets_hold_sweeps_failed_total") > before
        await holds.until_recorded(wallets_database, made, "EXPIRED")


@contextlib.contextmanager
def away(of: databases.Database) -> Iterator[None]:
    """Let nobody but superusers connect to a database while inside, and throw out who is connected."""
    name = psycopg.conninfo.conninfo_to_dict(of.superuser_url)["dbname"]
    with psycopg.connect(of.superuser_url, autocommit=True) as connection:

        def set_(limit: int) -> None:
            connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT {limit}'.encode())

        set_(0)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        try:
            yield
        finally:
            set_(-1)


async def test_what_cannot_be_given_back_keeps_nobody_elses_money(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database, **NEVER) as client:
        for user in ("ana", "eva"):
            await client.fund(user, 100)
        broken, whole = [await expired_hold(client, wallets_database, payer=user) for user in ("ana", "eva")]
    spoil = "UPDATE accounts SET held_amount = %s WHERE address = 'user/ana' RETURNING id"
    holds.rows(wallets_database, spoil, 1)
    before = metrics.value("wallets_hold_releases_failed_total")
    await swept(wallets_database)
    assert metrics.value("wallets_hold_releases_failed_total") == before + 1
    assert [holds.recorded(wallets_database, hold) for hold in (broken, whole)] == ["PENDING", "EXPIRED"]
    holds.rows(wallets_database, spoil, 100)
    await swept(wallets_database)
    assert holds.recorded(wallets_database, broken) == "EXPIRED"


async def swept(wallets_database: databases.Database, **page: int) -> None:
    """Sweep once."""
    engine = database.engine(wallets_database.application_url, pool_size=1)
    ledger = Ledger(wallets.settings(wallets_database))
    async with ledger.running():
        await expiry.sweep(database.sessions(engine), ledger, **page)
    await engine.dispose()


async def test_a_sweep_walks_through_more_holds_than_a_page_has(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database, **NEVER) as client:
        await client.fund("ana", 100)
        made: Sequence[holds_pb2.Hold] = await asyncio.gather(
            *(holds.create(client, amount=1, expires_after_seconds=1) for _ in range(10))
        )
        for hold in made:
            await holds.until_over(wallets_database, hold)
    await swept(wallets_database, page=3)
    assert holds.rows(wallets_database, "SELECT DISTINCT status FROM holds") == [("EXPIRED",)]


async def test_a_wave_of_expired_holds_frees_the_money_of_all_at_once(wallets_database: databases.Database) -> None:
    """More of them than any page has, on one account, and the newest of all on another that pays in the same batch."""
    async with wallets.running(wallets_database, **NEVER) as client:
        await client.fund("eva", 2_000)
        await client.fund("ana", 100)
        with psycopg.connect(wallets_database.superuser_url) as connection:
            hold_in_the_past(connection, rules.MAX_OPEN_HOLDS)
        await expired_hold(client, wallets_database)
        sent = [wallets.transfer(f"user/{user}", "user/ben", amount) for user, amount in (("eva", 2_000), ("ana", 100))]
        answer = await client.post(*sent)
        assert [each.HasField("transfer") for each in answer] == [True, True]


async def test_more_holds_than_may_be_open_are_given_back_over_several_batches(
    wallets_database: databases.Database,
) -> None:
    """Rows that no service made: one batch must not keep everybody waiting for all of them."""

    def moved(debit: str, credit: str, amount: int) -> entries.Transfer:
        return entries.Transfer(ids.text(), debit, credit, amount, "HTG", "TRANSFER")

    ledger = Ledger(wallets.settings(wallets_database))  # By itself, with no sweeper.
    async with ledger.running():
        await ledger.post([moved("provider/stripe", f"user/{user}", 5_000) for user in ("eva", "ana")])
        with psycopg.connect(wallets_database.superuser_url) as connection:
            hold_in_the_past(connection, 2_500)
        for count in (1_000, 2_000, 2_500):
            (outcome,) = await ledger.post([moved("user/eva", "user/ben", 1)])
            assert isinstance(outcome, entries.Posting)
            given_back = "SELECT count(*) FROM holds WHERE status = 'EXPIRED'"
            assert holds.rows(wallets_database, given_back) == [(count,)]


async def test_an_account_pays_no_more_holds_than_may_be_open(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database, **NEVER) as client:
        await client.fund("eva", 5_000)
        await client.fund("ana", 100)
        with psycopg.connect(wallets_database.superuser_url) as connection:
            hold_in_the_past(connection, 999)
            connection.execute("ALTER TABLE holds DISABLE TRIGGER USER")
            connection.execute("UPDATE holds SET expires_time = now() + interval '1 hour'")
            connection.execute("ALTER TABLE holds ENABLE TRIGGER USER")
            hold_in_the_past(connection, 500)  # Their time is over: they are open no more.
        await holds.create(client, "eva")
        status = await wallets.refused(holds.create(client, "eva"))
        assert (status.reason, status.metadata["limit"]) == ("TOO_MANY_HOLDS", "1000")
        await holds.create(client, "ana")


async def test_a_hold_that_is_being_taken_at_its_end_does_not_read_as_expired_before(
    wallets_database: databases.Database,
) -> None:
    """The batch went by its clock before the end, and is committed after it."""
    async with wallets.running(wallets_database, **NEVER) as client:
        await client.fund("ana", 100)
        made = await holds.create(client, expires_after_seconds=3)
        with wallets.slow_commits(wallets_database, seconds=4):
            posting = asyncio.create_task(holds.post(client, made))
            await wallets.until_waiting(wallets_database, "Timeout")
            await holds.until_over(wallets_database, made)
            assert (await holds.get(client, made.id)).status == holds_pb2.HOLD_STATUS_POSTED
            assert (await posting).status == holds_pb2.HOLD_STATUS_POSTED
