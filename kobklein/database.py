"""PostgreSQL as every service uses it: engines, whole-transaction retries, foreign errors translated."""

import asyncio
import contextlib
import math
import random
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

import psycopg
import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.ext import asyncio as sa

from kobklein import errors, silence

T = TypeVar("T")
MAX_ATTEMPTS: Final = 5
_RETRYABLE: Final = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
_AWAY: Final = (psycopg.OperationalError, psycopg.InterfaceError)
_STATEMENT_SECONDS: Final = 15.0
SILENT_MARGIN_SECONDS: Final = 5.0
"""How much longer than its statement timeout a server may say nothing: a live one ends the statement."""
WRITER_SILENT_SECONDS: Final = 12.0
"""The same for the connections that all writing waits for; their statements end after 10 seconds."""
_LOST: Final[dict[str, Any]] = {
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""How soon a server that is gone is given up: times are in seconds."""

Connection = silence.Connection
Session = sa.AsyncSession
Sessions = sa.async_sessionmaker[sa.AsyncSession]


def engine(
    url: str,
    *,
    pool_size: int,
    statement_seconds: float = _STATEMENT_SECONDS,
    silent_margin_seconds: float = SILENT_MARGIN_SECONDS,
) -> sa.AsyncEngine:
    """Return an engine for a `postgresql://` URL. Every wait in it has an end.

    Connections are not tried out before each use: that costs a round trip per transaction, and the first call that
    meets a lost one empties the pool and is answered UNAVAILABLE, which every client repeats.
    """
    options = f"-c statement_timeout={round(statement_seconds * 1000)} -c idle_in_transaction_session_timeout=30000"
    silent_seconds = statement_seconds + silent_margin_seconds
    return sa.create_async_engine(
        "postgresql+psycopg://",
        async_creator=lambda: connect_async(url, options=options, silent_seconds=silent_seconds),
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # Values in an error would be users' data in a log.
        pool_timeout=5,
    )


def connect(url: str, *, options: str = "", silent_seconds: float, autocommit: bool = True) -> Connection:
    """Return a connection for one thread, which blocks; with `autocommit`, each statement outside of a block commits.

    `options` are settings of the server for this session, `-c name=value` each. A server that says nothing for
    `silent_seconds` while it is to answer has the connection shut. Raises psycopg.OperationalError.
    """
    connection = Connection.connect(
        plain(url), autocommit=autocommit, options=f"-c timezone=UTC {options}", tcp_user_timeout=10_000, **_LOST
    )
    connection.silent_seconds = silent_seconds if math.isfinite(silent_seconds) else None
    return connection


async def connect_async(
    url: str, *, options: str = "", silent_seconds: float, autocommit: bool = False
) -> silence.AsyncConnection:
    """Return a connection for coroutines; for the rest, see `connect`."""
    connection = await silence.AsyncConnection.connect(
        plain(url), autocommit=autocommit, options=f"-c timezone=UTC {options}", tcp_user_timeout=20_000, **_LOST
    )
    connection.silent_seconds = silent_seconds
    return connection


def sessions(database: sa.AsyncEngine) -> Sessions:
    """Return a maker of sessions; `async with sessions.begin()` is the unit of work."""
    return sa.async_sessionmaker(database, expire_on_commit=False)


async def transaction(maker: Sessions, work: Callable[[Session], Awaitable[T]]) -> T:
    """Run `work` in a transaction of its own, and again as a whole when PostgreSQL says that it lost a race.

    `work` must have no effect outside the transaction. Raises Unavailable when the database is out of reach or the race
    is lost MAX_ATTEMPTS times; a connection lost while committing leaves the outcome open, and repeating the call with
    its idempotency key settles it.
    """
    for attempt in range(MAX_ATTEMPTS):
        with translated():
            try:
                async with maker.begin() as session:
                    return await work(session)
            except exc.DBAPIError as error:
                if not isinstance(error.orig, _RETRYABLE) or attempt == MAX_ATTEMPTS - 1:
                    raise
        await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311  # jitter, not a secret
    raise errors.Unavailable(part="the database")  # pragma: no cover  # the last attempt raised


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn a database that is away, too busy or lost its races into Unavailable; other errors pass."""
    try:
        yield
    except exc.TimeoutError as error:
        raise errors.Unavailable(part="the database") from error
    except exc.DBAPIError as error:
        if error.connection_invalidated or isinstance(error.orig, (*_AWAY, *_RETRYABLE)):
            raise errors.Unavailable(part="the database") from error
        raise
    except _AWAY as error:
        raise errors.Unavailable(part="the database") from error


def constraint(error: exc.IntegrityError) -> str:
    """Return the name of the constraint that an insert or update broke."""
    diagnosis = getattr(error.orig, "diag", None)
    return (diagnosis.constraint_name if diagnosis else None) or ""


async def probe(database: sa.AsyncEngine) -> None:
    """Raise unless the database answers."""
    async with database.connect() as connection:
        await connection.execute(sqlalchemy.text("SELECT 1"))


def plain(url: str) -> str:
    """Return a URL without the name of a driver, which libpq does not know."""
    return re.sub(r"^postgresql\+\w+://", "postgresql://", url)
