"""A PaymentIntent of Stripe, in its JSON shape, as an `Intent`."""

import uuid
from collections.abc import Mapping
from typing import Any, Final

from payments_service import providers
from payments_service.providers import stripe_amounts
from payments_service.states import IntentStatus

MAX_NAME_LENGTH: Final = 255


def intent(body: Mapping[str, Any]) -> providers.Intent:
    """Return the intent; raises ValueError or KeyError for a shape or a status that we do not know."""
    currency = str(body["currency"]).upper()
    status = IntentStatus(body["status"])
    return providers.Intent(
        id=name(body["id"]),
        status=status,
        amount=stripe_amounts.from_stripe(body["amount"], currency),
        currency=currency,
        received_amount=stripe_amounts.from_stripe(body.get("amount_received") or 0, currency),
        capturable_amount=stripe_amounts.from_stripe(body.get("amount_capturable") or 0, currency),
        next_action=_next_action(body) if status is IntentStatus.REQUIRES_ACTION else None,
        decline=_decline(body),
        payment_id=payment_id(body),
    )


def name(given: Any) -> str:
    """Return an id or a type of Stripe's; raises ValueError for a text that is none, such as one with a NUL in it."""
    if not isinstance(given, str) or not 0 < len(given) <= MAX_NAME_LENGTH or not given.isprintable():
        raise ValueError("no name of Stripe's")
    return given


def decline(error: Mapping[str, Any]) -> providers.Decline:
    """Return why a card was refused: the bank's code where there is one."""
    code = error.get("decline_code") or error.get("code") or error.get("type") or "declined"
    return providers.Decline(code=str(code), message=str(error.get("message") or "The card was declined."))


def _decline(body: Mapping[str, Any]) -> providers.Decline | None:
    error = body.get("last_payment_error")
    return decline(error) if error else None


def _next_action(body: Mapping[str, Any]) -> providers.NextAction:
    action: Mapping[str, Any] = body.get("next_action") or {}
    redirect: Mapping[str, Any] = action.get("redirect_to_url") or {}
    return providers.NextAction(
        type=str(action.get("type") or "unknown"),
        redirect_url=str(redirect.get("url") or ""),
        client_secret=str(body.get("client_secret") or ""),
    )


def payment_id(body: Mapping[str, Any]) -> uuid.UUID | None:
    """Return the payment that an intent says it was made for."""
    try:
        return uuid.UUID((body.get("metadata") or {})["payment_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
