"""However many watch payments, they are read together, and none misses a change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import sqlalchemy

from kobklein.payments.v1 import payments_pb2
from tests import payments
from tests.payments import AS_ADMIN, by

WATCHES = 15
POLLS = 3


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


@contextlib.asynccontextmanager
async def watching(client: payments.Client, watched: list[payments_pb2.Payment]) -> AsyncIterator[list[Any]]:
    """Watch each payment, and yield the watches once each has shown its payment."""
    watches = [
        client.stub.WatchPayment(payments_pb2.WatchPaymentRequest(id=payment.id), metadata=by(client.user))
        for payment in watched
    ]
    assert [(await watch.read()).id for watch in watches] == [payment.id for payment in watched]
    yield watches
    for watch in watches:
        watch.cancel()


@contextlib.contextmanager
def statements(enough: Callable[[list[str]], bool]) -> Iterator[tuple[list[str], asyncio.Event]]:
    """Collect the statements of this process about payments; the event is set once there are enough."""
    seen: list[str] = []
    done = asyncio.Event()

    def record(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM payments" in statement:
            seen.append(statement)
            if enough(seen):
                done.set()

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", record)
    try:
        yield seen, done
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", record)


def is_poll(statement: str) -> bool:
    return statement.startswith("SELECT payments.id, payments.version \n")


def is_of_a_worker(statement: str) -> bool:
    return "FOR UPDATE" in statement


async def test_idle_watches_share_one_query_each_time(client: payments.Client) -> None:
    watched = [await client.create() for _ in range(WATCHES)]
    async with watching(client, watched):
        with statements(lambda seen: sum(map(is_poll, seen)) > POLLS) as (seen, done):
            await asyncio.wait_for(done.wait(), 30)
    assert [statement for statement in seen if not is_poll(statement) and not is_of_a_worker(statement)] == []


async def test_a_change_that_was_not_told_is_seen_by_every_watch(client: payments.Client) -> None:
    watched = [await client.create() for _ in range(WATCHES)]
    async with watching(client, [*watched, watched[0]]) as watches:
        await client.rows(
            "SET session_replication_role = replica; UPDATE payments SET version = version + 1, description = 'changed'"
        )
        for watch in watches:
            seen = await asyncio.wait_for(watch.read(), 30)
            assert (seen.version, seen.description) == (2, "changed")


async def test_a_deletion_that_was_not_told_ends_every_watch(client: payments.Client) -> None:
    watched = await client.create()
    async with watching(client, [watched, watched]) as watches:
        await client.rows(
            "SET session_replication_role = replica; UPDATE payments SET deleted_time = now(), version = version + 1"
        )
        for watch in watches:
            async with payments.refused("PAYMENT_NOT_FOUND"):
                await asyncio.wait_for(watch.read(), 30)


async def test_a_watch_shows_what_its_caller_may_see_alone(client: payments.Client) -> None:
    mine = await client.create()
    async with watching(client, [mine]):
        request = payments_pb2.WatchPaymentRequest(id=mine.id)
        async with payments.refused("PAYMENT_NOT_FOUND"):
            await client.stub.WatchPayment(request, metadata=by("somebody-else")).read()
        assert (await client.stub.WatchPayment(request, metadata=AS_ADMIN).read()).id == mine.id
