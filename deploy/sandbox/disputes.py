"""Disputes: the payer's bank takes the money back, and the merchant argues."""

from typing import Any

from deploy.sandbox import balance, errors, events, ledger, listings
from deploy.sandbox.clock import DAY
from deploy.sandbox.parameters import Arguments, Boolean, Choice, Fields, Metadata, Text, Unsupported, merged
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

FEE_CENTS = 1500
RESPONSE_DAYS = 9

EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)
REASONS = (
    "bank_cannot_process",
    "check_returned",
    "credit_not_processed",
    "customer_initiated",
    "debit_not_authorized",
    "duplicate",
    "fraudulent",
    "general",
    "incorrect_account_details",
    "insufficient_funds",
    "noncompliant",
    "product_not_received",
    "product_unacceptable",
    "subscription_canceled",
    "unrecognized",
)
CLOSED = ("won", "lost", "warning_closed", "prevented")

RETRIEVE = Fields({})
UPDATE = Fields(
    {
        "evidence": Fields(
            {
                **{name: Text(limit=20_000, clearable=True) for name in EVIDENCE},
                "enhanced_evidence": Unsupported(),
                "appeal": Unsupported(),
            }
        ),
        "metadata": Metadata(),
        "submit": Boolean(),
        "intended_submission_method": Choice(("manual", "prefer_manual", "prefer_smart_disputes", "smart_disputes")),
    }
)
CLOSE = Fields({})
LIST = listings.parameters(charge=Text(), payment_intent=Text())


def retrieve(state: State, arguments: Arguments) -> Object:
    """One dispute."""
    return state.get("dispute", arguments["id"], param="dispute")


def list_(state: State, arguments: Arguments) -> Object:
    """Disputes, newest first."""
    return listings.page(state, "dispute", "/v1/disputes", arguments)


def open_(state: State, charge: Object, *, reason: str, inquiry: bool = False, amount: int | None = None) -> Object:
    """The payer disputes a captured charge. An inquiry only asks; a chargeback withdraws the money and a fee.

    A bank looks at the charge alone: the refunded part of it can be disputed too, and is then paid back twice.
    """
    captured = charge["amount_captured"]
    amount = captured if amount is None else amount
    if charge["disputed"] or not 0 < amount <= captured:
        raise errors.ApiError(f"Charge {charge['id']} has no undisputed {amount} to dispute.", param="charge")
    dispute = _render(state, charge, reason=reason, inquiry=inquiry, amount=amount)
    charge["disputed"] = True
    state.store.put(charge)
    state.store.put(dispute)
    events.record(state, "charge.dispute.created", dispute)
    if not inquiry:
        _withdraw(state, dispute, charge)
    return dispute


def update(state: State, arguments: Arguments) -> Object:
    """Add evidence and, unless told to wait, submit it; the two magic texts decide the dispute right after."""
    dispute = _open(state, arguments["id"])
    before = {**dispute, "evidence": dict(dispute["evidence"]), "evidence_details": dict(dispute["evidence_details"])}
    dispute["evidence"].update(arguments.get("evidence", {}))
    if "metadata" in arguments:
        dispute["metadata"] = merged(dispute["metadata"], arguments["metadata"])
    dispute["intended_submission_method"] = arguments.get("intended_submission_method", "manual")
    dispute["evidence_details"]["has_evidence"] = any(dispute["evidence"][name] for name in EVIDENCE)
    submitted = "evidence" in arguments and arguments.get("submit", True)
    if submitted:
        _submit(dispute)
    state.store.put(dispute)
    events.record(state, "charge.dispute.updated", dispute, before=before)
    verdict = _VERDICTS.get(dispute["evidence"]["uncategorized_text"] or "")
    if submitted and verdict is not None:
        state.later(lambda: decide(state, dispute["id"], verdict))
    return dispute


def close(state: State, arguments: Arguments) -> Object:
    """Accept the dispute: it is lost; an inquiry is just closed."""
    dispute = _open(state, arguments["id"])
    return decide(state, dispute["id"], "warning_closed" if _inquiry(dispute) else "lost")


def decide(state: State, identifier: str, status: str) -> Object:
    """End a dispute with `won`, `lost`, `warning_closed` or `prevented`; a won one gives the money back."""
    dispute = _open(state, identifier)
    before = dict(dispute)
    if _inquiry(dispute) and status in ("won", "lost"):
        status = "warning_closed"
    dispute.update(status=status, is_charge_refundable=status != "lost")
    state.store.put(dispute)
    events.record(state, "charge.dispute.closed", dispute, before=before)
    if status in ("won", "prevented") and dispute["balance_transactions"]:
        _reinstate(state, dispute)
    return dispute


