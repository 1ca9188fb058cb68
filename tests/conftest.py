"""Fixtures that more than one kind of test needs."""

from collections.abc import Iterator

import hypothesis
import pytest
import structlog

from deploy.local import postgres as embedded
from tests import databases

hypothesis.settings.register_profile("anywhere", deadline=None)  # How long an example takes is up to the machine.
hypothesis.settings.load_profile("anywhere")
_PLAIN = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
# Tracebacks with the values of all variables take a second each, for which an event loop stands still.
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _PLAIN])


@pytest.fixture(scope="session")
def postgres() -> Iterator[embedded.Server]:
    """An empty PostgreSQL server."""
    with embedded.temporary() as server:
        yield server


@pytest.fixture(scope="session")
def payments_template(postgres: embedded.Server) -> str:
    return databases.template(postgres, "payments_service")


@pytest.fixture(scope="session")
def wallets_template(postgres: embedded.Server) -> str:
    return databases.template(postgres, "wallets_service")


@pytest.fixture
def payments_database(postgres: embedded.Server, payments_template: str) -> Iterator[databases.Database]:
    """A database of payments_service without rows."""
    yield from databases.copy(postgres, "payments_service", of=payments_template)


@pytest.fixture
def wallets_database(postgres: embedded.Server, wallets_template: str) -> Iterator[databases.Database]:
    """A database of wallets_service without rows."""
    yield from databases.copy(postgres, "wallets_service", of=wallets_template)
