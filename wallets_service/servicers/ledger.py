"""The ledger's RPCs."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from kobklein import database, pages
from kobklein.wallets.v1 import ledger_pb2, ledger_pb2_grpc
from wallets_service import accounts, models, transactions, watches
from wallets_service.ledger.group_commit import Ledger
from wallets_service.messages import common, proofs
from wallets_service.messages import ledger as messages
from wallets_service.proof import heads
from wallets_service.proof.reports import Reports

_Context = grpc.aio.ServicerContext[Any, Any]


class LedgerServicer(ledger_pb2_grpc.LedgerServiceServicer):
    """Moves money between accounts and proves that none was made or lost."""

    def __init__(
        self,
        ledger: Ledger,
        engine: sqlalchemy_asyncio.AsyncEngine,
        pager: pages.Pager,
        reports: Reports,
        watches_: watches.Watches,
    ) -> None:
        self._ledger = ledger
        self._reports = reports
        self._sessions = database.sessions(engine)
        self._pager = pager
        self._watches = watches_

    async def PostTransfers(
        self, request: ledger_pb2.PostTransfersRequest, _context: _Context
    ) -> ledger_pb2.PostTransfersResponse:
        """Post transfers."""
        transfers = messages.transfers_of(request.transfers)
        outcomes = await (self._ledger.preview(transfers) if request.dry_run else self._ledger.post(transfers))
        return messages.results(request.transfers, outcomes)

    async def GetLedgerTransfer(
        self, request: ledger_pb2.GetLedgerTransferRequest, _context: _Context
    ) -> ledger_pb2.Transfer:
        """Get any transfer."""
        id_ = uuid.UUID(request.id)
        return messages.transfer(
            await database.transaction(self._sessions, lambda session: transactions.get_transfer(session, id_))
        )

    async def CreateAccount(self, request: ledger_pb2.CreateAccountRequest, _context: _Context) -> ledger_pb2.Account:
        """Create an account."""
        limit = request.overdraft_limit if request.HasField("overdraft_limit") else None
        row = await database.transaction(
            self._sessions,
            lambda session: accounts.create(
                session, address=request.address, currency=request.currency, overdraft_limit=limit
            ),
        )
        return messages.account(row)

    async def GetAccount(self, request: ledger_pb2.GetAccountRequest, _context: _Context) -> ledger_pb2.Account:
        """Get an account."""
        messages.check_names_account(request)

        async def found(session: database.Session) -> models.Account:
            if request.id:
                return await accounts.get_by_id(session, uuid.UUID(request.id))
            return await accounts.get(session, address=request.address, currency=request.currency)

        return messages.account(await database.transaction(self._sessions, found))

    async def ListAccounts(
        self, request: ledger_pb2.ListAccountsRequest, _context: _Context
    ) -> ledger_pb2.ListAccountsResponse:
        """List accounts."""
        position = self._pager.open(request)
        after = (position[0], position[1]) if position else None
        filter_ = accounts.Filter(request.address_prefix, request.currency)
        limit = pages.size(request)
        rows = await database.transaction(
            self._sessions, lambda session: accounts.list_(session, filter_, after=after, limit=limit + 1)
        )
        page = rows[:limit]
        more = len(rows) > limit
        return ledger_pb2.ListAccountsResponse(
            accounts=map(messages.account, page),
            next_page_token=self._pager.seal(request, [page[-1].address, page[-1].currency]) if more else "",
        )

    async def VerifyLedger(self, request: ledger_pb2.VerifyLedgerRequest, context: _Context) -> ledger_pb2.LedgerReport:
        """Verify the ledger."""
        head = proofs.head_of(request.head, "head") if request.HasField("head") else None
        return proofs.report(await self._reports.verify(head, seconds=context.time_remaining()))

    async def GetTrialBalance(
        self, request: ledger_pb2.GetTrialBalanceRequest, context: _Context
    ) -> ledger_pb2.TrialBalance:
        """Get the trial balance."""
        found = await self._reports.trial_balance(
            at=common.given_time(request, "time"),
            basis=common.basis(request.basis),
            currency=request.currency,
            seconds=context.time_remaining(),
        )
        return proofs.trial_balance(found)

    async def GetLedgerHead(
        self, _request: ledger_pb2.GetLedgerHeadRequest, _context: _Context
    ) -> ledger_pb2.LedgerHead:
        """Get the ledger's head."""
        return proofs.head(await database.transaction(self._sessions, heads.get))

    async def WatchTransfers(
        self, request: ledger_pb2.WatchTransfersRequest, _context: _Context
    ) -> AsyncIterator[ledger_pb2.TransferEvent]:
        """Watch transfers. A watch that lasts too long just ends."""
        topic = watches.transfers(uuid.UUID(request.account_id) if request.account_id else None)
        start = await self._watches.start(topic, request.cursor, only_new=request.only_new)
        events = self._watches.events(topic, start)
        async with contextlib.aclosing(events):
            async for cursor, posting in events:
                yield ledger_pb2.TransferEvent(cursor=cursor, transfer=messages.transfer(posting) if posting else None)
