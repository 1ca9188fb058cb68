"""Which moves of a payment are legal, and what each state of Stripe's PaymentIntents means.

Everything here is pure: it decides, and neither reads nor writes.
"""

import enum
from typing import Final

from payments_service import errors


class Status(enum.StrEnum):
    """Where a payment stands, as callers see it."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"


class Method(enum.StrEnum):
    """How a payer pays."""

    STRIPE = "STRIPE"
    MONCASH = "MONCASH"
    NATCASH = "NATCASH"
    BANK_TRANSFER = "BANK_TRANSFER"
    CASH = "CASH"
    WALLET = "WALLET"


class Step(enum.StrEnum):
    """What the money path does next for a PROCESSING payment; each is safe to repeat."""

    AUTHORISE = "AUTHORISE"
    """Ask the provider to charge the payer."""
    CONFIRM = "CONFIRM"
    """Tell the provider to go on with an intent that waits for us."""
    FETCH = "FETCH"
    """Ask the provider where the intent stands."""
    CANCEL = "CANCEL"
    """Close the intent, so that it can never be paid any more."""
    SETTLE = "SETTLE"
    """Credit the wallet."""


class IntentStatus(enum.StrEnum):
    """Where a PaymentIntent stands, in Stripe's words."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


class Move(enum.StrEnum):
    """What the state of an intent makes of its PROCESSING payment."""

    CLOSE = "CLOSE"
    """The card was refused. The intent is cancelled first, so that nobody can pay it later; then the payment FAILED."""
    CONFIRM = "CONFIRM"
    """The intent waits for us."""
    WAIT = "WAIT"
    """It waits for the payer, the bank or a capture; look again later, and at once when an event says so."""
    SETTLE = "SETTLE"
    """The money is there: credit the wallet, then COMPLETED."""
    END = "END"
    """The intent is closed: FAILED if the card was refused, else CANCELLED."""


class EventMove(enum.StrEnum):
    """What a provider's event leads to; none moves money by itself, since a stolen secret can sign any."""

    FETCH = "FETCH"
    """Something happened to a payment; its payment becomes due for a look at the provider."""
    REPORT = "REPORT"
    """It moves money in a way that has no place here yet; staff are told."""
    IGNORE = "IGNORE"
    """It moves no money."""


class EventState(enum.StrEnum):
    """Where a provider's event stands."""

    RECEIVED = "RECEIVED"
    """Stored; it is still to be applied."""
    APPLIED = "APPLIED"
    """Its payment was made due for a look at the provider, or knew it already."""
    IGNORED = "IGNORED"
    """It changes nothing here."""
    UNAPPLIED = "UNAPPLIED"
    """It moves money, and nothing here says so; a person has to look."""


class Trigger(enum.StrEnum):
    """What led to a change of a payment."""

    CALL = "CALL"
    """A call of a user, of staff or of another service."""
    EVENT = "EVENT"
    """A provider's event, after which the provider itself was asked."""
    TIMER = "TIMER"
    """Its time came."""
    SETTLEMENT = "SETTLEMENT"
    """The ledger credited the wallet."""


PROCESSABLE: Final = frozenset({Method.STRIPE})
"""Methods that have a provider here."""

MOVES: Final[dict[Status, frozenset[Status]]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.FAILED, Status.CANCELLED}),
    Status.PROCESSING: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.PENDING}),
    Status.COMPLETED: frozenset({Status.REFUNDED}),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.REFUNDED: frozenset(),
}
"""Every legal move of a payment. One whose charge the provider did not take at all is PENDING again."""

ADMIN_MOVES: Final[dict[Status, frozenset[Status]]] = {
    Status.PENDING: frozenset({Status.FAILED, Status.CANCELLED}),
    Status.PROCESSING: frozenset({Status.CANCELLED}),
}
"""The moves among them that an admin may ask for."""

INTENT_MOVES: Final[dict[IntentStatus, Move]] = {
    IntentStatus.REQUIRES_PAYMENT_METHOD: Move.CLOSE,
    IntentStatus.REQUIRES_CONFIRMATION: Move.CONFIRM,
    IntentStatus.REQUIRES_ACTION: Move.WAIT,
    IntentStatus.PROCESSING: Move.WAIT,
    IntentStatus.REQUIRES_CAPTURE: Move.WAIT,
    IntentStatus.SUCCEEDED: Move.SETTLE,
    IntentStatus.CANCELED: Move.END,
}
"""What each state of an intent means; a state that Stripe adds later raises KeyError and is looked at again."""

FINAL: Final = frozenset(
    status for status in Status if status is not Status.PENDING and status is not Status.PROCESSING
)
"""Statuses in which the payment itself has reached its end."""
DELETABLE: Final = frozenset({Status.PENDING, Status.FAILED, Status.CANCELLED})
VOLUME: Final = frozenset({Status.COMPLETED, Status.REFUNDED})
"""Statuses of payments whose money has reached a wallet."""


def check(before: Status, after: Status) -> None:
    """Raise IllegalMove unless a payment may go from `before` to `after`; staying where it is, is no move."""
    if after is not before and after not in MOVES[before]:
        raise errors.IllegalMove(before=before, after=after)


def check_admin(before: Status, after: Status) -> None:
    """Raise IllegalMove unless an admin may ask for the move from `before` to `after`."""
    if after not in ADMIN_MOVES.get(before, frozenset()):
        raise errors.IllegalMove(before=before, after=after)
