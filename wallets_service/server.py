"""How wallets_service is put together."""

import contextlib
import datetime
from collections.abc import AsyncIterator
from typing import Final

import grpc
import structlog

from kobklein import client, database, idempotency, pages, server
from kobklein.wallets.v1 import (
    accounts_pb2_grpc,
    conversions_pb2_grpc,
    holds_pb2_grpc,
    ledger_pb2_grpc,
    statements_pb2_grpc,
    transfers_pb2_grpc,
    wallets_pb2_grpc,
)
from wallets_service import expiry, retention
from wallets_service.cursors import Cursors
from wallets_service.ledger.group_commit import Ledger
from wallets_service.proof.reports import Reports
from wallets_service.proof.seals import Sealer
from wallets_service.rates import http, sources
from wallets_service.servicers.accounts import AccountsServicer
from wallets_service.servicers.conversions import ConversionsServicer
from wallets_service.servicers.holds import HoldsServicer
from wallets_service.servicers.ledger import LedgerServicer
from wallets_service.servicers.statements import StatementsServicer
from wallets_service.servicers.transfers import TransfersServicer
from wallets_service.servicers.wallets import WalletsServicer
from wallets_service.settings import Settings
from wallets_service.turns import Turns
from wallets_service.watches import Watches

_log = structlog.get_logger()
_HOUSEKEEPING_SECONDS: Final = 600
_QUOTES_SECONDS: Final = 60
"""How long after a round of deleting old quotes the next one begins: each replica can delete 300 a second."""
SERVICES: Final = (
    "kobklein.wallets.v1.LedgerService",
    "kobklein.wallets.v1.WalletsService",
    "kobklein.wallets.v1.HoldsService",
    "kobklein.wallets.v1.AccountsService",
    "kobklein.wallets.v1.TransfersService",
    "kobklein.wallets.v1.ConversionsService",
    "kobklein.wallets.v1.StatementsService",
)


@contextlib.asynccontextmanager
async def run(settings: Settings) -> AsyncIterator[int]:
    """Serve until left, and yield the port. Calls that run then are answered before the ledger stops."""
    engine = database.engine(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    sessions = database.sessions(engine)
    pager = pages.Pager(settings.page_token_key.get_secret_value())
    watches = Watches(sessions, Cursors(settings.page_token_key.get_secret_value()), settings)
    ledger = Ledger(settings, tell=watches.tell)
    reports = Reports(settings)
    rate_sources: list[sources.RateSource] = []
    sealer = Sealer(settings.database_url.get_secret_value(), settings.signing_key)

    def add_servicers(grpc_server: grpc.aio.Server) -> None:
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server(
            LedgerServicer(ledger, engine, pager, reports, watches), grpc_server
        )
        transfers_pb2_grpc.add_TransfersServiceServicer_to_server(
            TransfersServicer(ledger, sessions, currencies=settings.currencies), grpc_server
        )
        conversions_pb2_grpc.add_ConversionsServiceServicer_to_server(
            ConversionsServicer(
                sessions,
                ledger,
                rate_sources,
                quote_lifetime=datetime.timedelta(seconds=settings.quote_seconds),
                currencies=settings.currencies,
            ),
            grpc_server,
        )
        wallets_pb2_grpc.add_WalletsServiceServicer_to_server(
            WalletsServicer(sessions, pager, watches, currencies=settings.currencies), grpc_server
        )
        statements_pb2_grpc.add_StatementsServiceServicer_to_server(
            StatementsServicer(sessions, Turns(sessions, pool_size=settings.database_pool_size), pager), grpc_server
        )
        holds_pb2_grpc.add_HoldsServiceServicer_to_server(
            HoldsServicer(
                ledger, sessions, pager, default_seconds=settings.hold_seconds, currencies=settings.currencies
            ),
            grpc_server,
        )
        accounts_pb2_grpc.add_AccountsServiceServicer_to_server(AccountsServicer(ledger, sessions, pager), grpc_server)

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        await stack.enter_async_context(sealer.running(pause_seconds=settings.seal_seconds))
        await stack.enter_async_context(watches.running())
        await stack.enter_async_context(ledger.running())
        await stack.enter_async_context(expiry.sweeping(sessions, ledger, seconds=settings.hold_sweep_seconds))
        await stack.enter_async_context(server.repeating(lambda: _forget_keys(sessions), seconds=_HOUSEKEEPING_SECONDS))
        await stack.enter_async_context(retention.forgetting(sessions, seconds=_QUOTES_SECONDS))
        if settings.rate_source is not None:
            rate_sources.append(await stack.enter_async_context(http.running(settings.rate_source)))
        yield await stack.enter_async_context(
            server.running(
                SERVICES,
                add_servicers,
                settings,
                probe=lambda: database.probe(engine),
                longest_request_bytes=client.MAX_MESSAGE_BYTES,
            )
        )


async def _forget_keys(sessions: database.Sessions) -> None:
    try:
        while await database.transaction(sessions, idempotency.forget):
            pass
    except Exception as error:  # Old keys do no harm; the next round tries again.
        _log.warning("old idempotency keys stay", error=repr(error))
