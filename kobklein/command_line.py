"""The commands that every gRPC service has: `serve` and `migrate`."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NoReturn, TypeVar

import psycopg
import typer
import uvloop

from kobklein import configuration, logs, memory, migrations, server
from kobklein.settings import MigrationSettings, ServiceSettings, Variables

_S = TypeVar("_S", bound=ServiceSettings)
_FAILED = 1


def service(
    package: str,
    settings: type[_S],
    migration: type[MigrationSettings],
    run: Callable[[_S], AbstractAsyncContextManager[int]],
    *,
    title: str,
    beside: Sequence[type[Variables]] = (),
) -> typer.Typer:
    """Return the command line of the service in `package`, which serves while inside `run`.

    `beside` are the settings of its further commands, whose variables may stand in one environment with the others.
    """
    app = typer.Typer(help=title, no_args_is_help=True, pretty_exceptions_enable=False)
    prefix = str(settings.model_config["env_prefix"])

    @app.command()
    def serve() -> None:
        """Serve until SIGTERM; running calls get time to end.

        The database and its schema are waited for first, with a line in the log for each try; nothing listens until
        then.
        """
        _refuse_owner(f"{prefix}MIGRATION_DATABASE_URL")
        given = configuration.read(settings, beside=(migration, *beside))
        logs.configure(given, process=package)
        try:
            uvloop.run(_serve(package, given, run))
        except configuration.NotToServeError as error:
            _give_up(f"{package} does not start: {error}", code=configuration.WRONG)

    @app.command()
    def migrate() -> None:
        """Bring the schema up to date, as the role that owns it, and exit. A database that is away is waited for."""
        given = configuration.read(migration, beside=(settings, *beside))
        logs.configure(given, process=package)
        _migrate(package, given)

    return app


async def _serve(package: str, settings: _S, run: Callable[[_S], AbstractAsyncContextManager[int]]) -> None:
    server.serve_metrics(settings)
    await migrations.wait_until_migrated(package, settings.database_url.get_secret_value())
    memory.settle()
    async with run(settings):
        await server.until_terminated()


def _migrate(package: str, settings: MigrationSettings) -> None:
    try:
        migrations.migrate(
            package,
            settings.owner_url,
            application_url=settings.database_url.get_secret_value(),
            wait_seconds=settings.migration_wait_seconds,
            statement_seconds=settings.migration_statement_seconds,
        )
    except psycopg.OperationalError as error:
        _give_up(f"the database is out of reach: {error}", code=_FAILED)


def _refuse_owner(variable: str) -> None:
    """A process that serves must not be able to change the schema, also when an attacker controls it."""
    if os.environ.get(variable):
        _give_up(
            f"{variable} is for `migrate` alone: take it out of the environment of `serve`", code=configuration.WRONG
        )


def _give_up(why: str, *, code: int) -> NoReturn:
    sys.stderr.write(" ".join(why.split()) + "\n")
    sys.exit(code)
