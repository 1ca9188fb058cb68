"""Stripe's webhooks: the proof that one is Stripe's and of now, and what it says."""

import datetime
from collections.abc import Sequence
from typing import Any, Final

import orjson
import stripe
import structlog

from kobklein import errors as common_errors
from kobklein import signatures
from payments_service import errors, providers
from payments_service.providers import stripe_events, stripe_intents
from payments_service.states import EventMove

_INTENT: Final = "payment_intent"
_log = structlog.get_logger()


def verify(payload: bytes, signature: str, secrets: Sequence[str]) -> None:
    """Raise InvalidSignature unless one of `secrets` signed these bytes within the tolerance of now.

    The SDK checks the past only, and takes a header with several times, so both are checked beside it.
    """
    if not signature.isascii() or not signatures.is_current(signature):
        raise errors.InvalidSignature
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(payload, signature, secret, signatures.TOLERANCE_SECONDS)
        except (stripe.SignatureVerificationError, ValueError) as error:
            reason = error
        else:
            return
    _log.warning("webhook refused", reason=type(reason).__name__)
    raise errors.InvalidSignature from reason


def event(payload: bytes, *, live: bool | None) -> providers.Event:
    """Return the event in a verified body; raises InvalidArgument for one that is none, or of the other mode."""
    try:
        body = orjson.loads(payload)
        found = _event(body)
        mode = body["livemode"]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise common_errors.InvalidArgument.of("payload", "is not an event of Stripe") from error
    if live is not None and mode is not live:
        raise common_errors.InvalidArgument.of("payload", f"is an event of {'live' if mode else 'test'} mode")
    return found


def intent(payload: bytes) -> providers.Intent:
    """Return the intent in the body of an event; raises ValueError for one that we cannot read."""
    try:
        content = orjson.loads(payload)["data"]["object"]
        if content["object"] != _INTENT:
            raise ValueError("no intent of Stripe")
        return stripe_intents.intent(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("an intent that lacks something") from error


def _event(body: dict[str, Any]) -> providers.Event:
    if body["object"] != "event":
        raise ValueError("no event")
    kind, own = stripe_intents.name(body["type"]), body.get("account") is None
    return providers.Event(
        id=stripe_intents.name(body["id"]),
        type=kind,
        object_id=_object_id(body["data"]["object"])[: stripe_intents.MAX_NAME_LENGTH].replace("\0", ""),
        created_time=datetime.datetime.fromtimestamp(body["created"], datetime.UTC),
        move=stripe_events.move(kind) if own else EventMove.IGNORE,
        own=own,
    )


def _object_id(content: dict[str, Any]) -> str:
    """Return the intent that the event is about, so that events of one payment stay in order; else its object."""
    if content.get("object") == _INTENT:
        return str(content["id"])
    return str(content.get(_INTENT) or content.get("id") or "")