def escalate(state: State, identifier: str) -> Object:
    """Turn an inquiry into a chargeback."""
    dispute = _open(state, identifier)
    if not _inquiry(dispute):
        raise errors.ApiError("Only an inquiry can become a chargeback.")
    before = dict(dispute)
    dispute["status"] = "needs_response"
    dispute["is_charge_refundable"] = False
    dispute["payment_method_details"]["card"]["case_type"] = "chargeback"
    state.store.put(dispute)
    events.record(state, "charge.dispute.updated", dispute, before=before)
    _withdraw(state, dispute, state.get("charge", dispute["charge"]))
    return dispute


def blocks_refunds(state: State, charge: str) -> bool:
    """Whether the payer's bank has, or may still get, the money of this charge."""
    return not all(dispute["is_charge_refundable"] for dispute in state.store.select("dispute", charge=charge))


def lapse(state: State) -> None:
    """Close what nobody answered in time, by the sandbox's clock."""
    for dispute in state.store.select("dispute"):
        late = dispute["evidence_details"]["due_by"] <= state.clock.now()
        if late and dispute["status"] in ("needs_response", "warning_needs_response"):
            dispute["evidence_details"]["past_due"] = True
            state.store.put(dispute)
            decide(state, dispute["id"], "lost")


_VERDICTS = {"winning_evidence": "won", "losing_evidence": "lost"}


def _open(state: State, identifier: str) -> Object:
    dispute = state.get("dispute", identifier, param="dispute")
    if dispute["status"] in CLOSED:
        raise errors.ApiError("This dispute is already closed.")
    return dispute


def _inquiry(dispute: Object) -> bool:
    return bool(dispute["status"].startswith("warning"))


def _submit(dispute: Object) -> None:
    dispute["status"] = "warning_under_review" if _inquiry(dispute) else "under_review"
    dispute["evidence_details"]["submission_count"] += 1
    dispute["evidence_details"]["submission_method"] = "manual"


def _withdraw(state: State, dispute: Object, charge: Object) -> None:
    transaction = balance.post(
        state, "adjustment", dispute, amount=-dispute["amount"], fee=FEE_CENTS, category="dispute"
    )
    dispute["balance_transactions"].append(transaction)
    ledger.move(state, "dispute", charge, amount=-dispute["amount"], source=dispute["id"])
    state.store.put(dispute)
    events.record(state, "charge.dispute.funds_withdrawn", dispute)


def _reinstate(state: State, dispute: Object) -> None:
    transaction = balance.post(
        state,
        "adjustment",
        dispute,
        amount=dispute["amount"],
        fee=-FEE_CENTS,
        category="dispute_reversal",
        settled=True,
    )
    dispute["balance_transactions"].append(transaction)
    charge = state.get("charge", dispute["charge"])
    ledger.move(state, "dispute_reversal", charge, amount=dispute["amount"], source=dispute["id"])
    state.store.put(dispute)
    events.record(state, "charge.dispute.funds_reinstated", dispute)


def _render(state: State, charge: Object, *, reason: str, inquiry: bool, amount: int) -> Object:
    now = state.clock.now()
    return {
        "id": state.identifier("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + RESPONSE_DAYS * DAY,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "intended_submission_method": None,
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "network_reason_code": _NETWORK_CODES.get(reason, "10.4"),
        "payment_intent": charge["payment_intent"],
        "payment_method_details": _details(charge, reason=reason, inquiry=inquiry),
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }


_NETWORK_CODES = {
    "fraudulent": "10.4",
    "product_not_received": "13.1",
    "duplicate": "12.6.1",
    "credit_not_processed": "13.7",
}


def _details(charge: Object, *, reason: str, inquiry: bool) -> dict[str, Any]:
    card = charge["payment_method_details"].get("card")
    if card is None:
        return {"type": charge["payment_method_details"]["type"]}
    return {
        "type": "card",
        "card": {
            "brand": card["brand"],
            "case_type": "inquiry" if inquiry else "chargeback",
            "network": card["network"],
            "network_reason_code": _NETWORK_CODES.get(reason, "10.4"),
        },
    }
