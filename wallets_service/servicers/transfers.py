"""The RPCs of transfers between users, of fees, and of reversals."""

import uuid
from collections.abc import Collection
from typing import Any

import grpc
from google.protobuf import empty_pb2

from kobklein import calls, database, idempotency
from kobklein.wallets.v1 import ledger_pb2, transfers_pb2, transfers_pb2_grpc
from wallets_service import fee_schedule, reversals, transfers
from wallets_service.ledger.group_commit import Ledger
from wallets_service.messages import common, ledger
from wallets_service.messages import transfers as messages

_Context = grpc.aio.ServicerContext[Any, Any]


class TransfersServicer(transfers_pb2_grpc.TransfersServiceServicer):
    """Moves money from user to user, charges for it, and takes it back."""

    def __init__(self, ledger: Ledger, sessions: database.Sessions, *, currencies: Collection[str]) -> None:
        """Make transfers in these currencies."""
        self._currencies = currencies
        self._ledger = ledger
        self._sessions = sessions

    async def CreateTransfer(
        self, request: transfers_pb2.CreateTransferRequest, _context: _Context
    ) -> transfers_pb2.UserTransfer:
        """Create a transfer."""
        call = calls.current()
        made = await transfers.create(
            self._ledger,
            self._sessions,
            messages.order(request, user_id=request.user_id or call.subject),
            id_=idempotency.id_of_call(),
            currencies=self._currencies,
            dry_run=request.dry_run,
        )
        return messages.user_transfer(made, call)

    async def GetTransfer(
        self, request: transfers_pb2.GetTransferRequest, _context: _Context
    ) -> transfers_pb2.UserTransfer:
        """Get a transfer."""
        call = calls.current()
        return messages.user_transfer(
            await transfers.get(self._sessions, uuid.UUID(request.id), owner=call.owner), call
        )

    async def ReverseTransaction(
        self, request: transfers_pb2.ReverseTransactionRequest, _context: _Context
    ) -> ledger_pb2.Transfer:
        """Reverse a transaction."""
        posting = await reversals.reverse(
            self._ledger,
            self._sessions,
            messages.reversal_order(request),
            id_=idempotency.id_of_call(),
            dry_run=request.dry_run,
        )
        return ledger.transfer(posting)

    async def SetFee(self, request: transfers_pb2.SetFeeRequest, _context: _Context) -> transfers_pb2.Fee:
        """Set a fee."""
        terms = messages.terms(request.fee)

        async def effect(session: database.Session) -> transfers_pb2.Fee:
            return messages.fee(
                await fee_schedule.set_(
                    session,
                    currency=request.fee.currency,
                    type_=common.TYPE_NAMES[request.fee.type],
                    terms=terms,
                    reason=request.reason,
                )
            )

        return await idempotency.once(self._sessions, request, effect, transfers_pb2.Fee)

    async def DeleteFee(self, request: transfers_pb2.DeleteFeeRequest, _context: _Context) -> empty_pb2.Empty:
        """Delete a fee."""

        async def effect(session: database.Session) -> empty_pb2.Empty:
            await fee_schedule.delete(
                session,
                currency=request.currency,
                type_=common.TYPE_NAMES[request.type],
                reason=request.reason,
            )
            return empty_pb2.Empty()

        return await idempotency.once(self._sessions, request, effect, empty_pb2.Empty)

    async def ListFees(
        self, _request: transfers_pb2.ListFeesRequest, _context: _Context
    ) -> transfers_pb2.ListFeesResponse:
        """List fees."""
        rows = await database.transaction(self._sessions, fee_schedule.list_)
        return transfers_pb2.ListFeesResponse(fees=map(messages.fee, rows))
