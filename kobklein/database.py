"""PostgreSQL as every service uses it: engines, whole-transaction retries, foreign errors translated, migrations."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

import alembic.command
import alembic.config
import psycopg
import sqlalchemy
import structlog
from sqlalchemy import exc
from sqlalchemy.ext import asyncio as sa

from kobklein import errors

_log = structlog.get_logger()
T = TypeVar("T")
MAX_ATTEMPTS: Final = 5
_RETRYABLE: Final = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
_AWAY: Final = (psycopg.OperationalError, psycopg.InterfaceError)
_STATEMENT_TIMEOUT_MS: Final = 15_000
_LOST: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""How soon a server that does not answer is given up: times are in seconds."""

Connection = psycopg.Connection[tuple[Any, ...]]
Session = sa.AsyncSession
Sessions = sa.async_sessionmaker[sa.AsyncSession]


def engine(url: str, *, pool_size: int) -> sa.AsyncEngine:
    """Return an engine for a `postgresql://` URL; nothing in it waits for ever.

    Connections are not tried out before each use: that costs a round trip per transaction, and the first call that
    meets a lost one empties the pool and is answered UNAVAILABLE, which every client repeats.
    """
    return sa.create_async_engine(
        _with_driver(url),
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # Values in an error would be users' data in a log.
        pool_timeout=5,
        connect_args={
            **_LOST,
            "options": f"-c timezone=UTC -c statement_timeout={_STATEMENT_TIMEOUT_MS}"
            " -c idle_in_transaction_session_timeout=30000",
            "tcp_user_timeout": 20_000,
        },
    )


def connect(url: str, *, options: str) -> Connection:
    """Return a connection for one thread, which blocks; each statement commits unless it stands in a transaction.

    `options` are settings of the server for this session, `-c name=value` each. Raises psycopg.OperationalError.
    """
    return psycopg.Connection.connect(
        url, autocommit=True, client_encoding="utf8", options=options, tcp_user_timeout=10_000, **_LOST
    )


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


def migrate(package: str, owner_url: str, *, application_url: str, revision: str = "head") -> None:
    """Bring the schema of a service up to a revision, as the role that owns it, and let the application role use it.

    Replicas may do so at once: a lock in the database lets one after the other. `package` holds the folder
    `migrations`; its revisions find the name of the application role in `config.attributes["application_role"]`.
    """
    config = alembic.config.Config()
    config.set_main_option("script_location", f"{package}:migrations")
    owner = sqlalchemy.create_engine(_with_driver(owner_url), poolclass=sqlalchemy.NullPool)
    with owner.begin() as connection:
        connection.execute(
            sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"migrate {package}"}
        )
        config.attributes["connection"] = connection
        config.attributes["application_role"] = sqlalchemy.make_url(application_url).username
        alembic.command.upgrade(config, revision)
    owner.dispose()
    _log.info("migrated", package=package)


def _with_driver(url: str) -> sqlalchemy.URL:
    return sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")
