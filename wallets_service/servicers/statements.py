"""The RPCs of statements."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.api import httpbody_pb2

from kobklein import calls, database, errors, pages
from kobklein.wallets.v1 import statements_pb2, statements_pb2_grpc
from wallets_service import documents, exports, instants, statements
from wallets_service.messages import common
from wallets_service.messages import statements as messages
from wallets_service.repository.histories import Head
from wallets_service.servicers import rights
from wallets_service.statements import Period, Position
from wallets_service.turns import Turns

_Context = grpc.aio.ServicerContext[Any, Any]
_StatementRequest = statements_pb2.GetStatementRequest | statements_pb2.ExportStatementRequest
_Request = statements_pb2.GetBalanceRequest | _StatementRequest
_DISPOSITION = "http-content-disposition"


class StatementsServicer(statements_pb2_grpc.StatementsServiceServicer):
    """Shows wallets over time."""

    def __init__(self, sessions: database.Sessions, turns: Turns, pager: pages.Pager) -> None:
        self._sessions = sessions
        self._turns = turns
        self._pager = pager

    async def GetBalance(self, request: statements_pb2.GetBalanceRequest, _context: _Context) -> statements_pb2.Balance:
        """Get a balance."""
        given = common.given_time(request, "time")
        time = await instants.settled(self._sessions, given, field="time")
        account = await self._account(request)
        at = statements.latest(account, time) if given is None else time
        found = await statements.balance(self._sessions, self._turns, account, at, common.basis(request.basis))
        return messages.balance(found)

    async def GetStatement(
        self, request: statements_pb2.GetStatementRequest, _context: _Context
    ) -> statements_pb2.Statement:
        """Get a statement."""
        kept, limit = self._pager.open(request), pages.size(request)
        if kept is None:
            account, period, position = await self._open(request)
        else:
            account = await self._account(request)
            period, position = messages.of_token(kept, messages.range_(request)[0], common.basis(request.basis))
        lines, next_ = await database.transaction(
            self._sessions, lambda session: statements.page(session, account.id, period, position, limit=limit)
        )
        token = self._pager.seal(request, messages.to_token(period, next_)) if next_ is not None else ""
        return messages.statement(account, period, lines, token)

    async def ExportStatement(
        self, request: statements_pb2.ExportStatementRequest, context: _Context
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """Export a statement."""
        accept = dict(context.invocation_metadata() or ()).get("accept", "")
        zone, form = messages.zone(request.time_zone), messages.form(request.format, str(accept))
        account, period, start = await self._open(request)
        document = form(account, period, zone)
        name = documents.file_name(account, period, zone, form.extension)
        await context.send_initial_metadata(((_DISPOSITION, f'{form.disposition}; filename="{name}"'),))
        async with contextlib.aclosing(exports.chunks(self._turns, account, period, start, document)) as chunks:
            async for chunk in chunks:
                yield httpbody_pb2.HttpBody(content_type=form.media_type, data=chunk)

    async def _open(self, request: _StatementRequest) -> tuple[Head, Period, Position]:
        """Return whose statement is asked for, its period, and where its lines start."""
        from_time, before_time = messages.range_(request)
        end = await instants.settled(self._sessions, before_time, field="before_time")
        if from_time > end and before_time is None:
            raise errors.InvalidArgument.of("from_time", "is in the future")
        account = await self._account(request)
        if before_time is None:
            before_time = statements.just_after(statements.latest(account, end))
        period, start = await statements.open_(
            self._turns, account, from_time, before_time, common.basis(request.basis)
        )
        return account, period, start

    async def _account(self, request: _Request) -> Head:
        id_, owner, wallets_only = uuid.UUID(request.id), calls.current().owner, rights.wallets_only()
        return await database.transaction(
            self._sessions,
            lambda session: statements.account(session, id_, owner=owner, wallets_only=wallets_only),
        )
