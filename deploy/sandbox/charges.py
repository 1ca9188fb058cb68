"""Charges: one attempt to take money, and what became of it."""

from typing import Any

from deploy.sandbox import balance, disputes, events, instruments, ledger, listings
from deploy.sandbox.clock import DAY
from deploy.sandbox.instruments import Decline, Instrument
from deploy.sandbox.parameters import Arguments, Fields, Metadata, Text, Unsupported, merged
from deploy.sandbox.payment_methods import SHIPPING
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

RETRIEVE = Fields({})
UPDATE = Fields(
    {
        "customer": Unsupported(),
        "description": Text(clearable=True),
        "fraud_details": Unsupported(),
        "metadata": Metadata(),
        "receipt_email": Text(clearable=True),
        "shipping": SHIPPING,
        "transfer_group": Unsupported(),
    }
)
LIST = listings.parameters(customer=Text(), payment_intent=Text(), transfer_group=Text())


def retrieve(state: State, arguments: Arguments) -> Object:
    """One charge."""
    return state.get("charge", arguments["id"], param="charge")


def update(state: State, arguments: Arguments) -> Object:
    """Change what describes a charge, never its money."""
    charge = state.get("charge", arguments.pop("id"), param="charge")
    before = dict(charge)
    if "metadata" in arguments:
        charge["metadata"] = merged(charge["metadata"], arguments.pop("metadata"))
    charge.update(arguments)
    state.store.put(charge)
    events.record(state, "charge.updated", charge, before=before)
    return charge


def list_(state: State, arguments: Arguments) -> Object:
    """Charges, newest first."""
    return listings.page(state, "charge", "/v1/charges", arguments)


def succeed(state: State, intent: Object, method: Object, *, challenged: bool) -> Object:
    """The issuer says yes: money is taken, or only reserved when the intent is captured by hand."""
    charge = _render(state, intent, method, status="succeeded", challenged=challenged)
    charge["paid"] = True
    if intent["capture_method"] == "manual":
        _reserve(state, charge)
        state.store.put(charge)
        events.record(state, "charge.succeeded", charge)
        return charge
    collect(state, intent, charge, kind="charge.succeeded", amount=charge["amount"])
    return charge


def begin(state: State, intent: Object, method: Object) -> Object:
    """A debit whose outcome comes later."""
    charge = _render(state, intent, method, status="pending", challenged=False)
    state.store.put(charge)
    events.record(state, "charge.pending", charge)
    return charge


def collect(state: State, intent: Object, charge: Object, *, kind: str, amount: int) -> None:
    """Take `amount` of what was charged: the ledger's movement, the event, then the balance.

    With asynchronous capture the balance transaction is booked after the answer, as `charge.updated` tells.
    """
    instrument = instruments.of(state.get("payment_method", charge["payment_method"]))
    charge.update(captured=True, amount_captured=amount, paid=True, status="succeeded")
    ledger.move(state, "charge", charge, amount=amount, source=charge["id"])
    if intent["capture_method"] == "automatic":
        _book(state, charge, instrument)
    state.store.put(charge)
    events.record(state, kind, charge)
    if charge["balance_transaction"] is None:
        state.later(lambda: _book_later(state, charge["id"], instrument))
    if instrument.dispute is not None:
        state.later(lambda: _dispute(state, charge["id"], instrument))


def fail(state: State, intent: Object, method: Object, decline: Decline, charge: Object | None = None) -> Object:
    """The issuer says no; a pending charge, if there is one, becomes the failed one."""
    charge = charge or _render(state, intent, method, status="failed", challenged=False)
    charge["status"] = "failed"
    charge["failure_code"] = decline.code
    charge["failure_message"] = decline.message
    charge["outcome"] = _refusal(decline)
    state.store.put(charge)
    events.record(state, "charge.failed", charge)
    return charge


def release(state: State, charge: Object, *, kind: str) -> None:
    """Give a reservation back; no money ever moved."""
    charge.update(amount_refunded=charge["amount"], refunded=True)
    state.store.put(charge)
    events.record(state, kind, charge)


