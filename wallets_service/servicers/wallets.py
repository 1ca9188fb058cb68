"""The RPCs of wallets."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from kobklein import calls, database, errors, idempotency, pages
from kobklein.wallets.v1 import wallets_pb2, wallets_pb2_grpc
from wallets_service import transactions, wallets, watches
from wallets_service.messages import common
from wallets_service.messages import wallets as messages
from wallets_service.servicers import rights

_Context = grpc.aio.ServicerContext[Any, Any]


class WalletsServicer(wallets_pb2_grpc.WalletsServiceServicer):
    """Shows users their wallets and what moved in them."""

    def __init__(
        self, sessions: database.Sessions, pager: pages.Pager, watches_: watches.Watches, *, currencies: Sequence[str]
    ) -> None:
        """Open wallets in these currencies."""
        self._sessions = sessions
        self._pager = pager
        self._watches = watches_
        self._currencies = currencies

    async def CreateWallet(self, request: wallets_pb2.CreateWalletRequest, _context: _Context) -> wallets_pb2.Wallet:
        """Create a wallet."""
        user_id = request.user_id or calls.current().subject

        async def effect(session: database.Session) -> wallets_pb2.Wallet:
            errors.CurrencyNotOffered.check("currency", request.currency, self._currencies)
            return messages.wallet(await wallets.create(session, user_id=user_id, currency=request.currency))

        return await idempotency.once(self._sessions, request, effect, wallets_pb2.Wallet)

    async def ListCurrencies(
        self, _request: wallets_pb2.ListCurrenciesRequest, _context: _Context
    ) -> wallets_pb2.ListCurrenciesResponse:
        """List the currencies that are offered."""
        return messages.currencies(self._currencies)

    async def ListWallets(
        self, request: wallets_pb2.ListWalletsRequest, _context: _Context
    ) -> wallets_pb2.ListWalletsResponse:
        """List wallets."""
        filter_ = wallets.Filter(
            user_id=request.user_id or None,
            currency=request.currency or None,
            status=common.status_name(request.status),
            min_balance=request.min_balance if request.HasField("min_balance") else None,
            max_balance=request.max_balance if request.HasField("max_balance") else None,
        )
        return await self._page(request, filter_)

    async def ListUserWallets(
        self, request: wallets_pb2.ListUserWalletsRequest, _context: _Context
    ) -> wallets_pb2.ListWalletsResponse:
        """List a user's wallets."""
        return await self._page(request, wallets.Filter(user_id=request.user_id))

    async def _page(
        self,
        request: wallets_pb2.ListWalletsRequest | wallets_pb2.ListUserWalletsRequest,
        filter_: wallets.Filter,
    ) -> wallets_pb2.ListWalletsResponse:
        position = self._pager.open(request)
        after = uuid.UUID(position[0]) if position else None
        limit = pages.size(request)
        rows = await database.transaction(
            self._sessions, lambda session: wallets.list_(session, filter_, after=after, limit=limit + 1)
        )
        page = rows[:limit]
        return wallets_pb2.ListWalletsResponse(
            wallets=map(messages.wallet, page),
            next_page_token=self._pager.seal(request, [str(page[-1].id)]) if len(rows) > limit else "",
        )

    async def GetWallet(self, request: wallets_pb2.GetWalletRequest, _context: _Context) -> wallets_pb2.Wallet:
        """Get a wallet."""
        owner = calls.current().owner
        row = await database.transaction(
            self._sessions, lambda session: wallets.get(session, uuid.UUID(request.id), owner=owner)
        )
        return messages.wallet(row)

    async def ListWalletTransactions(
        self, request: wallets_pb2.ListWalletTransactionsRequest, _context: _Context
    ) -> wallets_pb2.ListWalletTransactionsResponse:
        """List a wallet's transactions."""
        owner, wallets_only = calls.current().owner, rights.wallets_only()
        position = self._pager.open(request)
        before = int(position[0]) if position else None
        page, next_ = await database.transaction(
            self._sessions,
            lambda session: transactions.list_(
                session,
                uuid.UUID(request.id),
                messages.transaction_filter(request),
                owner=owner,
                wallets_only=wallets_only,
                before=before,
                limit=pages.size(request),
            ),
        )
        return wallets_pb2.ListWalletTransactionsResponse(
            transactions=map(messages.transaction, page),
            next_page_token=self._pager.seal(request, [next_]) if next_ is not None else "",
        )

    async def GetTransaction(
        self, request: wallets_pb2.GetTransactionRequest, _context: _Context
    ) -> wallets_pb2.Transaction:
        """Get a transaction."""
        owner = calls.current().owner
        seen = await database.transaction(
            self._sessions, lambda session: transactions.get(session, uuid.UUID(request.id), owner=owner)
        )
        return messages.transaction(seen)

    async def WatchWalletTransactions(
        self, request: wallets_pb2.WatchWalletTransactionsRequest, _context: _Context
    ) -> AsyncIterator[wallets_pb2.TransactionEvent]:
        """Watch a wallet's transactions. A watch that lasts too long just ends."""
        owner, wallet_id = calls.current().owner, uuid.UUID(request.id)
        await database.transaction(self._sessions, lambda session: wallets.get(session, wallet_id, owner=owner))
        topic = watches.transactions(wallet_id)
        start = await self._watches.start(topic, request.cursor, only_new=request.only_new)
        events = self._watches.events(topic, start)
        async with contextlib.aclosing(events):
            async for cursor, seen in events:
                transaction = messages.transaction(seen) if seen else None
                yield wallets_pb2.TransactionEvent(cursor=cursor, transaction=transaction)
