"""Attempts to pay: what happens between a confirmed PaymentIntent and its outcome."""

from dataclasses import dataclass

from deploy.sandbox import challenges, charges, errors, events, instruments, payment_methods
from deploy.sandbox.instruments import Decline
from deploy.sandbox.replies import Reply
from deploy.sandbox.state import State
from deploy.sandbox.store import Object


@dataclass(frozen=True, slots=True)
class Terms:
    """What the caller says about one attempt."""

    off_session: bool = False
    error_on_requires_action: bool = False
    return_url: str | None = None


AUTHENTICATION_FAILED = {
    "code": "payment_intent_authentication_failure",
    "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
    "message": "The payer did not authenticate this payment. Try again with another payment method.",
    "type": "invalid_request_error",
}


def confirm(state: State, intent: Object, method: Object, terms: Terms) -> Object | Reply:
    """Try to pay with `method`. A declined card is a 402 reply, whose effects stay."""
    _check_method(state, intent, method)
    challenges.withdraw(state, intent)
    intent.update(payment_method=method["id"], last_payment_error=None)
    by_hand = intent["confirmation_method"] == "manual"
    authenticated = by_hand and challenges.use_approval(state, intent, method)
    instrument = instruments.of(method)
    if authenticated or not challenges.needed(state, intent, method, instrument, off_session=terms.off_session):
        return pay(state, intent, method, challenged=authenticated)
    if terms.off_session:
        return refuse(state, intent, method, instruments.AUTHENTICATION_REQUIRED)
    if terms.error_on_requires_action:
        return _give_up(state, intent, method, instruments.AUTHENTICATION_REQUIRED, charge=None)
    challenges.begin(state, intent, method, return_url=terms.return_url)
    state.store.put(intent)
    events.record(state, "payment_intent.requires_action", intent)
    return intent


def pay(state: State, intent: Object, method: Object, *, challenged: bool = False) -> Object | Reply:
    """Ask the issuer, now that nothing else is missing."""
    instrument = instruments.of(method)
    if instrument.delayed:
        return _wait(state, intent, method)
    if instrument.decline is not None:
        return refuse(state, intent, method, instrument.decline)
    charge = charges.succeed(state, intent, method, challenged=challenged)
    return _finish(state, intent, method, charge)


def settle(state: State, intent: Object, *, decline: Decline | None = None) -> Object | Reply:
    """The outcome of a delayed debit arrives."""
    method = state.get("payment_method", intent["payment_method"])
    charge = state.get("charge", intent["latest_charge"])
    if decline is not None:
        return refuse(state, intent, method, decline, charge=charge)
    charges.collect(state, intent, charge, kind="charge.succeeded", amount=charge["amount"])
    return _finish(state, intent, method, charge)


def refuse(state: State, intent: Object, method: Object, decline: Decline, *, charge: Object | None = None) -> Reply:
    """The issuer says no: a failed charge, and the intent wants another payment method."""
    failed = charges.fail(state, intent, method, decline, charge)
    intent["latest_charge"] = failed["id"]
    return _give_up(state, intent, method, decline, charge=failed["id"])


def fail_authentication(state: State, intent: Object, method: Object) -> Object:
    """The payer refused or failed the challenge; the issuer was never asked."""
    error = {**AUTHENTICATION_FAILED, "payment_method": method}
    return _reset(state, intent, error)


def _check_method(state: State, intent: Object, method: Object) -> None:
    if method["type"] not in intent["payment_method_types"]:
        message = f"The PaymentMethod provided ({method['type']}) is not allowed for this PaymentIntent."
        raise errors.ApiError(message, param="payment_method", payment_intent=intent)
    if method["customer"] is not None and method["customer"] != intent["customer"]:
        message = "The PaymentMethod you provided is attached to a customer, so you must provide the customer as well."
        raise errors.ApiError(message, param="payment_method")
    if method["customer"] is None and state.store.exists("charge", payment_method=method["id"], paid=1):
        message = (
            "The provided PaymentMethod was used before without being attached to a customer; it cannot be used again."
        )
        raise errors.ApiError(message, param="payment_method")


def _wait(state: State, intent: Object, method: Object) -> Object:
    charge = charges.begin(state, intent, method)
    intent.update(status="processing", latest_charge=charge["id"], next_action=None)
    state.store.put(intent)
    events.record(state, "payment_intent.processing", intent)
    return intent


def _finish(state: State, intent: Object, method: Object, charge: Object) -> Object:
    intent.update(latest_charge=charge["id"], next_action=None)
    if charge["captured"]:
        intent.update(status="succeeded", amount_received=charge["amount_captured"])
    else:
        intent.update(status="requires_capture", amount_capturable=charge["amount"])
    state.store.put(intent)
    kind = "payment_intent.succeeded" if charge["captured"] else "payment_intent.amount_capturable_updated"
    events.record(state, kind, intent)
    if intent["setup_future_usage"] is not None and intent["customer"] is not None:
        payment_methods.keep(state, method, intent["customer"])
    return intent


def _give_up(state: State, intent: Object, method: Object, decline: Decline, *, charge: str | None) -> Reply:
    error = {**decline.error(), "payment_method": method}
    if charge is not None:
        error["charge"] = charge
    _reset(state, intent, error)
    return Reply.of(402, {"error": {**error, "payment_intent": intent}})


def _reset(state: State, intent: Object, error: Object) -> Object:
    intent.update(status="requires_payment_method", payment_method=None, next_action=None, last_payment_error=error)
    state.store.put(intent)
    events.record(state, "payment_intent.payment_failed", intent)
    return intent