def _reserve(state: State, charge: Object) -> None:
    details = charge["payment_method_details"]["card"]
    details["amount_authorized"] = charge["amount"]
    details["capture_before"] = charge["created"] + state.settings.authorization_days * DAY


def _book(state: State, charge: Object, instrument: Instrument) -> None:
    transaction = balance.charge(state, charge, settled=instrument.settled)
    charge["balance_transaction"] = transaction["id"]


def _book_later(state: State, identifier: str, instrument: Instrument) -> None:
    charge = state.get("charge", identifier)
    before = dict(charge)
    _book(state, charge, instrument)
    state.store.put(charge)
    events.record(state, "charge.updated", charge, before=before)


def _dispute(state: State, identifier: str, instrument: Instrument) -> None:
    charge = state.get("charge", identifier)
    disputes.open_(state, charge, reason=instrument.dispute or "general", inquiry=instrument.inquiry)


def _render(state: State, intent: Object, method: Object, *, status: str, challenged: bool) -> Object:
    identifier = state.identifier("ch")
    return {
        "id": identifier,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": intent["statement_descriptor"] or "SANDBOX",
        "captured": False,
        "created": state.clock.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": _APPROVAL,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _details(intent, method, challenged=challenged),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": f"{state.call.base_url}/#{identifier}" if status == "succeeded" else None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": status,
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
    }


_APPROVAL = {
    "advice_code": None,
    "network_advice_code": None,
    "network_decline_code": None,
    "network_status": "approved_by_network",
    "reason": None,
    "risk_level": "normal",
    "risk_score": 7,
    "seller_message": "Payment complete.",
    "type": "authorized",
}


_BLOCK = {
    **_APPROVAL,
    "advice_code": "do_not_try_again",
    "network_status": "not_sent_to_network",
    "reason": "highest_risk_level",
    "risk_level": "highest",
    "seller_message": "Stripe blocked this payment as too risky.",
    "type": "blocked",
}


def _refusal(decline: Decline) -> dict[str, Any]:
    if decline is instruments.FRAUD:
        return _BLOCK
    return {
        **_APPROVAL,
        "advice_code": "try_again_later",
        "network_status": "declined_by_network",
        "reason": decline.reason,
        "seller_message": f"The bank returned the decline code `{decline.reason or decline.code}`.",
        "type": "issuer_declined",
    }


_BANK_NAMES = ("account_holder_type", "account_type", "bank_name", "fingerprint", "last4", "routing_number")
_CARD_NAMES = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4", "wallet")


def _details(intent: Object, method: Object, *, challenged: bool) -> dict[str, Any]:
    if method["type"] == "us_bank_account":
        bank = method["us_bank_account"]
        return {
            "type": "us_bank_account",
            "us_bank_account": {
                **{name: bank[name] for name in _BANK_NAMES},
                "payment_reference": None,
            },
        }
    card = method["card"]
    return {
        "type": "card",
        "card": {
            **{name: card[name] for name in _CARD_NAMES},
            "amount_authorized": intent["amount"],
            "authorization_code": "123456",
            "electronic_commerce_indicator": _commerce_indicator(card, challenged=challenged),
            "extended_authorization": {"status": "disabled"},
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": card["brand"],
            "network_token": {"used": False},
            "network_transaction_id": None,
            "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
            "regulated_status": card["regulated_status"],
            "three_d_secure": _authenticated() if challenged else None,
            "transaction_link_id": None,
        },
    }


def _commerce_indicator(card: dict[str, Any], *, challenged: bool) -> str | None:
    """How surely the network knows the payer; Visa and Mastercard alone tell, each in its own numbers."""
    authenticated, not_authenticated = {"visa": ("05", "07"), "mastercard": ("02", "00")}.get(
        card["brand"], (None, None)
    )
    return authenticated if challenged else not_authenticated


def _authenticated() -> dict[str, Any]:
    return {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": None,
        "version": "2.2.0",
    }
