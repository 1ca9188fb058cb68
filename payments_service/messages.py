"""Messages of the contract to and from what the use cases speak of."""

import uuid
from typing import Any, Final

from google.protobuf import json_format, struct_pb2

from kobklein import calls, masks, wire
from kobklein import errors as common_errors
from kobklein.payments.v1 import payments_pb2
from payments_service.listings import Filters, Sort
from payments_service.models import Payment, RecordedChange
from payments_service.payments import Change, NewPayment
from payments_service.states import PROCESSABLE, Method, Status

_STATUS_PREFIX: Final = "PAYMENT_STATUS_"
_TRIGGER_PREFIX: Final = "PAYMENT_TRIGGER_"
_METHOD_PREFIX: Final = "PAYMENT_METHOD_"
_UPDATABLE: Final = ("description", "metadata", "status")
_SORTS: Final = {
    payments_pb2.PAYMENT_SORT_UNSPECIFIED: Sort("created_time", descending=True),
    payments_pb2.PAYMENT_SORT_CREATED_ASC: Sort("created_time", descending=False),
    payments_pb2.PAYMENT_SORT_CREATED_DESC: Sort("created_time", descending=True),
    payments_pb2.PAYMENT_SORT_AMOUNT_ASC: Sort("amount", descending=False),
    payments_pb2.PAYMENT_SORT_AMOUNT_DESC: Sort("amount", descending=True),
}


def new_payment(
    request: payments_pb2.CreatePaymentRequest | payments_pb2.ProcessStripePaymentRequest,
    method_: Method,
    *,
    user_id: str,
) -> NewPayment:
    """Return what a request asks to make; without a user of its own, for `user_id`."""
    return NewPayment(
        user_id=request.user_id or user_id,
        amount=request.amount,
        currency=request.currency,
        method=method_,
        description=request.description,
        reference=request.reference,
        metadata=json_format.MessageToDict(request.metadata),
    )


def change(request: payments_pb2.UpdatePaymentRequest) -> Change:
    """Return what an update asks for; raises InvalidArgument for a mask that names something else."""
    paths = list(dict.fromkeys(masks.paths(request, request.payment)))
    wrong = [path for path in paths if path not in _UPDATABLE]
    if wrong:
        raise common_errors.InvalidArgument(
            *(common_errors.Violation("update_mask", f"{path!r} cannot be updated") for path in wrong)
        )
    given = request.payment
    if "status" in paths and not given.status:
        raise common_errors.InvalidArgument.of("payment.status", "is required with this update_mask")
    return Change(
        description=given.description if "description" in paths else None,
        metadata=json_format.MessageToDict(given.metadata) if "metadata" in paths else None,
        status=status(given.status) if "status" in paths else None,
        etag=request.etag,
    )


def filters(request: payments_pb2.ListPaymentsRequest) -> Filters:
    """Return the conditions of a list; raises InvalidArgument for a range that ends before it starts."""
    found = Filters(
        statuses=tuple(status(value) for value in request.status if value),
        methods=tuple(method(value) for value in request.method if value),
        currency=request.currency,
        user_id=request.user_id,
        created_from=wire.boundary(request, "created_from"),
        created_before=wire.boundary(request, "created_before"),
        min_amount=request.min_amount if request.HasField("min_amount") else None,
        max_amount=request.max_amount if request.HasField("max_amount") else None,
        reference=request.reference,
    )
    if found.created_from and found.created_before and found.created_before < found.created_from:
        raise common_errors.InvalidArgument.of("created_before", "is before created_from")
    if found.min_amount is not None and found.max_amount is not None and found.max_amount < found.min_amount:
        raise common_errors.InvalidArgument.of("max_amount", "is less than min_amount")
    return found


def sort(request: payments_pb2.ListPaymentsRequest) -> Sort:
    """Return the order of a list."""
    return _SORTS[request.sort]


def render(payment: Payment) -> payments_pb2.Payment:
    """Return a payment as callers see it; a refused request of a PENDING one was its caller's mistake alone."""
    pending = payment.status is Status.PENDING
    answer = payments_pb2.Payment(
        id=str(payment.id),
        user_id=payment.user_id,
        amount=payment.amount,
        currency=payment.currency,
        method=method_value(payment.method),
        status=status_value(payment.status),
        description=payment.description,
        reference=payment.reference,
        stripe_payment_intent_id=payment.stripe_payment_intent_id or "",
        metadata=_struct(payment.metadata),
        refunded_amount=payment.refunded_amount,
        capturable_amount=payment.capturable_amount,
        failure_code="" if pending else payment.failure_code,
        failure_message="" if pending else payment.failure_message,
        completed_time=wire.optional_timestamp(payment.completed_time),
        created_time=wire.timestamp(payment.created_time),
        updated_time=wire.timestamp(payment.updated_time),
        version=payment.version,
        etag=payment.etag,
        processable=payment.method in PROCESSABLE,
    )
    if payment.next_action is not None:
        answer.next_action.CopyFrom(payments_pb2.NextAction(**payment.next_action))
    return answer


def shown(answer: payments_pb2.Payment) -> payments_pb2.Payment:
    """Return an answer as the caller may see it: what pays a payment is for its owner alone, in replays too."""
    if answer.HasField("next_action") and calls.current().subject != answer.user_id:
        answer.next_action.ClearField("client_secret")
        answer.next_action.ClearField("redirect_url")
    return answer


def change_of(change_: RecordedChange) -> payments_pb2.PaymentChange:
    """Return a change as the caller may see it: who made it and how is for staff."""
    answer = payments_pb2.PaymentChange(
        version=change_.version,
        after=status_value(change_.after),
        time=wire.timestamp(change_.time),
    )
    if change_.before is not None:
        answer.before = status_value(change_.before)
    if change_.trigger is not None:
        answer.trigger = payments_pb2.PaymentTrigger.Value(_TRIGGER_PREFIX + change_.trigger)
    if calls.current().owner is None:
        answer.actor, answer.what, answer.event_id = change_.actor, change_.what, change_.event_id
    return answer


def payment_id(text: str) -> uuid.UUID:
    """Return the id in a request, whose form the contract has checked."""
    return uuid.UUID(text)


def status(value: "payments_pb2.PaymentStatus.ValueType") -> Status:
    """Return a status of the contract."""
    return Status(payments_pb2.PaymentStatus.Name(value).removeprefix(_STATUS_PREFIX))


def status_value(status_: Status) -> "payments_pb2.PaymentStatus.ValueType":
    """Return a status as the contract has it."""
    return payments_pb2.PaymentStatus.Value(_STATUS_PREFIX + status_)


def method(value: "payments_pb2.PaymentMethod.ValueType") -> Method:
    """Return a method of the contract."""
    return Method(payments_pb2.PaymentMethod.Name(value).removeprefix(_METHOD_PREFIX))


def method_value(method_: Method) -> "payments_pb2.PaymentMethod.ValueType":
    """Return a method as the contract has it."""
    return payments_pb2.PaymentMethod.Value(_METHOD_PREFIX + method_)


def _struct(data: dict[str, Any]) -> struct_pb2.Struct | None:
    if not data:
        return None
    struct = struct_pb2.Struct()
    struct.update(data)
    return struct
