"""A gateway in front of a real wallets_service, both in this process."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

import pydantic

from gateway import app, backends, comments
from kobklein import client
from kobklein.settings import AuthSettings
from tests import databases, gateways, wallets
from tests.gateways import Gateway


@contextlib.asynccontextmanager
async def running(
    database: databases.Database, *, service: Mapping[str, Any] = MappingProxyType({}), **changed: Any
) -> AsyncIterator[tuple[Gateway, wallets.Client]]:
    """Run both, and yield the gateway, whose client is `user-1`, and a client of the service behind it.

    `service` changes settings of the service, `changed` those of the gateway. The two accept the same
    tokens: those of the tests of wallets_service.
    """
    auth = AuthSettings(hs256_secret=pydantic.SecretStr(wallets.SECRET))
    configured = gateways.settings(**{"auth": auth, **changed})
    async with (
        wallets.running(database, **service) as behind,
        client.channel(f"127.0.0.1:{behind.port}", None, backends.methods_of("kobklein.wallets").values()) as channel,
    ):
        backend = backends.of_package("wallets", "kobklein.wallets", channel)
        application = app.create(configured, [backend], texts=comments.load())
        async with gateways.running(application, configured) as gateway:
            gateway.http.headers["authorization"] = f"Bearer {wallets.token('user-1', 'user')}"
            yield gateway, behind
