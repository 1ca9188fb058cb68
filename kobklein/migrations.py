"""The schema of a service: its owner brings it up to date, and a process that serves on it waits until it is."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Final

import alembic.command
import alembic.config
import alembic.script
import psycopg
import sqlalchemy
import structlog
from psycopg import conninfo

from kobklein import database

_log = structlog.get_logger()
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0)
"""Seconds before the second, third … try to reach a database; the last one stands for all that follow."""
_LOOK_SECONDS: Final = 5.0
"""How long a server may say nothing to who only looks at it."""


def migrate(
    package: str,
    owner_url: str,
    *,
    application_url: str,
    revision: str = "head",
    wait_seconds: float = 0.0,
    statement_seconds: float = 3600.0,
) -> None:
    """Bring the schema of a service up to a revision, as the role that owns it, and let the application role use it.

    A database that is away is waited for, `wait_seconds` in all, with a line in the log for each try; then
    psycopg.OperationalError is raised. Replicas may migrate at once: a lock in the database lets one after the other.
    A migration is one transaction, so one that is cut off leaves the schema as it was. `package` holds the folder
    `migrations`; its revisions find the name of the application role in `config.attributes["application_role"]`.
    """
    config = _config(package)
    options = f"-c statement_timeout={round(statement_seconds * 1000)}"
    silent_seconds = statement_seconds + database.SILENT_MARGIN_SECONDS
    _wait_until_reachable(owner_url, seconds=wait_seconds)
    owner = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: database.connect(owner_url, options=options, silent_seconds=silent_seconds, autocommit=False),
        poolclass=sqlalchemy.NullPool,
    )
    with owner.begin() as connection:
        connection.execute(
            sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"migrate {package}"}
        )
        config.attributes["connection"] = connection
        role = conninfo.conninfo_to_dict(database.plain(application_url)).get("user")
        config.attributes["application_role"] = role
        alembic.command.upgrade(config, revision)
        _show_revision(connection, str(role))
    owner.dispose()
    _log.info("migrated", package=package)


def _show_revision(connection: sqlalchemy.Connection, role: str) -> None:
    """Let the application role see the revision that it waits for."""
    sees = "SELECT has_table_privilege(:role, 'alembic_version', 'SELECT')"
    if not connection.execute(sqlalchemy.text(sees), {"role": role}).scalar_one():
        name = connection.dialect.identifier_preparer.quote_identifier(role)
        connection.execute(sqlalchemy.text(f"GRANT SELECT ON alembic_version TO {name}"))


async def wait_until_migrated(package: str, url: str) -> None:
    """Return once the database answers and has the schema that this code was written for, or a later one.

    A later revision only adds to an earlier one, so code of before serves on it; the log says so. Until then each try
    is one line in the log.
    """
    scripts = alembic.script.ScriptDirectory.from_config(_config(package))
    expected = scripts.get_current_head()
    earlier = {script.revision for script in scripts.walk_revisions()} - {expected}
    for pause in _pauses():
        try:
            found = await _revision(url)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            _log.warning("waiting for the database", error=_one_line(error), next_try_seconds=pause)
        else:
            if found == expected:
                return
            if found is not None and found not in earlier:
                _log.warning("the schema is newer than this code", revision=found, expected=expected)
                return
            _log.warning("waiting for the schema", revision=found, expected=expected, next_try_seconds=pause)
        await asyncio.sleep(pause)


async def _revision(url: str) -> str | None:
    """Return the revision of a database's schema, None while nothing is migrated that it may see."""
    async with await database.connect_async(url, silent_seconds=_LOOK_SECONDS) as connection:
        # Asked for first, since the server would log a statement that fails as an error.
        visible = "SELECT has_table_privilege(to_regclass('alembic_version'), 'SELECT')"
        if await (await connection.execute(visible)).fetchone() != (True,):
            return None
        row = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchone()
        return row[0] if row else None


def _wait_until_reachable(url: str, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for pause in _pauses():
        try:
            database.connect(url, silent_seconds=_LOOK_SECONDS).close()
        except psycopg.OperationalError as error:
            if time.monotonic() + pause > deadline:
                raise
            _log.warning("waiting for the database", error=_one_line(error), next_try_seconds=pause)
            time.sleep(pause)
        else:
            return


def _pauses() -> Iterator[float]:
    return itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1]))


def _one_line(error: Exception) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines())


def _config(package: str) -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", f"{package}:migrations")
    return config
