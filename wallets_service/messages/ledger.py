"""The messages of the ledger."""

from collections.abc import Iterable, Sequence

from kobklein import errors as kobklein_errors
from kobklein.wallets.v1 import ledger_pb2
from wallets_service import errors, models
from wallets_service.ledger import entries, free_data
from wallets_service.ledger.book import Outcome
from wallets_service.messages import common


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
        common.TYPE_NAMES[message.type],
        message.payment_id or None,
        message.reference,
        message.description,
        free_data.of_message(message.metadata) if message.HasField("metadata") else {},
        message.hold_id or None,
        message.reverses_id or None,
        common.recorded_time(message.effective_time, f"transfers[{index}].effective_time")
        if message.HasField("effective_time")
        else None,
        message.linked,
        message.releases_hold,
    )
    if plain.releases_hold and plain.hold_id is None:
        raise kobklein_errors.InvalidArgument.of(f"transfers[{index}].hold_id", "is required with releases_hold")
    if plain.type == entries.CONVERSION:
        raise kobklein_errors.InvalidArgument.of(f"transfers[{index}].type", "is only for what a quote has promised")
    return plain


def results(sent: Iterable[ledger_pb2.Transfer], outcomes: Iterable[Outcome]) -> ledger_pb2.PostTransfersResponse:
    """Return what became of the transfers that were sent; what is posted under an id has the content that was sent."""
    response = ledger_pb2.PostTransfersResponse()
    for asked, outcome in zip(sent, outcomes, strict=True):
        result = response.results.add()  # Made where it stays: a thousand of them would cost as much to copy.
        if isinstance(outcome, errors.Refusal):
            result.error.CopyFrom(_refusal(outcome))
        else:
            assert isinstance(outcome, entries.Posting)  # noqa: S101  # what becomes of a transfer otherwise
            _post(result.transfer, asked, outcome)
    return response


def _post(shown: ledger_pb2.Transfer, asked: ledger_pb2.Transfer, posting: entries.Posting) -> None:
    shown.CopyFrom(asked)
    shown.ClearField("linked")  # How it was asked for is not recorded, so no later answer could say it again.
    shown.ClearField("releases_hold")
    shown.debit_balance_after = posting.debit_balance_after
    shown.credit_balance_after = posting.credit_balance_after
    if posting.created_time is not None:
        shown.created_time.CopyFrom(common.timestamp(posting.created_time))
    if posting.group_id is not None:
        shown.group_id = posting.group_id


def transfer(posting: entries.Posting) -> ledger_pb2.Transfer:
    """Return a transfer as it is recorded."""
    made = posting.transfer
    return ledger_pb2.Transfer(
        id=made.id,
        debit_account=made.debit_account,
        credit_account=made.credit_account,
        amount=made.amount,
        currency=made.currency,
        type=common.TYPES[made.type],
        payment_id=made.payment_id or "",
        reference=made.reference,
        description=made.description,
        metadata=common.struct(dict(made.metadata)),
        debit_balance_after=posting.debit_balance_after,
        credit_balance_after=posting.credit_balance_after,
        created_time=common.optional_timestamp(posting.created_time),
        hold_id=made.hold_id or "",
        reverses_id=made.reverses_id or "",
        effective_time=common.optional_timestamp(made.effective_time),
        group_id=posting.group_id or "",
    )


def _refusal(refusal: errors.Refusal) -> ledger_pb2.TransferError:
    error = ledger_pb2.TransferError(reason=refusal.reason, message=str(refusal), metadata=refusal.metadata)
    if isinstance(refusal, errors.InsufficientFunds):
        error.currency = refusal.currency
        error.available_amount = refusal.available_amount
        error.held_amount = refusal.held_amount
        error.needed_amount = refusal.needed_amount
    return error


def check_names_account(request: ledger_pb2.GetAccountRequest) -> None:
    """Raise InvalidArgument unless a request names an account either by its id or by its address and currency."""
    missing = ("address", "currency") if not request.id else ()
    violations = [
        *(
            kobklein_errors.Violation(name, "is required without an id")
            for name in missing
            if not getattr(request, name)
        ),
        *(
            kobklein_errors.Violation(name, "cannot stand beside an id")
            for name in ("address", "currency")
            if request.id and getattr(request, name)
        ),
    ]
    if violations:
        raise kobklein_errors.InvalidArgument(*violations)


def account(row: models.Account) -> ledger_pb2.Account:
    """Return an account."""
    return ledger_pb2.Account(
        id=str(row.id),
        address=row.address,
        currency=row.currency,
        balance=row.balance,
        held_amount=row.held,
        overdraft_limit=row.overdraft_limit,
        # Where balance and overdraft together are more than that, no transfer could move the difference.
        available_amount=None if row.available is None else common.nearest_int64(row.available),
        status=common.status(row.status),
        version=row.version,
        created_time=common.timestamp(row.created_time),
        updated_time=common.timestamp(row.updated_time),
        metadata=common.struct(row.metadata_),
        limits=_limits(row),
        etag=str(row.revision),
        unlimited_overdraft=row.overdraft_limit is None,
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
