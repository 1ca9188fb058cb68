"""The trial balance adds up at every instant, and says the same of the same instant for ever."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from kobklein import database, errors
from kobklein.wallets.v1 import ledger_pb2
from tests import databases, histories, wallets
from wallets_service import instants
from wallets_service.instants import Basis
from wallets_service.proof import snapshots, trial_balances

RECORDED = ledger_pb2.TIME_BASIS_RECORDED
EFFECTIVE = ledger_pb2.TIME_BASIS_EFFECTIVE
NO_PATIENCE = datetime.timedelta(0)


@pytest.fixture
async def sessions(wallets_database: databases.Database) -> AsyncIterator[database.Sessions]:
    engine = database.engine(wallets_database.application_url, pool_size=1)
    yield database.sessions(engine)
    await engine.dispose()


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        yield client


async def balance(client: wallets.Client, **fields: Any) -> ledger_pb2.TrialBalance:
    request = ledger_pb2.GetTrialBalanceRequest(**fields)
    answer: ledger_pb2.TrialBalance = await client.ledger.GetTrialBalance(request, metadata=wallets.AS_SERVICE)
    return answer


async def drawn_up(
    ledger: databases.Database, at: datetime.datetime | None, *, patience: datetime.timedelta = instants.PATIENCE
) -> trial_balances.TrialBalance:
    """Draw up a trial balance without the service."""
    return await asyncio.to_thread(
        trial_balances.draw_up,
        ledger.application_url,
        snapshots.Clock(),
        at=at,
        basis=Basis.RECORDED,
        patience=patience,
    )


def figures(lines: Any) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    return {
        (line.currency, line.kind): (line.account_count, line.debit_amount, line.credit_amount, line.balance)
        for line in lines
    }


async def test_an_empty_ledger_has_no_lines(client: wallets.Client) -> None:
    answer = await balance(client)
    assert (list(answer.lines), list(answer.totals), answer.basis) == ([], [], RECORDED)
    assert answer.HasField("time")


async def test_lines_are_per_currency_and_kind_and_totals_are_zero(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    await client.fund("ben", 50, "USD")
    await client.post(
        wallets.transfer("user/ana", "user/ben", 30),
        wallets.transfer("user/ana", "fees", 2, type_="FEE"),
    )
    answer = await balance(client)
    assert figures(answer.lines) == {
        ("HTG", "fees"): (1, 0, 2, 2),
        ("HTG", "provider"): (1, 100, 0, -100),
        ("HTG", "user"): (2, 32, 130, 98),
        ("USD", "provider"): (1, 50, 0, -50),
        ("USD", "user"): (1, 0, 50, 50),
    }
    assert figures(answer.totals) == {("HTG", ""): (4, 132, 132, 0), ("USD", ""): (2, 50, 50, 0)}
    assert figures((await balance(client, currency="USD")).totals) == {("USD", ""): (2, 50, 50, 0)}


async def test_an_instant_is_answered_the_same_for_ever(client: wallets.Client) -> None:
    (first, second) = [(await client.fund("ana", amount)).transfer for amount in (100, 1)]
    before, after = [figures((await balance(client, time=each.created_time)).lines) for each in (first, second)]
    assert before == {("HTG", "provider"): (1, 100, 0, -100), ("HTG", "user"): (1, 0, 100, 100)}
    assert after == {("HTG", "provider"): (1, 101, 0, -101), ("HTG", "user"): (1, 0, 101, 101)}
    earlier = first.created_time.ToDatetime(tzinfo=datetime.UTC) - datetime.timedelta(microseconds=1)
    assert list((await balance(client, time=earlier)).lines) == []


async def test_a_backdated_transfer_counts_on_the_effective_basis_from_its_time_on(client: wallets.Client) -> None:
    funded = (await client.fund("ana", 100)).transfer.created_time
    past = funded.ToDatetime(tzinfo=datetime.UTC) - datetime.timedelta(days=30)
    (late,) = await client.post(wallets.transfer("provider/stripe", "user/ana", 7, effective_time=past))
    assert late.HasField("transfer")
    then = past + datetime.timedelta(days=1)
    assert figures((await balance(client, time=then, basis=EFFECTIVE)).totals) == {("HTG", ""): (2, 7, 7, 0)}
    assert list((await balance(client, time=then, basis=RECORDED)).totals) == []
    assert figures((await balance(client, time=funded, basis=RECORDED)).totals) == {("HTG", ""): (2, 100, 100, 0)}
    assert figures((await balance(client, time=funded, basis=EFFECTIVE)).totals) == {("HTG", ""): (2, 107, 107, 0)}


async def test_an_instant_that_is_not_there_yet_is_refused(client: wallets.Client) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    refusal = await wallets.refused(balance(client, time=later))
    assert [each.field for each in refusal.violations] == ["time"]


async def test_a_transfer_that_is_being_written_is_waited_for(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await client.fund("ana", 100)
    with histories.being_recorded(wallets_database.application_url, "provider/stripe", "user/ana", 1) as (time, commit):
        asked = asyncio.create_task(balance(client, time=time))
        done, _ = await asyncio.wait({asked}, timeout=0.5)
        assert not done
        commit()
        assert figures((await asked).totals) == {("HTG", ""): (2, 101, 101, 0)}


@pytest.mark.parametrize("of_now", [True, False])
async def test_a_transaction_that_does_not_end_is_not_waited_for_for_ever(
    client: wallets.Client, wallets_database: databases.Database, sessions: database.Sessions, of_now: bool
) -> None:
    funded = (await client.fund("ana", 100)).transfer.created_time.ToDatetime(tzinfo=datetime.UTC)
    at, patience = None if of_now else funded, datetime.timedelta(seconds=0.1)
    with psycopg.connect(wallets_database.superuser_url) as holder:
        holder.execute("SELECT pg_current_xact_id()")
        with pytest.raises(errors.Unavailable, match="began before this instant"):
            await drawn_up(wallets_database, at, patience=patience)
        with pytest.raises(errors.Unavailable, match="began before this instant"):
            await instants.settled(sessions, at, field="time", patience=patience)


async def test_an_instant_that_is_older_than_a_batch_can_be_waits_for_nobody(
    wallets_database: databases.Database,
) -> None:
    last_year = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=365)
    with psycopg.connect(wallets_database.superuser_url) as holder:
        holder.execute("SELECT pg_current_xact_id()")
        assert (await drawn_up(wallets_database, last_year, patience=NO_PATIENCE)).lines == []


async def test_a_transaction_in_another_database_is_not_waited_for(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await client.fund("ana", 100)
    elsewhere = psycopg.conninfo.make_conninfo(wallets_database.superuser_url, dbname="postgres")
    with psycopg.connect(elsewhere) as holder:
        holder.execute("SELECT pg_current_xact_id()")
        found = await drawn_up(wallets_database, None, patience=NO_PATIENCE)
    assert figures(found.totals) == {("HTG", ""): (2, 100, 100, 0)}


async def test_every_instant_of_a_busy_ledger_adds_up_and_stays_as_it_was_told(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await asyncio.gather(*(client.fund(str(number), 1_000) for number in range(8)))
    told: list[ledger_pb2.TrialBalance] = []

    async def move(number: int) -> None:
        for _ in range(15):
            await client.post(wallets.transfer(f"user/{number}", f"user/{(number + 1) % 8}", 3))
            await client.post(wallets.transfer("provider/stripe", f"user/new-{number}-{len(told)}", 1))

    async def look() -> None:
        while not all(mover.done() for mover in movers):
            told.append(await balance(client))

    movers = [asyncio.create_task(move(number)) for number in range(8)]
    await asyncio.gather(look(), *movers)
    for each in told:
        assert all(line.balance == 0 for line in each.totals)
        assert await balance(client, time=each.time) == each
    at = told[-1].time.ToDatetime(tzinfo=datetime.UTC)
    drawn = await drawn_up(wallets_database, at)
    assert figures(drawn.lines) == figures(told[-1].lines)
