"""A database that says nothing any more, without hanging up, holds no call and no batch for long."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest
import sqlalchemy

from deploy.local import postgres as embedded
from kobklein import database, errors, ids
from tests import databases, ledger_oracle, proxies, waiting, wallets
from wallets_service.ledger import batches, entries
from wallets_service.ledger.book import Outcome
from wallets_service.proof import chain
from wallets_service.proof.seals import Sealer
from wallets_service.settings import Isolation

_SOON = 0.3
"""Seconds of silence that tests wait for instead of the 12 or 20 of the product."""


@pytest.fixture
async def proxy(wallets_database: databases.Database) -> AsyncIterator[proxies.Proxy]:
    async with proxies.Proxy(wallets_database.application_url).running() as running:
        yield running


def deposit(amount: int = 7) -> entries.Transfer:
    return entries.Transfer(ids.text(), "provider/stripe", "user/ana", amount, "HTG", "DEPOSIT")


async def posted(writer: batches.Writer, *operations: entries.Operation) -> list[Outcome]:
    return await asyncio.to_thread(writer.post, operations)


@pytest.mark.parametrize("loss", ["lose_request", "lose_answer"])
async def test_a_commit_that_the_database_does_not_answer_is_looked_up_by_its_ids(
    proxy: proxies.Proxy, wallets_database: databases.Database, loss: str
) -> None:
    """Whether the server had the COMMIT or not, the caller gets the one true answer, over another connection."""
    writer = batches.Writer(proxy.url, Isolation.READ_COMMITTED, silent_seconds=_SOON)
    await posted(writer, deposit())
    getattr(proxy, loss)(b"COMMIT")
    transfer = deposit(5)
    (outcome,) = await posted(writer, transfer)
    writer.close()
    assert isinstance(outcome, entries.Posting)
    assert outcome.credit_balance_after == 12
    ledger_oracle.check(wallets_database.superuser_url)


async def test_the_ledger_goes_on_when_the_database_speaks_again(
    proxy: proxies.Proxy, wallets_database: databases.Database
) -> None:
    writer = batches.Writer(proxy.url, Isolation.READ_COMMITTED, silent_seconds=_SOON)
    await posted(writer, deposit())
    proxy.accepted.clear()
    proxy.frozen = True
    late = asyncio.create_task(posted(writer, deposit(5)))
    async with waiting.patience("the silent connection is given up, and another one is tried"):
        await proxy.accepted.wait()
    proxy.frozen = False
    (outcome,) = await late
    writer.close()
    assert isinstance(outcome, entries.Posting)
    assert outcome.credit_balance_after == 12


async def test_the_sealer_gives_a_silent_database_up(proxy: proxies.Proxy) -> None:
    sealer = Sealer(proxy.url, chain.Key(wallets.SEAL_KEY), silent_seconds=_SOON)
    await asyncio.to_thread(sealer.seal)
    proxy.frozen = True
    with pytest.raises(psycopg.OperationalError, match="the server said nothing"):
        await asyncio.to_thread(sealer.seal)
    proxy.frozen = False
    assert not await asyncio.to_thread(sealer.seal)
    sealer.close()


async def test_a_call_is_unavailable_when_the_database_falls_silent(proxy: proxies.Proxy) -> None:
    engine = database.engine(proxy.url, pool_size=1, statement_seconds=0.1, silent_margin_seconds=_SOON)
    sessions = database.sessions(engine)

    async def work(session: database.Session) -> None:
        await session.execute(sqlalchemy.text("SELECT 1"))
        proxy.frozen = True
        await session.execute(sqlalchemy.text("SELECT 1"))

    with pytest.raises(errors.Unavailable):
        await database.transaction(sessions, work)
    proxy.frozen = False
    await database.probe(engine)
    await engine.dispose()


async def test_every_connection_has_a_limit_of_silence(postgres: embedded.Server) -> None:
    """12 seconds for what all writing waits for; for others 5 more than a statement may take there."""
    engine = database.engine(postgres.url(), pool_size=1)
    async with engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        ((timeout,),) = (await connection.exec_driver_sql("SHOW statement_timeout")).all()
    await engine.dispose()
    assert raw is not None
    assert (timeout, raw.silent_seconds) == ("15s", 20)
    assert database.WRITER_SILENT_SECONDS == 12


async def test_waiting_for_a_lock_is_not_silence(wallets_database: databases.Database) -> None:
    """A live server ends a statement by itself, so a wait that is shorter than that is never cut."""
    with psycopg.connect(wallets_database.superuser_url) as blocking:
        blocking.execute("LOCK TABLE accounts")
        connection = database.connect(
            wallets_database.application_url, options="-c statement_timeout=500", silent_seconds=5
        )
        begun = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT * FROM accounts FOR UPDATE")
        assert time.monotonic() - begun < 5
        assert connection.execute("SELECT 1").fetchone() == (1,)
        connection.close()
