"""The RPCs of what admins set on accounts."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import message

from kobklein import database, idempotency, pages
from kobklein.wallets.v1 import accounts_pb2, accounts_pb2_grpc, ledger_pb2
from wallets_service import audit, controls, expiry, limits, models
from wallets_service.ledger.group_commit import Ledger
from wallets_service.messages import accounts as messages
from wallets_service.messages import ledger as ledger_messages

_Context = grpc.aio.ServicerContext[Any, Any]
_Work = Callable[[database.Session], Awaitable[models.Account]]


class AccountsServicer(accounts_pb2_grpc.AccountsServiceServicer):
    """Sets what may happen on accounts."""

    def __init__(self, ledger: Ledger, sessions: database.Sessions, pager: pages.Pager) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._pager = pager

    async def UpdateAccount(self, request: accounts_pb2.UpdateAccountRequest, _context: _Context) -> ledger_pb2.Account:
        """Update an account."""
        id_, change = uuid.UUID(request.id), messages.change(request)
        await expiry.sweep(self._sessions, self._ledger, account_id=id_)  # What has expired must not count.
        return await self._once(request, lambda session: controls.update(session, id_, change, reason=request.reason))

    async def FreezeAccount(self, request: accounts_pb2.FreezeAccountRequest, _context: _Context) -> ledger_pb2.Account:
        """Freeze an account."""
        directions = messages.directions(request.direction)
        return await self._once(
            request,
            lambda session: controls.freeze(session, uuid.UUID(request.id), **directions, reason=request.reason),
        )

    async def UnfreezeAccount(
        self, request: accounts_pb2.UnfreezeAccountRequest, _context: _Context
    ) -> ledger_pb2.Account:
        """Unfreeze an account."""
        return await self._once(
            request, lambda session: controls.unfreeze(session, uuid.UUID(request.id), reason=request.reason)
        )

    async def CloseAccount(self, request: accounts_pb2.CloseAccountRequest, _context: _Context) -> ledger_pb2.Account:
        """Close an account."""
        id_ = uuid.UUID(request.id)
        await expiry.sweep(self._sessions, self._ledger, account_id=id_)  # What has expired must not count.
        return await self._once(request, lambda session: controls.close(session, id_, reason=request.reason))

    async def _once(self, request: message.Message, work: _Work) -> ledger_pb2.Account:
        """Change an account in the transaction of the call's key."""

        async def effect(session: database.Session) -> ledger_pb2.Account:
            return ledger_messages.account(await work(session))

        return await idempotency.once(self._sessions, request, effect, ledger_pb2.Account)

    async def SetCurrencyLimits(
        self, request: accounts_pb2.SetCurrencyLimitsRequest, _context: _Context
    ) -> ledger_pb2.Limits:
        """Set a currency's limits."""
        new = messages.currency_limits_of(request.limits)

        async def effect(session: database.Session) -> ledger_pb2.Limits:
            await limits.set_(session, request.limits.currency, new, reason=request.reason)
            return request.limits

        return await idempotency.once(self._sessions, request, effect, ledger_pb2.Limits)

    async def ListCurrencyLimits(
        self, _request: accounts_pb2.ListCurrencyLimitsRequest, _context: _Context
    ) -> accounts_pb2.ListCurrencyLimitsResponse:
        """List the limits of currencies."""
        rows = await database.transaction(self._sessions, limits.list_)
        return accounts_pb2.ListCurrencyLimitsResponse(limits=map(messages.currency_limits, rows))

    async def ListAuditEntries(
        self, request: accounts_pb2.ListAuditEntriesRequest, _context: _Context
    ) -> accounts_pb2.ListAuditEntriesResponse:
        """List audit entries."""
        filter_, before = messages.audit_filter(request), messages.audit_position(self._pager.open(request))
        limit = pages.size(request)
        rows = await database.transaction(
            self._sessions, lambda session: audit.list_(session, filter_, before=before, limit=limit + 1)
        )
        page = rows[:limit]
        return accounts_pb2.ListAuditEntriesResponse(
            entries=map(messages.audit_entry, page),
            next_page_token=self._pager.seal(request, [str(page[-1].id)]) if len(rows) > limit else "",
        )
