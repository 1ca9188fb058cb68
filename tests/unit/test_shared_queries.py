"""Questions that come while a query runs share the next one, and each gets its own answer."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from kobklein import shared_queries


class Table:
    """Answers with its rows as they are when a query begins, once it is let."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {"a": 1, "b": 2}
        self.queries: list[list[str]] = []
        self.asked = asyncio.Event()
        self.let = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def ask(self, keys: Sequence[str]) -> Mapping[str, int]:
        self.queries.append(list(keys))
        self.asked.set()
        found = {key: self.rows[key] for key in keys if key in self.rows}
        await self.let.acquire()
        if self.error is not None:
            raise self.error
        return found


@pytest.fixture
def table() -> Table:
    return Table()


async def test_what_comes_while_a_query_runs_shares_the_next_one(table: Table) -> None:
    shared = shared_queries.SharedQuery(table.ask)
    first = asyncio.create_task(shared.get("a"))
    await table.asked.wait()
    table.rows = {"a": 10, "b": 20}
    later = [asyncio.create_task(shared.get(key)) for key in ("a", "b", "c", "b")]
    table.let.release()
    assert await first == 1
    table.let.release()
    assert await asyncio.gather(*later) == [10, 20, None, 20]
    assert table.queries == [["a"], ["a", "b", "c"]]


async def test_a_query_takes_so_many_keys_at_most(table: Table) -> None:
    shared = shared_queries.SharedQuery(table.ask, most=2)
    asked = [asyncio.create_task(shared.get(key)) for key in "abcde"]
    for _ in range(3):
        table.let.release()
    assert await asyncio.gather(*asked) == [1, 2, None, None, None]
    assert table.queries == [["a", "b"], ["c", "d"], ["e"]]


async def test_an_error_is_raised_to_all_that_wait_and_the_next_query_is_made(table: Table) -> None:
    shared = shared_queries.SharedQuery(table.ask)
    table.error = ConnectionError("away")
    asked = [asyncio.create_task(shared.get(key)) for key in "ab"]
    table.let.release()
    assert [type(each) for each in await asyncio.gather(*asked, return_exceptions=True)] == [ConnectionError] * 2
    table.error = None
    table.let.release()
    assert await shared.get("a") == 1


async def test_one_that_leaves_takes_no_answer_from_the_others(table: Table) -> None:
    shared = shared_queries.SharedQuery(table.ask)
    leaving, staying = (asyncio.create_task(shared.get("a")) for _ in range(2))
    await table.asked.wait()
    leaving.cancel()
    table.let.release()
    assert await staying == 1
    assert (await asyncio.gather(leaving, return_exceptions=True))[0].__class__ is asyncio.CancelledError
