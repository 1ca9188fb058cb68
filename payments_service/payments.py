"""Payments as records: made, read, changed and deleted. Moving their money is `charges`."""

import base64
import dataclasses
import secrets
import uuid
from typing import Any

import sqlalchemy as sa
from google.protobuf import struct_pb2

from kobklein import calls, database, ids
from kobklein import errors as common_errors
from payments_service import errors, repository, states
from payments_service.models import Payment
from payments_service.repository import CALL, TIMER, Mark
from payments_service.states import Method, Status

_REFERENCE_BYTES = 10


@dataclasses.dataclass(frozen=True, slots=True)
class NewPayment:
    """What a caller says of a payment to make."""

    user_id: str
    amount: int
    currency: str
    method: Method
    description: str
    reference: str
    """Made here when empty."""
    metadata: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What to change in a payment; None leaves a field alone."""

    description: str | None = None
    metadata: dict[str, Any] | None = None
    status: Status | None = None
    etag: str = ""
    """The version that the caller has seen; empty for whichever it is."""

    def values(self, payment: Payment) -> dict[str, Any]:
        """Return the new values of the fields that belong to the owner, where they differ from the payment's."""
        values: dict[str, Any] = {}
        if self.description not in (None, payment.description):
            values["description"] = self.description
        if self.metadata is not None and _struct(self.metadata) != _struct(payment.metadata):
            values["metadata"] = self.metadata
        return values

    def moves(self, payment: Payment, *, owner: str | None) -> bool:
        """Whether it changes the status; raises PermissionDenied if an owner asks for that."""
        moves = self.status not in (None, payment.status)
        if moves and owner is not None:
            raise calls.current().denial("changing status")
        return moves


def _struct(data: dict[str, Any]) -> struct_pb2.Struct:
    """Return free data as it is compared: to Python, `True` and `1` are the same."""
    struct = struct_pb2.Struct()
    struct.update(data)
    return struct


async def create(
    session: database.Session, new: NewPayment, *, actor: str, payment_id: uuid.UUID | None = None, **values: Any
) -> Payment:
    """Record a payment, PENDING unless `values` say otherwise; raises ReferenceTaken."""
    row: dict[str, Any] = {
        **dataclasses.asdict(new),
        "id": payment_id or ids.new(),
        "reference": new.reference or _new_reference(),
        "status": Status.PENDING,
        **values,
    }
    return await repository.insert(session, row, Mark(actor, "created", CALL))


async def update(
    session: database.Session, payment_id: uuid.UUID, change: Change, *, owner: str | None, actor: str
) -> Payment:
    """Change a payment that stays out of its provider's hands; a change that changes nothing leaves no record.

    Raises PaymentNotFound, EtagMismatch, PermissionDenied and IllegalMove.
    """
    payment = await repository.get(session, payment_id, owner=owner, lock=True)
    check_etag(payment, change.etag)
    values = change.values(payment)
    if change.status is not None and change.moves(payment, owner=owner):
        states.check_admin(payment.status, change.status)
        values["status"] = change.status
    if not values:
        return payment
    mark = Mark(actor, f"updated: {', '.join(values)}", CALL)
    if "status" in values:
        values |= repository.NO_FAILURE
    return await repository.write(session, payment, values, mark)


async def delete(session: database.Session, payment_id: uuid.UUID, *, etag: str, actor: str) -> None:
    """Hide a payment that never held money; raises PaymentNotFound, EtagMismatch and PaymentNotDeletable."""
    payment = await repository.get(session, payment_id, lock=True)
    check_etag(payment, etag)
    if payment.status not in states.DELETABLE:
        raise errors.PaymentNotDeletable(status=payment.status)
    mark = Mark(actor, "deleted", CALL)
    await repository.write(session, payment, {"deleted_time": sa.func.clock_timestamp()}, mark)


async def cancel_abandoned(session: database.Session, *, seconds: float, limit: int = 100) -> int:
    """Cancel PENDING payments that are older and whose method has no provider; return how many, at most `limit`."""
    found = await repository.abandoned(session, set(Method) - states.PROCESSABLE, seconds=seconds, limit=limit)
    for payment in found:
        values = {
            "status": Status.CANCELLED,
            "failure_code": "method_not_processable",
            "failure_message": f"Payments by {payment.method} cannot be processed yet.",
        }
        await repository.write(session, payment, values, Mark("expiry", "cancelled: method not processable", TIMER))
    return len(found)


def check_etag(payment: Payment, etag: str) -> None:
    """Raise EtagMismatch if the caller has seen another version than this one."""
    if etag.strip('"') not in ("", "*", payment.etag):
        raise common_errors.EtagMismatch(etag=payment.etag)


def _new_reference() -> str:
    """Return a reference that people can read to each other, of 80 random bits, so that no two are ever the same."""
    return "KP-" + base64.b32encode(secrets.token_bytes(_REFERENCE_BYTES)).decode()
