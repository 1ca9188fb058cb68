"""How wallets_service is put together."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import grpc
import structlog

from kobklein import database, idempotency, pages, server
from kobklein.wallets.v1 import ledger_pb2_grpc, statements_pb2_grpc, wallets_pb2_grpc
from wallets_service.cursors import Cursors
from wallets_service.ledger import Ledger
from wallets_service.servicers.ledger import LedgerServicer
from wallets_service.servicers.statements import StatementsServicer
from wallets_service.servicers.wallets import WalletsServicer
from wallets_service.settings import Settings
from wallets_service.watches import Watches

_log = structlog.get_logger()
_HOUSEKEEPING_SECONDS: Final = 600
SERVICES: Final = (
    "kobklein.wallets.v1.LedgerService",
    "kobklein.wallets.v1.StatementsService",
    "kobklein.wallets.v1.WalletsService",
)


@contextlib.asynccontextmanager
async def run(settings: Settings) -> AsyncIterator[int]:
    """Serve until left, and yield the port. Calls that run then are answered before the ledger stops."""
    engine = database.engine(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    sessions = database.sessions(engine)
    pager = pages.Pager(settings.page_token_key.get_secret_value())
    watches = Watches(sessions, Cursors(settings.page_token_key.get_secret_value()), settings)
    ledger = Ledger(settings, tell=watches.tell)

    def add_servicers(grpc_server: grpc.aio.Server) -> None:
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server(LedgerServicer(ledger, engine, pager, watches), grpc_server)
        statements_pb2_grpc.add_StatementsServiceServicer_to_server(StatementsServicer(sessions, pager), grpc_server)
        wallets_pb2_grpc.add_WalletsServiceServicer_to_server(WalletsServicer(sessions, pager, watches), grpc_server)

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        await stack.enter_async_context(watches.running())
        await stack.enter_async_context(ledger.running())
        await stack.enter_async_context(server.repeating(lambda: _forget_keys(sessions), seconds=_HOUSEKEEPING_SECONDS))
        yield await stack.enter_async_context(
            server.running(SERVICES, add_servicers, settings, probe=lambda: database.probe(engine))
        )


def migrate(settings: Settings) -> None:
    """Bring the schema up to date; any number of replicas may do so at once."""
    application_url = settings.database_url.get_secret_value()
    owner_url = settings.migration_database_url
    database.migrate(
        "wallets_service",
        owner_url.get_secret_value() if owner_url else application_url,
        application_url=application_url,
    )


async def _forget_keys(sessions: database.Sessions) -> None:
    try:
        while await database.transaction(sessions, idempotency.forget):
            pass
    except Exception as error:  # Old keys do no harm; the next round tries again.
        _log.warning("old idempotency keys stay", error=repr(error))
