"""The messages of wallets."""

import uuid
from collections.abc import Iterable

from kobklein import money
from kobklein.wallets.v1 import wallets_pb2
from wallets_service import models, transactions
from wallets_service.messages import common


def transaction_filter(request: wallets_pb2.ListWalletTransactionsRequest) -> transactions.Filter:
    """Return which transactions a request asks for; the unspecified type is no condition."""
    return transactions.Filter(
        types=[common.TYPE_NAMES[number] for number in request.type if number],
        created_from=common.boundary(request, "created_from"),
        created_before=common.boundary(request, "created_before"),
        payment_id=uuid.UUID(request.payment_id) if request.payment_id else None,
        reference=request.reference,
        counterparty=request.counterparty,
        metadata=dict(request.metadata),
        effective_from=common.boundary(request, "effective_from"),
        effective_before=common.boundary(request, "effective_before"),
    )


def currencies(codes: Iterable[str]) -> wallets_pb2.ListCurrenciesResponse:
    """Return the message about currencies."""
    return wallets_pb2.ListCurrenciesResponse(
        currencies=[wallets_pb2.Currency(code=code, decimals=money.exponent(code)) for code in codes]
    )


def wallet(row: models.Account) -> wallets_pb2.Wallet:
    """Return an account as its user sees it."""
    return wallets_pb2.Wallet(
        id=str(row.id),
        user_id=row.user_id or "",
        currency=row.currency,
        balance=row.balance,
        held_amount=row.held,
        available_amount=row.balance - row.held if row.available is None else row.available,
        status=common.status(row.status),
        created_time=common.timestamp(row.created_time),
        updated_time=common.timestamp(row.updated_time),
    )


def transaction(seen: models.Transaction) -> wallets_pb2.Transaction:
    """Return a transaction."""
    return wallets_pb2.Transaction(
        id=str(seen.id),
        wallet_id=str(seen.wallet_id),
        type=common.TYPES[seen.type],
        direction=wallets_pb2.Direction.Value(f"DIRECTION_{seen.direction}"),
        amount=seen.amount,
        currency=seen.currency,
        balance_after=seen.balance_after,
        counterparty=seen.counterparty,
        payment_id=str(seen.payment_id or ""),
        reference=seen.reference,
        description=seen.description,
        metadata=common.struct(seen.metadata),
        created_time=common.timestamp(seen.created_time),
        effective_time=common.timestamp(seen.effective_time),
        hold_id=str(seen.hold_id or ""),
        reverses_id=str(seen.reverses_id or ""),
        group_id=str(seen.group_id or ""),
    )
