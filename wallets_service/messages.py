"""The contract's messages from and to the values of this service."""

import datetime
import functools
import uuid
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf import json_format, struct_pb2, timestamp_pb2

from kobklein import errors as kobklein_errors
from kobklein.wallets.v1 import ledger_pb2, wallets_pb2
from wallets_service import decisions, entries, errors, models, transactions, verification

_TYPE_PREFIX: Final = "TRANSFER_TYPE_"
_STATUS_PREFIX: Final = "ACCOUNT_STATUS_"
_TYPE_NAMES: Final = {
    number: name.removeprefix(_TYPE_PREFIX) for name, number in ledger_pb2.TransferType.items() if number
}
_TYPES: Final = {name: number for number, name in _TYPE_NAMES.items()}
_INT64_MAX: Final = 2**63 - 1


def status_name(number: "ledger_pb2.AccountStatus.ValueType") -> str | None:
    """Return a status as the tables name it; None when it is unspecified."""
    return ledger_pb2.AccountStatus.Name(number).removeprefix(_STATUS_PREFIX) if number else None


def transaction_filter(request: wallets_pb2.ListWalletTransactionsRequest) -> transactions.Filter:
    """Return which transactions a request asks for; the unspecified type is no condition."""
    return transactions.Filter(
        types=[_TYPE_NAMES[number] for number in request.type if number],
        created_from=_time(request.created_from, "created_from") if request.HasField("created_from") else None,
        created_before=_time(request.created_before, "created_before") if request.HasField("created_before") else None,
        payment_id=uuid.UUID(request.payment_id) if request.payment_id else None,
    )


def _time(message: timestamp_pb2.Timestamp, field: str) -> datetime.datetime:
    try:
        return message.ToDatetime(tzinfo=datetime.UTC)
    except (ValueError, OverflowError) as error:
        raise kobklein_errors.InvalidArgument.of(field, "is out of range") from error


def transfers_of(sent: Sequence[ledger_pb2.Transfer]) -> list[entries.Transfer]:
    """Return the transfers that a request asks for; raises InvalidArgument for what no field's own rules can tell."""
    if sent and sent[-1].linked:
        raise kobklein_errors.InvalidArgument.of(f"transfers[{len(sent) - 1}].linked", "the last one has no next one")
    return [_transfer_of(transfer, index) for index, transfer in enumerate(sent)]


def _transfer_of(message: ledger_pb2.Transfer, index: int) -> entries.Transfer:
    plain = entries.Transfer(
        message.id,
        message.debit_account,
        message.credit_account,
        message.amount,
        message.currency,
        _TYPE_NAMES[message.type],
        message.payment_id or None,
        message.reference,
        message.description,
        json_format.MessageToDict(message.metadata) if message.HasField("metadata") else {},
        message.hold_id or None,
        message.reverses_id or None,
        _time(message.effective_time, f"transfers[{index}].effective_time")
        if message.HasField("effective_time")
        else None,
        message.linked,
        message.releases_hold,
    )
    if plain.releases_hold and plain.hold_id is None:
        raise kobklein_errors.InvalidArgument.of(f"transfers[{index}].hold_id", "is required with releases_hold")
    return plain


def result(sent: ledger_pb2.Transfer, outcome: decisions.Outcome) -> ledger_pb2.TransferResult:
    """Return what became of the transfer that was sent; what is posted under its id has the same content."""
    if isinstance(outcome, errors.Refusal):
        return ledger_pb2.TransferResult(error=_refusal(outcome))
    assert isinstance(outcome, entries.Posting)  # noqa: S101  # what becomes of a transfer that is not refused
    posted = ledger_pb2.TransferResult(transfer=sent)
    posted.transfer.debit_balance_after = outcome.debit_balance_after
    posted.transfer.credit_balance_after = outcome.credit_balance_after
    posted.transfer.created_time.CopyFrom(_timestamp(outcome.created_time))
    if outcome.group_id is not None:
        posted.transfer.group_id = outcome.group_id
    return posted


