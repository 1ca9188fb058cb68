"""What a provider's answer makes of a PROCESSING payment; pure, so that every case can be read and tested by itself."""

import dataclasses
from typing import Any, Final

from payments_service import providers
from payments_service.models import Payment
from payments_service.settings import MoneyPathSettings, Schedule
from payments_service.states import INTENT_MOVES, IntentStatus, Move, Status, Step

AMOUNT_MISMATCH: Final = "amount_mismatch"
"""Failure code of a payment for which the provider collected another amount than asked; only a person can tell why."""
_NO_CARD: Final = providers.Decline("payment_method_required", "The payment needs another card.")


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """The new values of a payment's columns, and when its next step is due."""

    values: dict[str, Any]
    what: str
    due_seconds: float = 0.0
    go_on: bool = False
    """Whether whoever holds the payment takes the next step at once."""

    def news(self, payment: Payment) -> bool:
        """Return whether it changes anything that is more than the way there."""
        return any(getattr(payment, name) != value for name, value in self.values.items() if name != "step")


def decide(payment: Payment, outcome: providers.Outcome, *, settings: MoneyPathSettings, expired: bool) -> Decision:
    """Return what becomes of a payment; `expired` says that its payer has had long enough.

    A card that was refused leads to FAILED only over CANCEL: as long as the intent is open, somebody who knows its
    client secret could pay it with another card, after the payer has been told that the payment failed.
    """
    if isinstance(outcome, providers.Refused):
        return _failed(outcome)
    move = INTENT_MOVES[outcome.status]
    if move is Move.SETTLE:
        return _settled(outcome) if _matches(payment, outcome) else _mismatch(outcome, settings.provider_schedule)
    if move is Move.END:
        return _ended(payment, outcome)
    if move is Move.WAIT and not (expired and outcome.status is IntentStatus.REQUIRES_ACTION):
        return _waiting(payment, outcome, settings.provider_schedule)
    step = Step.CONFIRM if move is Move.CONFIRM else Step.CANCEL
    return _following(payment, outcome, step, settings.provider_schedule)


def undone(payment: Payment, refused: providers.Refused, *, pending: bool) -> Decision:
    """Return what becomes of a payment whose request was wrong; `pending` says that it stood PENDING before.

    Such a refusal records no payment. One that was there before is PENDING again, and can be charged by another
    request. One that its call has made ends here, and is withdrawn.
    """
    if not pending:
        return Decision({**_failed(refused).values, "failure_field": refused.field}, f"withdrawn: {refused.code}")
    again = {"status": Status.PENDING, "failure_field": refused.field, "refused_charges": payment.refused_charges + 1}
    return Decision({**_failed(refused).values, **again}, f"request refused: {refused.code}")


def pause(schedule: Schedule, attempts: int) -> float:
    """Return how long to wait after the given number of attempts."""
    return schedule[min(max(attempts, 1), len(schedule)) - 1]


def _matches(payment: Payment, intent: providers.Intent) -> bool:
    return (intent.received_amount, intent.currency) == (payment.amount, payment.currency)


def _failed(refused: providers.Refused) -> Decision:
    values = {
        "status": Status.FAILED,
        "step": None,
        "failure_code": refused.code,
        "failure_message": refused.message,
    }
    return Decision(values, f"refused: {refused.code}")


def _settled(intent: providers.Intent) -> Decision:
    values = {
        **_cleared(intent),
        "step": Step.SETTLE,
        "received_amount": intent.received_amount,
        "failure_code": "",
        "failure_message": "",
    }
    return Decision(values, "paid")


def _mismatch(intent: providers.Intent, schedule: Schedule) -> Decision:
    """Keep the payment PROCESSING and visible: crediting a guess would be wrong, and so would be forgetting it."""
    message = f"The provider collected {intent.received_amount} {intent.currency} in minor units."
    values = {
        **_cleared(intent),
        "step": Step.FETCH,
        "failure_code": AMOUNT_MISMATCH,
        "failure_message": message,
    }
    return Decision(values, AMOUNT_MISMATCH, due_seconds=schedule[-1])


def _ended(payment: Payment, intent: providers.Intent) -> Decision:
    status = Status.FAILED if payment.failure_code else Status.CANCELLED
    return Decision({**_cleared(intent), "status": status, "step": None}, "closed")


def _waiting(payment: Payment, intent: providers.Intent, schedule: Schedule) -> Decision:
    action = intent.next_action
    step = Step.CANCEL if payment.step is Step.CANCEL else Step.FETCH
    values = {
        **_cleared(intent),
        "step": step,
        "capturable_amount": intent.capturable_amount,
        "next_action": dataclasses.asdict(action) if action else None,
    }
    attempts = payment.attempts if payment.step is step else 1
    return Decision(values, f"waits: {intent.status}", due_seconds=pause(schedule, attempts))


def _following(payment: Payment, intent: providers.Intent, step: Step, schedule: Schedule) -> Decision:
    """Go on with another step at once; with the same step, which has just led nowhere, only after a pause."""
    values: dict[str, Any] = {**_cleared(intent), "step": step}
    if INTENT_MOVES[intent.status] is Move.CLOSE:
        decline = intent.decline or _NO_CARD
        values |= {"failure_code": decline.code, "failure_message": decline.message}
    again = payment.step is step
    due_seconds = pause(schedule, payment.attempts) if again else 0.0
    return Decision(values, f"{intent.status}: {step.lower()}", due_seconds=due_seconds, go_on=not again)


def _cleared(intent: providers.Intent) -> dict[str, Any]:
    return {"stripe_payment_intent_id": intent.id, "capturable_amount": 0, "next_action": None}
