"""PostgreSQL's own failures are retried or named, and never mistaken for a business error."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from deploy.local import postgres as embedded
from kobklein import database, errors


@pytest.fixture
async def sessions(postgres: embedded.Server) -> AsyncIterator[database.Sessions]:
    name = f"database_{uuid.uuid4().hex}"
    postgres.create_database(name, owner=embedded.SUPERUSER)
    engine = database.engine(postgres.url(database=name), pool_size=4)
    async with engine.begin() as connection:
        await connection.execute(
            sa.text("CREATE TABLE counters (name text CONSTRAINT one_name PRIMARY KEY, value int)")
        )
        await connection.execute(sa.text("INSERT INTO counters VALUES ('a', 0), ('b', 0)"))
    yield database.sessions(engine)
    await engine.dispose()
    postgres.drop_database(name)


async def add(session: database.Session, name: str) -> None:
    await session.execute(sa.text("UPDATE counters SET value = value + 1 WHERE name = :name"), {"name": name})


async def values(sessions: database.Sessions) -> list[int]:
    async with sessions.begin() as session:
        return list((await session.execute(sa.text("SELECT value FROM counters ORDER BY name"))).scalars())


async def test_deadlocked_transactions_are_run_again_as_a_whole(sessions: database.Sessions) -> None:
    both_hold_one = asyncio.Barrier(2)
    runs = 0

    async def cross(first: str, second: str) -> None:
        waited = False

        async def work(session: database.Session) -> None:
            nonlocal runs, waited
            runs += 1
            await add(session, first)
            if not waited:
                waited = True
                await both_hold_one.wait()
            await add(session, second)

        await database.transaction(sessions, work)

    await asyncio.gather(cross("a", "b"), cross("b", "a"))
    assert await values(sessions) == [2, 2]
    assert runs == 3


async def test_serialization_failures_are_run_again_until_they_pass(sessions: database.Sessions) -> None:
    attempts = 0

    async def work(session: database.Session) -> None:
        nonlocal attempts
        attempts += 1
        await add(session, "a")
        if attempts < database.MAX_ATTEMPTS:
            await session.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    await database.transaction(sessions, work)
    assert attempts == database.MAX_ATTEMPTS
    assert await values(sessions) == [1, 0]


async def test_a_race_that_is_always_lost_is_unavailable(sessions: database.Sessions) -> None:
    async def work(session: database.Session) -> None:
        await session.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$"))

    with pytest.raises(errors.Unavailable):
        await database.transaction(sessions, work)


async def test_a_connection_that_is_cut_is_unavailable(sessions: database.Sessions) -> None:
    async def work(session: database.Session) -> None:
        await add(session, "a")
        await session.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(errors.Unavailable):
        await database.transaction(sessions, work)
    assert await values(sessions) == [0, 0]


async def test_a_database_that_is_away_is_unavailable() -> None:
    engine = database.engine(f"postgresql://nobody@127.0.0.1:{embedded.free_port()}/x", pool_size=1)

    async def work(session: database.Session) -> None:
        await add(session, "a")

    with pytest.raises(errors.Unavailable):
        await database.transaction(database.sessions(engine), work)
    await engine.dispose()


async def test_a_broken_constraint_is_known_by_its_name(sessions: database.Sessions) -> None:
    async def work(session: database.Session) -> None:
        await session.execute(sa.text("INSERT INTO counters VALUES ('a', 9)"))

    with pytest.raises(exc.IntegrityError) as raised:
        await database.transaction(sessions, work)
    assert database.constraint(raised.value) == "one_name"