def _refusal(refusal: errors.Refusal) -> ledger_pb2.TransferError:
    error = ledger_pb2.TransferError(reason=refusal.reason, message=str(refusal))
    if isinstance(refusal, errors.InsufficientFunds):
        error.currency = refusal.currency
        error.available_amount = refusal.available_amount
        error.held_amount = refusal.held_amount
        error.needed_amount = refusal.needed_amount
    return error


def account(row: models.Account) -> ledger_pb2.Account:
    """Return an account."""
    return ledger_pb2.Account(
        id=str(row.id),
        address=row.address,
        currency=row.currency,
        balance=row.balance,
        held_amount=row.held,
        overdraft_limit=row.overdraft_limit,
        available_amount=row.available,
        status=ledger_pb2.AccountStatus.Value(_STATUS_PREFIX + row.status),
        version=row.version,
        created_time=_timestamp(row.created_time),
        updated_time=_timestamp(row.updated_time),
        metadata=_struct(row.metadata_),
        limits=_limits(row),
        etag=str(row.revision),
    )


def _limits(row: models.Account) -> ledger_pb2.Limits | None:
    if row.transfer_limit is None and row.day_limit is None and row.month_limit is None:
        return None
    return ledger_pb2.Limits(
        currency=row.currency,
        transfer_amount=row.transfer_limit,
        day_amount=row.day_limit,
        month_amount=row.month_limit,
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
        status=ledger_pb2.AccountStatus.Value(_STATUS_PREFIX + row.status),
        created_time=_timestamp(row.created_time),
        updated_time=_timestamp(row.updated_time),
    )


def transaction(seen: models.Transaction) -> wallets_pb2.Transaction:
    """Return a transaction."""
    return wallets_pb2.Transaction(
        id=str(seen.id),
        wallet_id=str(seen.wallet_id),
        type=_TYPES[seen.type],
        direction=wallets_pb2.Direction.Value(f"DIRECTION_{seen.direction}"),
        amount=seen.amount,
        currency=seen.currency,
        balance_after=seen.balance_after,
        counterparty=seen.counterparty,
        payment_id=str(seen.payment_id or ""),
        reference=seen.reference,
        description=seen.description,
        metadata=_struct(seen.metadata),
        created_time=_timestamp(seen.created_time),
        effective_time=_timestamp(seen.effective_time),
        hold_id=str(seen.hold_id or ""),
        reverses_id=str(seen.reverses_id or ""),
        group_id=str(seen.group_id or ""),
    )


def report(found: verification.Report) -> ledger_pb2.LedgerReport:
    """Return what a verification found."""
    return ledger_pb2.LedgerReport(
        balanced=not found.breaks,
        account_count=found.account_count,
        transfer_count=found.transfer_count,
        totals=[
            ledger_pb2.CurrencyTotal(
                currency=total.currency, balance=_int64(total.balance), user_balance=_int64(total.user_balance)
            )
            for total in found.totals
        ],
        breaks=map(_break, found.breaks),
        verified_time=_timestamp(found.verified_time),
    )


def _break(found: verification.Break) -> ledger_pb2.LedgerBreak:
    return ledger_pb2.LedgerBreak(
        check=found.check,
        address=found.address or "",
        currency=found.currency,
        transfer_id=str(found.transfer_id or ""),
        expected_amount=_int64(found.expected_amount),
        actual_amount=_int64(found.actual_amount),
    )


def _struct(data: dict[str, Any]) -> struct_pb2.Struct | None:
    """Return free data; None when there is none."""
    if not data:
        return None
    struct = struct_pb2.Struct()
    struct.update(data)
    return struct


def _int64(amount: int) -> int:
    """Return the nearest amount that a message can carry: a tampered ledger may add up to more."""
    return max(-_INT64_MAX - 1, min(amount, _INT64_MAX))


@functools.lru_cache(maxsize=256)  # All transfers of a batch have the same time.
def _timestamp(time: datetime.datetime) -> timestamp_pb2.Timestamp:
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(time)
    return message
