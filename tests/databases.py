"""Databases for tests: one embedded PostgreSQL a session, one migrated template a service, one copy a test."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Final

from deploy.local import postgres
from kobklein import migrations

_PASSWORD: Final = "test"
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True)
class Database:
    """A database of a service, with its schema and no rows."""

    owner_url: str
    application_url: str
    superuser_url: str


def template(server: postgres.Server, package: str) -> str:
    """Make the migrated database that copies are taken from, and return its name."""
    name = f"{package}_template"
    made = create(server, package, name)
    migrations.migrate(package, made.owner_url, application_url=made.application_url)
    return name


def at_revision(server: postgres.Server, package: str, revision: str) -> Iterator[Database]:
    """Yield a database with the schema of an earlier revision and no rows, dropped afterwards."""
    name = f"{package}_{next(_numbers)}"
    made = create(server, package, name)
    migrations.migrate(package, made.owner_url, application_url=made.application_url, revision=revision)
    yield made
    server.drop_database(name)


def copy(server: postgres.Server, package: str, *, of: str) -> Iterator[Database]:
    """Yield a fresh copy of a template, dropped afterwards."""
    name = f"{package}_{next(_numbers)}"
    server.create_database(name, owner=_roles(package)[0], template=of)
    _let_in(server, package, name)
    yield named(server, package, name)
    server.drop_database(name)


def create(server: postgres.Server, package: str, name: str) -> Database:
    """Create a database without a schema; its maker drops it."""
    for role in _roles(package):
        server.create_role(role, _PASSWORD)
    server.create_database(name, owner=_roles(package)[0])
    _let_in(server, package, name)
    return named(server, package, name)


def _let_in(server: postgres.Server, package: str, name: str) -> None:
    server.grant_connect(name, role=_roles(package)[1])


def _roles(package: str) -> tuple[str, str]:
    return f"{package}_owner", f"{package}_application"


def named(server: postgres.Server, package: str, name: str) -> Database:
    """Return the URLs of a database, which may not be there."""
    owner, application = _roles(package)
    return Database(
        owner_url=server.url(database=name, user=owner, password=_PASSWORD),
        application_url=server.url(database=name, user=application, password=_PASSWORD),
        superuser_url=server.url(database=name),
    )
