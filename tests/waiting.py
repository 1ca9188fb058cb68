"""How long tests wait for what comes by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import psycopg

from tests import databases

_SECONDS: Final = 30
"""Far longer than anything takes, and far shorter than a test may."""


@contextlib.asynccontextmanager
async def patience(what: str) -> AsyncIterator[None]:
    """Let what is awaited inside take its time; past all patience, fail with what did not come."""
    limit = asyncio.timeout(_SECONDS)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise AssertionError(f"{what}: not after {_SECONDS} seconds") from error


async def until(what: str, holds: Callable[[], bool]) -> None:
    """Return once `holds` does."""
    async with patience(what):
        while not holds():  # noqa: ASYNC110  # The state that it reads sets no event.
            await asyncio.sleep(0.01)


async def until_over(database: databases.Database, table: str, id_: str) -> None:
    """Return once the database's clock says that the time of a row is over."""
    over = f"SELECT FROM {table} WHERE id = %s AND expires_time <= clock_timestamp()".encode()
    async with (
        patience(f"the time of {id_} is over"),
        await psycopg.AsyncConnection.connect(database.superuser_url, autocommit=True) as connection,
    ):
        while not (await connection.execute(over, (id_,))).rowcount:
            pass  # Each look lets the others go on.
