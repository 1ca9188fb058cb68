"""Refunds: money given back, which may still fail on its way."""

from typing import Any

from deploy.sandbox import balance, disputes, errors, events, instruments, ledger, listings
from deploy.sandbox.parameters import Arguments, Choice, Fields, Integer, Metadata, Text, Unsupported, merged
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

CREATE = Fields(
    {
        "amount": Integer(minimum=1),
        "charge": Text(),
        "payment_intent": Text(),
        "reason": Choice(("duplicate", "fraudulent", "requested_by_customer")),
        "metadata": Metadata(),
        "instructions_email": Text(),
        **dict.fromkeys(
            ("currency", "customer", "origin", "refund_application_fee", "reverse_transfer"), Unsupported()
        ),
    }
)
RETRIEVE = Fields({})
UPDATE = Fields({"metadata": Metadata()})
CANCEL = Fields({})
LIST = listings.parameters(charge=Text(), payment_intent=Text())

FAILURE_REASONS = (
    "charge_for_pending_refund_disputed",
    "declined",
    "expired_or_canceled_card",
    "insufficient_funds",
    "lost_or_stolen_card",
    "merchant_request",
    "unknown",
)


def create(state: State, arguments: Arguments) -> Object:
    """Give back all that is left of a charge, or a part of it."""
    charge = _charge(state, arguments)
    amount = arguments.get("amount", charge["amount_captured"] - charge["amount_refunded"])
    _check(state, charge, amount)
    instrument = instruments.of(state.get("payment_method", charge["payment_method"]))
    refund = _render(state, charge, arguments, amount=amount, status=_first_status(instrument))
    refund["balance_transaction"] = balance.post(state, "refund", refund, amount=-amount)["id"]
    ledger.move(state, "refund", charge, amount=-amount, source=refund["id"])
    _count(charge, amount)
    state.store.put(charge)
    state.store.put(refund)
    events.record(state, "refund.created", refund)
    events.record(state, "charge.refunded", charge)
    if instrument.refund == "pending":
        state.later(lambda: complete(state, refund["id"]))
    elif instrument.refund == "failed":
        state.later(lambda: fail(state, refund["id"], reason="expired_or_canceled_card"))
    return refund


def retrieve(state: State, arguments: Arguments) -> Object:
    """One refund."""
    return state.get("refund", arguments["id"], param="refund")


def list_(state: State, arguments: Arguments) -> Object:
    """Refunds, newest first, also those of one charge under the charge's own path."""
    return listings.page(state, "refund", "/v1/refunds", arguments)


def update(state: State, arguments: Arguments) -> Object:
    """Change a refund's metadata; nothing else can change."""
    refund = state.get("refund", arguments["id"], param="refund")
    before = dict(refund)
    refund["metadata"] = merged(refund["metadata"], arguments.get("metadata", {}))
    return _changed(state, refund, before)


def cancel(state: State, arguments: Arguments) -> Object:
    """Stop a refund that waits for the payer; no test card's refund does."""
    refund = state.get("refund", arguments["id"], param="refund")
    if refund["status"] != "requires_action":
        raise errors.ApiError(f"A refund with status {refund['status']} cannot be canceled.", param="refund")
    return _return(state, refund, status="canceled", reason="merchant_request")


def complete(state: State, identifier: str) -> Object:
    """A pending refund arrives."""
    refund = state.get("refund", identifier, param="refund")
    if refund["status"] != "pending":
        raise errors.ApiError(f"A refund with status {refund['status']} cannot be completed.", param="refund")
    before = dict(refund)
    refund["status"] = "succeeded"
    refund.pop("pending_reason", None)
    return _changed(state, refund, before)


def fail(state: State, identifier: str, *, reason: str) -> Object:
    """A refund comes back, even one that had succeeded: its money is the merchant's again."""
    refund = state.get("refund", identifier, param="refund")
    if refund["status"] not in ("pending", "requires_action", "succeeded"):
        raise errors.ApiError(f"A refund with status {refund['status']} cannot fail.", param="refund")
    return _return(state, refund, status="failed", reason=reason)


def _return(state: State, refund: Object, *, status: str, reason: str) -> Object:
    before = dict(refund)
    charge = state.get("charge", refund["charge"])
    returned = balance.post(
        state, "refund_failure", refund, amount=refund["amount"], category="refund_failure", settled=True
    )
    ledger.move(state, "refund_failure", charge, amount=refund["amount"], source=refund["id"])
    _count(charge, -refund["amount"])
    state.store.put(charge)
    refund.update(status=status, failure_reason=reason, failure_balance_transaction=returned["id"])
    refund.pop("pending_reason", None)
    state.store.put(refund)
    if status == "failed":
        events.record(state, "refund.failed", refund)
    return _changed(state, refund, before)


def _changed(state: State, refund: Object, before: Object) -> Object:
    state.store.put(refund)
    events.record(state, "refund.updated", refund, before=before)
    events.record(state, "charge.refund.updated", refund, before=before)
    return refund


def _charge(state: State, arguments: Arguments) -> Object:
    named = [name for name in ("charge", "payment_intent") if name in arguments]
    if len(named) != 1:
        raise errors.InvalidParameter("One of the following params should be provided: payment_intent or charge.")
    if named == ["charge"]:
        return state.get("charge", arguments["charge"], param="charge")
    intent = state.get("payment_intent", arguments["payment_intent"], param="payment_intent")
    if intent["status"] != "succeeded":
        message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        raise errors.ApiError(message, param="payment_intent")
    return state.get("charge", intent["latest_charge"])


def _check(state: State, charge: Object, amount: int) -> None:
    left = charge["amount_captured"] - charge["amount_refunded"]
    if not charge["captured"]:
        raise errors.ApiError(f"Charge {charge['id']} has not been captured.", param="charge")
    if charge["refunded"]:
        message = f"Charge {charge['id']} has already been refunded."
        raise errors.ApiError(message, code="charge_already_refunded", param="charge")
    if charge["disputed"] and disputes.blocks_refunds(state, charge["id"]):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise errors.ApiError(message, code="charge_disputed", param="charge")
    if amount > left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise errors.ApiError(message, code="amount_too_large", param="amount")


def _count(charge: Object, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]


def _first_status(instrument: instruments.Instrument) -> str:
    return "pending" if instrument.refund == "pending" or instrument.delayed else "succeeded"


def _render(state: State, charge: Object, arguments: Arguments, *, amount: int, status: str) -> Object:
    pending = {"pending_reason": "processing"} if status == "pending" else {}
    return {
        "id": state.identifier("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": state.clock.now(),
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": None,
        "destination_details": _destination(charge, status),
        "metadata": merged({}, arguments.get("metadata", {})),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": arguments.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
        **pending,
    }


def _destination(charge: Object, status: str) -> dict[str, Any]:
    kind = charge["payment_method_details"]["type"]
    if kind != "card":
        return {"type": kind, kind: {}}
    card = {"reference_status": "pending", "reference_type": "acquirer_reference_number"}
    return {"type": "card", "card": {**card, "type": "pending" if status == "pending" else "refund"}}
