"""Authorizations: reserved money, until it is captured, released or expires."""

from deploy.sandbox import challenges, charges, errors, events
from deploy.sandbox.parameters import Arguments, Boolean, Fields, Integer, Metadata, Text, Unsupported, merged
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

CAPTURE = Fields(
    {
        **dict.fromkeys(
            ("amount_details", "application_fee_amount", "hooks", "payment_details", "transfer_data"), Unsupported()
        ),
        "amount_to_capture": Integer(minimum=1),
        "final_capture": Boolean(),
        "metadata": Metadata(),
        "statement_descriptor": Text(limit=22),
        "statement_descriptor_suffix": Text(limit=22),
    }
)


def capture(state: State, arguments: Arguments) -> Object:
    """Collect what was authorized, wholly or in part; the rest is released."""
    intent = state.get("payment_intent", arguments["id"], param="intent")
    if intent["status"] != "requires_capture":
        raise errors.UnexpectedState(
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}. "
            "Only a PaymentIntent with one of the following statuses may be captured: requires_capture.",
            intent,
        )
    if not arguments.get("final_capture", True):
        raise errors.ApiError("This PaymentIntent does not support multicapture.", param="final_capture")
    amount: int = arguments.get("amount_to_capture") or intent["amount_capturable"]
    if amount > intent["amount_capturable"]:
        message = f"The remaining amount on this PaymentIntent is {intent['amount_capturable']}."
        raise errors.ApiError(message, code="amount_too_large", param="amount_to_capture", payment_intent=intent)
    _describe(intent, arguments)
    charges.collect(state, intent, state.get("charge", intent["latest_charge"]), kind="charge.captured", amount=amount)
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    state.store.put(intent)
    events.record(state, "payment_intent.succeeded", intent)
    return intent


def cancel(state: State, intent: Object, *, reason: str | None, released_as: str) -> Object:
    """End an intent without a payment; a reservation is released with the event `released_as`."""
    challenges.withdraw(state, intent)
    if intent["status"] == "requires_capture":
        charges.release(state, state.get("charge", intent["latest_charge"]), kind=released_as)
    intent.update(status="canceled", canceled_at=state.clock.now(), cancellation_reason=reason, amount_capturable=0)
    state.store.put(intent)
    events.record(state, "payment_intent.canceled", intent)
    return intent


def expire(state: State, identifier: str) -> Object:
    """Let an authorization lapse, as it does when nobody captures it in time."""
    intent = state.get("payment_intent", identifier, param="intent")
    if intent["status"] != "requires_capture":
        raise errors.UnexpectedState("Only an authorization that was not captured can expire.", intent)
    return cancel(state, intent, reason="automatic", released_as="charge.expired")


def lapse(state: State) -> None:
    """Expire every authorization that is too old by the sandbox's clock."""
    for intent in state.store.select("payment_intent", status="requires_capture"):
        charge = state.get("charge", intent["latest_charge"])
        if charge["payment_method_details"]["card"]["capture_before"] <= state.clock.now():
            expire(state, intent["id"])


def _describe(intent: Object, arguments: Arguments) -> None:
    intent["metadata"] = merged(intent["metadata"], arguments.get("metadata", {}))
    for name in ("statement_descriptor", "statement_descriptor_suffix"):
        if name in arguments:
            intent[name] = arguments[name]
