"""The RPCs of statements."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.api import httpbody_pb2

from kobklein import auth, calls, contract, database, pages
from kobklein.wallets.v1 import ledger_pb2, statements_pb2, statements_pb2_grpc
from wallets_service import documents, exports, models, statements
from wallets_service.messages import common
from wallets_service.messages import statements as messages
from wallets_service.repository.histories import Head
from wallets_service.statements import Period, Position

_Context = grpc.aio.ServicerContext[Any, Any]
_DISPOSITION = "http-content-disposition"
_LEDGER: Final = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name
_GET_ACCOUNT: Final = contract.methods([_LEDGER])[f"/{_LEDGER}/GetAccount"]


class StatementsServicer(statements_pb2_grpc.StatementsServiceServicer):
    """Shows wallets over time."""

    def __init__(self, sessions: database.Sessions, pager: pages.Pager) -> None:
        self._sessions = sessions
        self._pager = pager

    async def GetBalance(self, request: statements_pb2.GetBalanceRequest, _context: _Context) -> statements_pb2.Balance:
        """Get a balance."""
        time, basis = common.given_time(request, "time"), messages.basis(request.basis)

        async def work(session: database.Session) -> statements.Balance:
            account = await _account(session, request.id)
            return await statements.balance(session, account, time, basis)

        return messages.balance(await database.transaction(self._sessions, work))

    async def GetStatement(
        self, request: statements_pb2.GetStatementRequest, _context: _Context
    ) -> statements_pb2.Statement:
        """Get a statement."""
        (from_time, before_time), basis = messages.range_(request), messages.basis(request.basis)
        kept, limit = self._pager.open(request), pages.size(request)

        async def work(
            session: database.Session,
        ) -> tuple[Head, Period, tuple[list[models.Transaction], Position | None]]:
            account = await _account(session, request.id)
            if kept is None:
                period, position = await statements.open_(session, account, from_time, before_time, basis)
            else:
                period, position = messages.of_token(kept, from_time, basis)
            return account, period, await statements.page(session, account.id, period, position, limit=limit)

        account, period, (lines, next_) = await database.transaction(self._sessions, work)
        token = self._pager.seal(request, messages.to_token(period, next_)) if next_ is not None else ""
        return messages.statement(account, period, lines, token)

    async def ExportStatement(
        self, request: statements_pb2.ExportStatementRequest, context: _Context
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """Export a statement."""
        (from_time, before_time), basis = messages.range_(request), messages.basis(request.basis)
        zone, form = messages.zone(request.time_zone), messages.form(request.format)

        async def work(session: database.Session) -> tuple[Head, Period, Position]:
            account = await _account(session, request.id)
            return account, *await statements.open_(session, account, from_time, before_time, basis)

        account, period, start = await database.transaction(self._sessions, work)
        document = form(account, period, zone)
        name = documents.file_name(account, period, form.extension)
        await context.send_initial_metadata(((_DISPOSITION, f'{form.disposition}; filename="{name}"'),))
        async with contextlib.aclosing(exports.chunks(self._sessions, account, period, start, document)) as chunks:
            async for chunk in chunks:
                yield httpbody_pb2.HttpBody(content_type=form.media_type, data=chunk)


async def _account(session: database.Session, id_: str) -> Head:
    """Return the account of a request; raises WalletNotFound, also for one that the caller may not see.

    Who may not get an account as such, as support may not, sees no balance or statement of it either: wallets only.
    """
    call = calls.current()
    return await statements.account(
        session, uuid.UUID(id_), owner=call.owner, wallets_only=not auth.permits(_GET_ACCOUNT, call.caller)
    )
