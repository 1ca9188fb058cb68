"""Stripe, through its official SDK."""

import asyncio
import datetime
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import httpx
import stripe as sdk
import structlog

from payments_service import providers
from payments_service.providers import stripe_amounts, stripe_intents, stripe_webhooks
from payments_service.settings import StripeSettings
from payments_service.states import IntentStatus

API_VERSION: Final = "2026-10-28.endive"
"""Pinned here, and for the webhook endpoint too: an upgrade is a change of this line."""
_FIELDS: Final = {"payment_method": "payment_method_id", "amount": "amount", "currency": "currency"}
"""Fields of ours that Stripe's parameters come from."""
_CLOCK_SKEW: Final = datetime.timedelta(minutes=10)
_MOST_LISTED: Final = 20_000
_TOO_SMALL: Final = "amount_too_small"
_STATE_CHANGED: Final = "payment_intent_unexpected_state"
_log = structlog.get_logger()
T = TypeVar("T")


class Stripe:
    """A `Provider`. Keys and API version are those of its own client; the SDK's globals are not touched."""

    def __init__(self, settings: StripeSettings, *, timeout_seconds: float, live: bool | None) -> None:
        self._settings = settings
        self._timeout_seconds = timeout_seconds
        self._live = live
        self._secrets = [secret.get_secret_value() for secret in settings.webhook_secrets]
        self._http = sdk.HTTPXClient(timeout=httpx.Timeout(settings.reply_seconds, connect=settings.connect_seconds))
        self._client = sdk.StripeClient(
            settings.secret_key.get_secret_value(),
            stripe_version=API_VERSION,
            base_addresses={"api": settings.api_base} if settings.api_base else {},
            max_network_retries=settings.retries,
            http_client=self._http,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the SDK types its resources, not its clients

    def check(self, amount: int, currency: str) -> None:
        """See Provider."""
        stripe_amounts.to_stripe(amount, currency)

    async def authorise(self, charge: providers.Charge) -> providers.Outcome:
        """See Provider. One request creates and confirms the intent; the key of it is that of the charge.

        Stripe keeps an answer 5xx under the key and repeats it for ever. Such a repeated answer proves that the request
        has ended, so that a look at the list then tells for sure whether it made an intent.
        """
        try:
            return await self._intent(lambda: self._create(charge))
        except sdk.CardError as error:
            return _declined(error)
        except sdk.InvalidRequestError as error:
            return await self._undone(error) or _refused(error, charge.currency)
        except _Replayed as error:
            found = await self.find(charge.payment_id, since=charge.asked_time)
            return found or providers.Refused(code="provider_error", message=str(error))

    async def _undone(self, error: sdk.InvalidRequestError) -> providers.Outcome | None:
        """Cancel the intent that a refused request left behind, if it did; return it if it could not be cancelled.

        Only then may the payment be given up: an intent that is open could be paid later.
        """
        left = _error(error).get("payment_intent")
        if not left:
            return None
        outcome = await self.cancel(stripe_intents.name(left["id"]))
        cancelled = isinstance(outcome, providers.Intent) and outcome.status is IntentStatus.CANCELED
        return None if cancelled else outcome

    def _create(self, charge: providers.Charge) -> Awaitable[sdk.PaymentIntent]:
        return self._client.v1.payment_intents.create_async(
            {
                "amount": stripe_amounts.to_stripe(charge.amount, charge.currency),
                "currency": charge.currency.lower(),
                "payment_method": charge.payment_method_id,
                "allowed_payment_method_types": ["card"],
                "confirm": True,
                "return_url": self._settings.return_url,
                "description": f"Payment {charge.reference}",
                "metadata": {
                    "payment_id": str(charge.payment_id),
                    "reference": charge.reference,
                    "user_id": charge.user_id,
                },
            },
            {"idempotency_key": charge.key},
        )

    async def confirm(self, intent_id: str) -> providers.Outcome:
        """See Provider. An intent that has moved on meanwhile is returned as it is."""
        try:
            return await self._intent(lambda: self._client.v1.payment_intents.confirm_async(intent_id))
        except sdk.CardError as error:
            return _declined(error)
        except sdk.InvalidRequestError as error:
            return await self._as_it_is(intent_id, error)

    async def fetch(self, intent_id: str) -> providers.Outcome:
        """See Provider."""
        try:
            return await self._intent(lambda: self._client.v1.payment_intents.retrieve_async(intent_id))
        except sdk.InvalidRequestError as error:
            raise providers.Unknown(repr(error)) from error

    async def cancel(self, intent_id: str) -> providers.Outcome:
        """See Provider."""
        try:
            return await self._intent(lambda: self._client.v1.payment_intents.cancel_async(intent_id))
        except sdk.InvalidRequestError as error:
            return await self._as_it_is(intent_id, error)

    async def find(self, payment_id: uuid.UUID, *, since: datetime.datetime) -> providers.Intent | None:
        """See Provider. The list is newest first and complete, unlike Stripe's search, which lags behind."""
        earliest = int((since - _CLOCK_SKEW).timestamp())
        try:
            return await self._ask(lambda: self._listed(payment_id, earliest))
        except sdk.InvalidRequestError as error:
            raise providers.Unknown(repr(error)) from error

    async def _listed(self, payment_id: uuid.UUID, earliest: int) -> providers.Intent | None:
        page = await self._client.v1.payment_intents.list_async({"limit": 100, "created": {"gte": earliest}})
        seen = 0
        async for listed in page.auto_paging_iter():
            body = listed.to_dict()
            if stripe_intents.payment_id(body) == payment_id:
                return _readable(body)
            seen += 1
            if seen >= _MOST_LISTED:
                raise providers.Unknown(f"not among the newest {_MOST_LISTED} intents")
        return None

    def event(self, payload: bytes, signature: str) -> providers.Event:
        """See Provider."""
        stripe_webhooks.verify(payload, signature, self._secrets)
        return stripe_webhooks.event(payload, live=self._live)

    def intent(self, payload: bytes) -> providers.Intent:
        """See Provider."""
        return stripe_webhooks.intent(payload)

    async def _as_it_is(self, intent_id: str, error: sdk.InvalidRequestError) -> providers.Outcome:
        if error.code != _STATE_CHANGED:
            raise providers.Unknown(repr(error)) from error
        return await self.fetch(intent_id)

    async def _intent(self, request: Callable[[], Awaitable[sdk.PaymentIntent]]) -> providers.Intent:
        return _readable((await self._ask(request)).to_dict())

    async def _patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        """Repeat a request that came too soon after others, which the SDK does not; the rest it repeats itself."""
        for attempt in range(self._settings.retries):
            try:
                return await request()
            except sdk.RateLimitError:
                await asyncio.sleep(random.uniform(0.25, 0.5) * 2**attempt)  # noqa: S311  # jitter, not a secret
        return await request()

    async def _ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """Await a request within the limits; only what Stripe says about the card or the request passes as it is."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._patiently(request)
        except (sdk.CardError, sdk.InvalidRequestError):
            raise
        except (sdk.AuthenticationError, sdk.PermissionError) as error:
            _log.error("stripe refuses our key", error=type(error).__name__, request=error.request_id)
            raise providers.Unknown(repr(error)) from error
        except sdk.APIError as error:
            if (error.http_status or 0) >= 500 and (error.headers or {}).get("idempotent-replayed") == "true":
                raise _Replayed(error.user_message or "the provider failed") from error
            raise providers.Unknown(repr(error)) from error
        except (sdk.StripeError, TimeoutError) as error:
            raise providers.Unknown(repr(error)) from error


def _readable(body: dict[str, Any]) -> providers.Intent:
    try:
        return stripe_intents.intent(body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise providers.Unknown(f"an intent that we cannot read: {error!r}") from error


class _Replayed(providers.Unknown):
    """Stripe repeated an answer 5xx that it keeps under the key: the request has ended, nobody says how."""


def _error(error: sdk.StripeError) -> dict[str, Any]:
    found: dict[str, Any] = error.json_body["error"] if isinstance(error.json_body, dict) else {}
    return found


def _declined(error: sdk.CardError) -> providers.Outcome:
    body = _error(error)
    intent = body.get("payment_intent")
    if intent:
        return stripe_intents.intent({**intent, "last_payment_error": intent.get("last_payment_error") or body})
    reason = stripe_intents.decline({"code": error.code, "message": error.user_message, **body})
    return providers.Refused(code=reason.code, message=reason.message)


def _refused(error: sdk.InvalidRequestError, currency: str) -> providers.Refused:
    """Return a refusal in words for the caller, whose amounts are decimals and not Stripe's units."""
    message = error.user_message or "The provider refused the request."
    return providers.Refused(
        code=error.code or "invalid_request",
        message=stripe_amounts.too_small(currency) if error.code == _TOO_SMALL else message,
        field=_FIELDS.get(str(error.param), ""),
    )
