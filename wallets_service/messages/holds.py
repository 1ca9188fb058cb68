"""The messages of holds."""

import datetime
import uuid
from typing import Any, Final

from kobklein import calls, errors
from kobklein.wallets.v1 import holds_pb2, ledger_pb2
from wallets_service import holds, wallets
from wallets_service.ledger import entries, free_data
from wallets_service.messages import common
from wallets_service.repository import holds as repository

_STATUS_PREFIX: Final = "HOLD_STATUS_"


def check_sides(request: holds_pb2.CreateHoldRequest) -> None:
    """Raise InvalidArgument unless a request names who pays and who receives once each."""
    violations = [
        *_unless_one(request, "user_id", "debit_account"),
        *_unless_one(request, "to_user_id", "credit_account"),
    ]
    if violations:
        raise errors.InvalidArgument(*violations)


def new_hold(request: holds_pb2.CreateHoldRequest, *, id_: uuid.UUID, default_seconds: int) -> entries.NewHold:
    """Return the hold that a request asks for, whose sides are checked."""
    credit_account = request.credit_account or wallets.address(request.to_user_id)
    seconds = request.expires_after_seconds if request.HasField("expires_after_seconds") else default_seconds
    return entries.NewHold(
        id=str(id_),
        debit_account=request.debit_account or wallets.address(request.user_id),
        credit_account=credit_account,
        amount=request.amount,
        currency=request.currency,
        type=common.TYPE_NAMES[request.type or ledger_pb2.TRANSFER_TYPE_TRANSFER],
        lifetime=datetime.timedelta(seconds=seconds),
        payment_id=request.payment_id or None,
        reference=request.reference,
        description=request.description,
        metadata=free_data.of_message(request.metadata),
        payee_may_be_new=request.to_new_user or wallets.user_id(credit_account) is None,
    )


def _unless_one(request: holds_pb2.CreateHoldRequest, user: str, account: str) -> list[errors.Violation]:
    """Return what is wrong unless exactly one of two fields is given."""
    given = [name for name in (user, account) if getattr(request, name)]
    if not given:
        return [errors.Violation(user, f"is required, or {account} instead")]
    return [errors.Violation(account, f"cannot stand beside {user}")] if len(given) > 1 else []


def content(request: holds_pb2.CreateHoldRequest) -> holds_pb2.CreateHoldRequest:
    """Return what a key stands for: the hold, and not whether its payee may be new, so that either call may repeat."""
    asked = holds_pb2.CreateHoldRequest()
    asked.CopyFrom(request)
    asked.ClearField("to_new_user")
    return asked


def reserved(request: holds_pb2.CreateHoldRequest) -> list[str]:
    """Return the fields of a request, as given, that only admins and services may set."""
    given = [name for name in ("debit_account", "credit_account", "payment_id") if getattr(request, name)]
    own_types = (ledger_pb2.TRANSFER_TYPE_UNSPECIFIED, ledger_pb2.TRANSFER_TYPE_TRANSFER)
    return given if request.type in own_types else [*given, "type"]


def check_currency(request: holds_pb2.PostHoldRequest, of: entries.Hold) -> None:
    """Raise InvalidArgument for an amount in another currency than the hold's."""
    if request.currency not in ("", of.made.currency):
        raise errors.InvalidArgument.of("currency", f"is not {of.made.currency}, the currency of the hold")


def part(request: holds_pb2.PostHoldRequest, *, transfer_id: uuid.UUID) -> holds.Part:
    """Return how much of a hold a request takes."""
    return holds.Part(
        transfer_id=str(transfer_id),
        amount=request.amount if request.HasField("amount") else None,
        release_rest=request.release_rest,
    )


def filter_(request: holds_pb2.ListHoldsRequest) -> holds.Filter:
    """Return which holds a request asks for."""
    status = holds_pb2.HoldStatus.Name(request.status).removeprefix(_STATUS_PREFIX) if request.status else None
    return holds.Filter(
        user_id=request.user_id or None, currency=request.currency, status=status, reference=request.reference
    )


def position_of(held: repository.Held) -> list[Any]:
    """Return where a page that ends with this hold ends."""
    return [held.hold.created_time.isoformat(), held.hold.made.id]


def position(sealed: list[Any] | None) -> tuple[datetime.datetime, uuid.UUID] | None:
    """Return where a page goes on."""
    return (datetime.datetime.fromisoformat(sealed[0]), uuid.UUID(sealed[1])) if sealed else None


def hold(held: repository.Held, call: calls.Call) -> holds_pb2.Hold:
    """Return a hold as its caller may see it: the payee no fee."""
    found, made = held.hold, held.hold.made
    message = holds_pb2.Hold(
        id=made.id,
        debit_account=made.debit_account,
        credit_account=made.credit_account,
        amount=made.amount,
        posted_amount=found.posted_amount,
        remaining_amount=found.remaining_amount,
        currency=made.currency,
        status=holds_pb2.HoldStatus.Value(_STATUS_PREFIX + found.status),
        type=common.TYPES[made.type],
        expires_time=common.timestamp(found.expires_time),
        payment_id=made.payment_id or "",
        reference=made.reference,
        description=made.description,
        metadata=common.struct(dict(made.metadata)),
        created_time=common.timestamp(found.created_time),
        updated_time=common.timestamp(found.updated_time),
        fee_of=made.fee_of or "",
    )
    if held.part is not None:
        message.transfer_id = held.part.transfer.id
        if wallets.address(call.subject) == made.credit_account:
            message.balance_after = held.part.credit_balance_after
        elif call.unrestricted:
            message.debit_balance_after = (held.fee or held.part).debit_balance_after
            message.credit_balance_after = held.part.credit_balance_after
    if made.fee_amount and (call.unrestricted or wallets.address(call.subject) == made.debit_account):
        message.fee_amount, message.posted_fee_amount = made.fee_amount, held.posted_fee_amount
    return message
