"""Errors of this service.

Error (kobklein.errors)
├── PaymentNotFound          no such payment, or none that this caller may see
├── ReferenceTaken           another payment of this user has this reference
├── MethodNotProcessable     the method of payment has no provider yet
├── IllegalMove              the payment cannot go from this status to that one
├── PaymentEnded             a FAILED or CANCELLED payment cannot be confirmed
├── PaymentBusy              a step of it is running, and its outcome is open
├── ProviderUnavailable      the provider did not say what became of it; it is recorded, and asked for again
├── PaymentPaid              it cannot be cancelled: the money is there
├── PaymentNotDeletable      it held money, or may still get some
├── UnknownProvider          webhooks of this provider are not received here
└── InvalidSignature         the webhook is not from its provider, or not of now
"""

import grpc

from kobklein import errors


class PaymentNotFound(errors.Error):
    """There is no such payment, or none that this caller may see."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no payment {id}"


class ReferenceTaken(errors.Error):
    """References are unique among the payments of a user that are not FAILED or CANCELLED."""

    code = grpc.StatusCode.ALREADY_EXISTS
    message = "user {user_id} has a payment with the reference {reference} already, which has not failed"


class MethodNotProcessable(errors.Error):
    """Only the methods that have a provider can be processed."""

    code = grpc.StatusCode.UNIMPLEMENTED
    message = "payments by {method} cannot be processed yet"


class IllegalMove(errors.Error):
    """The table of moves has no such move."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "a payment cannot go from {before} to {after}"
    http_status = 409


class PaymentEnded(errors.Error):
    """A payment that failed or was cancelled stays so; a new attempt is a new payment."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "the payment is {status}; make a new one to try again"
    http_status = 409


class PaymentBusy(errors.Error):
    """Somebody else works on the payment right now, or the provider has not said yet what became of it."""

    code = grpc.StatusCode.ABORTED
    message = "the payment is on its way at the provider; try again"
    retry_after_seconds = 2.0


class ProviderUnavailable(errors.Error):
    """The provider was asked as often as a call may ask, and what it did is still unknown.

    The payment is recorded, and resolves by itself. The key of the call is free: whoever repeats the call with it gets
    this same payment. Channels do not: each repetition asks the provider again, which is the caller's to pace.
    """

    code = grpc.StatusCode.UNAVAILABLE
    message = (
        "the provider is out of reach for now; payment {payment_id} is recorded and is being resolved: "
        "repeating the call with the same Idempotency-Key is safe and finds this same payment"
    )
    retry_after_seconds = 5.0
    repeated_by_channels = False


class PaymentPaid(errors.Error):
    """The payer's money arrived before the cancellation."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "the payment has been paid and cannot be cancelled"
    http_status = 409


class PaymentNotDeletable(errors.Error):
    """What touched money is never deleted."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "a payment that is {status} is not deleted"
    http_status = 409


class UnknownProvider(errors.Error):
    """No such provider is configured."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no provider {provider}"


class InvalidSignature(errors.Error):
    """The signature does not prove that the provider sent this, now; the detail stays in the log."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "the webhook's signature does not hold"
