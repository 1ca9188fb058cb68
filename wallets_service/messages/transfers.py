"""The messages of transfers between users, of fees, and of reversals."""

import uuid

from kobklein import calls, errors
from kobklein.wallets.v1 import transfers_pb2
from wallets_service import fees, models, reversals, transfers, wallets
from wallets_service.ledger import free_data
from wallets_service.messages import common


def order(request: transfers_pb2.CreateTransferRequest, *, user_id: str) -> transfers.Order:
    """Return the transfer that a request asks for."""
    return transfers.Order(
        user_id=user_id,
        to_user_id=request.to_user_id,
        amount=request.amount,
        currency=request.currency,
        reference=request.reference,
        description=request.description,
        metadata=free_data.of_message(request.metadata),
        to_new_user=request.to_new_user,
    )


def user_transfer(made: transfers.Made, call: calls.Call) -> transfers_pb2.UserTransfer:
    """Return a transfer as its caller may see it: each side its own balance, staff both, and the payee no fee."""
    posting, transfer = made.posting, made.posting.transfer
    payer, payee = wallets.user_id(transfer.debit_account) or "", wallets.user_id(transfer.credit_account) or ""
    message = transfers_pb2.UserTransfer(
        id=transfer.id,
        user_id=payer,
        to_user_id=payee,
        amount=transfer.amount,
        currency=transfer.currency,
        reversed_amount=made.reversed_amount,
        reference=transfer.reference,
        description=transfer.description,
        metadata=common.struct(dict(transfer.metadata)),
        created_time=common.optional_timestamp(posting.created_time),
        dry_run=posting.created_time is None,
        payee_is_new=made.payee_is_new if posting.created_time is None else None,
    )
    if call.unrestricted or call.subject == payer:
        message.fee_amount = made.fee.transfer.amount if made.fee else 0
    payer_balance_after = (made.fee or posting).debit_balance_after
    if call.subject == payer:
        message.balance_after = payer_balance_after
    elif call.subject == payee:
        message.balance_after = posting.credit_balance_after
    elif call.unrestricted:
        message.debit_balance_after, message.credit_balance_after = payer_balance_after, posting.credit_balance_after
    return message


def reversal_order(request: transfers_pb2.ReverseTransactionRequest) -> reversals.Order:
    """Return the reversal that a request asks for."""
    return reversals.Order(
        original_id=uuid.UUID(request.id),
        amount=request.amount if request.HasField("amount") else None,
        currency=request.currency,
        reason=request.reason,
    )


def terms(fee: transfers_pb2.Fee) -> fees.Terms:
    """Return what a fee to be set says; raises InvalidArgument for what no field's own rules can tell."""
    cap_amount = fee.cap_amount if fee.HasField("cap_amount") else None
    if cap_amount is not None and cap_amount < fee.floor_amount:
        raise errors.InvalidArgument.of("fee.cap_amount", "is less than floor_amount")
    return fees.Terms(
        fixed_amount=fee.fixed_amount,
        parts_per_million=fee.parts_per_million,
        floor_amount=fee.floor_amount,
        cap_amount=cap_amount,
    )


def fee(row: models.Fee) -> transfers_pb2.Fee:
    """Return a fee."""
    return transfers_pb2.Fee(
        currency=row.currency,
        type=common.TYPES[row.type],
        fixed_amount=row.fixed_amount,
        parts_per_million=row.parts_per_million,
        floor_amount=row.floor_amount,
        cap_amount=row.cap_amount,
        updated_time=common.timestamp(row.updated_time),
    )
