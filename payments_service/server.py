"""How payments_service is put together."""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Final

import grpc

from kobklein import auth, client, database, origins, pages, server
from kobklein.payments.v1 import payments_pb2_grpc, provider_events_pb2_grpc
from payments_service import housekeeping, servicer, workers
from payments_service.admission import ChargeAdmission
from payments_service.changes import Changes
from payments_service.charges import Charges
from payments_service.currencies import Agreement
from payments_service.money_path import MoneyPath
from payments_service.provider_events.servicer import ProviderEventsServicer
from payments_service.providers.stripe import Stripe
from payments_service.settings import Settings
from payments_service.settlement import Settlement
from payments_service.wallets import METHODS, Ledger
from payments_service.webhooks import Webhooks

_SHARED_CONNECTIONS: Final = 3
"""One for each query that is shared: of keys, of payments and of their versions."""
_READING_CONNECTIONS: Final = 4
"""For calls that only read, which take no connections of payments and wait for none of them."""


@contextlib.asynccontextmanager
async def run(settings: Settings) -> AsyncIterator[int]:
    """Serve until left, and yield the port. Calls and steps that run then get time to end; the rest is recovered.

    Raises CurrenciesDifferError once the ledger says that it does not offer a currency which the settings do.
    """
    engine = database.engine(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    shared = database.engine(settings.database_url.get_secret_value(), pool_size=_SHARED_CONNECTIONS)
    reading = database.engine(settings.database_url.get_secret_value(), pool_size=_READING_CONNECTIONS)
    background = workers.Background()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        stack.push_async_callback(shared.dispose)
        stack.push_async_callback(reading.dispose)
        provider = _provider(settings)
        stack.push_async_callback(provider.close)
        ledger = await stack.enter_async_context(_ledger(settings))
        agreement = Agreement(ledger, settings.currencies, poll_seconds=settings.money_path.poll_seconds)
        await stack.enter_async_context(agreement.inquiry())
        stack.push_async_callback(background.drain, settings.drain_seconds)
        sessions = _Sessions(*map(database.sessions, (engine, shared, reading)))
        parts = _Parts(settings, sessions, provider, ledger, background)
        for loop in parts.loops():
            await stack.enter_async_context(loop)

        async def probe() -> None:
            agreement.check()
            await database.probe(shared)

        yield await stack.enter_async_context(
            server.running(servicer.SERVICES, parts.add_servicers, settings, probe=probe)
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Sessions:
    own: database.Sessions
    """Each call and step has a connection of its own."""
    shared: database.Sessions
    """For queries that are made once for all that wait, and must not wait behind the payments themselves."""
    reading: database.Sessions
    """For calls that only read."""


class _Parts:
    """The parts that share the database, each made once."""

    def __init__(
        self,
        settings: Settings,
        all_sessions: _Sessions,
        provider: Stripe,
        ledger: Ledger,
        background: workers.Background,
    ) -> None:
        self._settings = settings
        self._sessions = sessions = all_sessions.own
        self._reading = all_sessions.reading
        self._provider = provider
        path_settings = settings.money_path
        self._changes = Changes(all_sessions.shared, poll_seconds=path_settings.poll_seconds)
        requests = origins.Memory()
        self._settlement = Settlement(
            sessions, ledger=ledger, changes=self._changes, requests=requests, settings=path_settings
        )
        path = MoneyPath(sessions, provider=provider, changes=self._changes, requests=requests, settings=path_settings)
        self._recovery = workers.Recovery(path, background, concurrent=path_settings.concurrent_steps)
        self._charges = Charges(
            sessions,
            provider=provider,
            path=path,
            changes=self._changes,
            background=background,
            admission=ChargeAdmission(all_sessions.shared, settings.admission),
            settings=path_settings,
            currencies=settings.currencies,
        )
        self._webhooks = Webhooks(
            sessions,
            provider=provider,
            settings=settings.inbox,
            path_settings=path_settings,
            step_due=self._recovery.wake,
        )

    def loops(self) -> Iterator[AbstractAsyncContextManager[None]]:
        """Yield what runs beside the calls."""
        kept = functools.partial(workers.kept, poll_seconds=self._settings.money_path.poll_seconds)
        yield workers.running(self._changes.listen(self._settings.database_url.get_secret_value()))
        yield kept("watches", self._changes.poll, wake=asyncio.Event())
        yield kept("settlement", self._settlement.run, wake=self._changes.settlement_due)
        yield kept("recovery", self._recovery.run, wake=self._recovery.wake)
        yield kept("inbox", self._webhooks.apply_due, wake=self._webhooks.received)
        yield server.repeating(self._housekeeping, seconds=housekeeping.SECONDS)

    async def _housekeeping(self) -> None:
        await housekeeping.run(self._sessions, unprocessable_seconds=self._settings.money_path.unprocessable_seconds)

    def add_servicers(self, grpc_server: grpc.aio.Server) -> None:
        """Add what answers the calls."""
        pager = pages.Pager(self._settings.page_token_key.get_secret_value())
        payments = servicer.PaymentsServicer(
            self._sessions,
            reading=self._reading,
            charges=self._charges,
            webhooks=self._webhooks,
            changes=self._changes,
            provider=self._provider,
            pager=pager,
            longest_watch_seconds=self._settings.longest_watch_seconds,
            currencies=self._settings.currencies,
        )
        payments_pb2_grpc.add_PaymentsServiceServicer_to_server(payments, grpc_server)
        events = ProviderEventsServicer(self._reading, pager=pager)
        provider_events_pb2_grpc.add_ProviderEventsServiceServicer_to_server(events, grpc_server)


def _provider(settings: Settings) -> Stripe:
    live = True if settings.production else None
    return Stripe(settings.stripe, timeout_seconds=settings.money_path.provider_seconds, live=live)


@contextlib.asynccontextmanager
async def _ledger(settings: Settings) -> AsyncIterator[Ledger]:
    signer = auth.Signer(settings.auth, private_jwk_file=settings.service_key_file, subject=settings.service_subject)
    async with client.channel(settings.wallets_target, settings.tls, METHODS.values()) as channel:
        yield Ledger(channel, token=signer.token, timeout_seconds=settings.ledger_seconds)
