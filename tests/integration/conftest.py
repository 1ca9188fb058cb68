"""Fixtures of more than one file here; a file that needs another service than these runs it under the same name."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import stripe

from deploy.local.postgres import Server
from deploy.sandbox import testing
from deploy.sandbox.testing import Sandbox
from kobklein import database
from tests import databases, gateways, payments
from tests.gateways import Gallery, Gateway


@pytest.fixture
async def sessions(wallets_database: databases.Database) -> AsyncIterator[database.Sessions]:
    """Sessions of the application's role."""
    engine = database.engine(wallets_database.application_url, pool_size=2)
    yield database.sessions(engine)
    await engine.dispose()


@pytest.fixture(scope="module")
async def fresh(
    postgres: Server, payments_template: str, wallets_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[], Awaitable[payments.Client]]]:
    """A payments_service that no webhook reaches, so that its own path must find everything out."""
    templates, folder = (payments_template, wallets_template), tmp_path_factory.mktemp("keys")
    async with payments.shared(postgres, templates, folder, webhooks=False) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[tuple[Gateway, Gallery]]:
    """A gateway that shows often that its streams are alive, and the gallery behind it."""
    gallery = Gallery()
    async with gateways.serving("gallery", gallery.add_to, heartbeat_seconds=0.05) as gateway:
        yield gateway, gallery


@pytest.fixture
def gateway(served: tuple[Gateway, Gallery]) -> Gateway:
    return served[0]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Sandbox]:
    """A simulator of Stripe that all tests of a file share."""
    async with testing.running() as sandbox:
        yield sandbox


@pytest.fixture
async def sandbox(server: Sandbox) -> Sandbox:
    """The simulator as if it had just started."""
    await server.control("reset")
    return server


@pytest.fixture(scope="module")
async def api(server: Sandbox) -> AsyncIterator[Any]:
    """The simulator's API, through Stripe's own SDK."""
    http = stripe.HTTPXClient()
    yield stripe.StripeClient("sk_test_sandbox", base_addresses={"api": server.url}, http_client=http).v1
    await http.close_async()
