"""Transfers between users, fees and reversals, as tests ask for them."""

import asyncio
import uuid
from collections.abc import Iterable
from typing import Any, Final

import grpc

from kobklein import errors
from kobklein.wallets.v1 import ledger_pb2, transfers_pb2, wallets_pb2
from tests import wallets

TRANSFER: Final = ledger_pb2.TRANSFER_TYPE_TRANSFER
ADMIN: Final = wallets.metadata("root", "admin")
FINANCE: Final = wallets.metadata("fin", "finance")


def user(name: str, key: str = "") -> tuple[tuple[str, str], ...]:
    """Return the metadata of a user's call."""
    return wallets.metadata(name, "user", key=key)


async def send(
    client: wallets.Client,
    payer: str,
    payee: str,
    amount: int,
    *,
    key: str = "",
    caller: tuple[tuple[str, str], ...] | None = None,
    **fields: Any,
) -> transfers_pb2.UserTransfer:
    """Transfer money in HTG, as its payer, to a new user or another, with a new key unless one is given."""
    request = transfers_pb2.CreateTransferRequest(
        **{"to_user_id": payee, "amount": amount, "to_new_user": True, **fields}
    )
    made: transfers_pb2.UserTransfer = await client.transfers.CreateTransfer(
        request, metadata=caller or user(payer, key or str(uuid.uuid4()))
    )
    return made


async def get(client: wallets.Client, id_: str, *, caller: tuple[tuple[str, str], ...]) -> transfers_pb2.UserTransfer:
    """Return a transfer."""
    request = transfers_pb2.GetTransferRequest(id=id_)
    found: transfers_pb2.UserTransfer = await client.transfers.GetTransfer(request, metadata=caller)
    return found


async def set_fee(client: wallets.Client, *, reason: str = "by the book", **terms: Any) -> transfers_pb2.Fee:
    """Set what a transfer costs in HTG."""
    fee = transfers_pb2.Fee(**{"currency": "HTG", "type": TRANSFER, **terms})
    request = transfers_pb2.SetFeeRequest(fee=fee, reason=reason)
    found: transfers_pb2.Fee = await client.transfers.SetFee(request, metadata=ADMIN)
    return found


async def delete_fee(client: wallets.Client, *, reason: str = "by the book", type_: Any = TRANSFER) -> None:
    """Let a transfer cost nothing in HTG."""
    request = transfers_pb2.DeleteFeeRequest(currency="HTG", type=type_, reason=reason)
    await client.transfers.DeleteFee(request, metadata=ADMIN)


async def reverse(
    client: wallets.Client, id_: str, amount: int | None = None, *, key: str = "", **fields: Any
) -> ledger_pb2.Transfer:
    """Take a transaction back, with a new key unless one is given."""
    request = transfers_pb2.ReverseTransactionRequest(
        **{"id": id_, "amount": amount, "currency": "HTG" if amount else "", "reason": "a mistake", **fields}
    )
    made: ledger_pb2.Transfer = await client.transfers.ReverseTransaction(
        request, metadata=wallets.metadata("fin", "finance", key=key or str(uuid.uuid4()))
    )
    return made


async def replayed(call: grpc.aio.UnaryUnaryCall[Any, Any]) -> tuple[Any, bool]:
    """Return an answer, and whether it was marked as that of an earlier call."""
    answer = await call
    return answer, ("idempotency-replayed", "true") in tuple(await call.trailing_metadata() or ())


async def outcomes(calls: Iterable[Any]) -> tuple[list[Any], list[str]]:
    """Return the answers to concurrent calls, and the reasons why the others are refused."""
    answers, reasons = [], []
    for each in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(each, grpc.aio.AioRpcError):
            reasons.append(errors.from_rpc_error(each).reason)
        elif isinstance(each, BaseException):
            raise each
        else:
            answers.append(each)
    return answers, reasons


async def statement(client: wallets.Client, name: str) -> list[wallets_pb2.Transaction]:
    """Return a user's transactions in HTG, newest first."""
    listed = await client.wallets.ListUserWallets(wallets_pb2.ListUserWalletsRequest(user_id=name), metadata=user(name))
    (wallet_id,) = [wallet.id for wallet in listed.wallets if wallet.currency == "HTG"]
    request = wallets_pb2.ListWalletTransactionsRequest(id=wallet_id)
    page = await client.wallets.ListWalletTransactions(request, metadata=user(name))
    return list(page.transactions)
