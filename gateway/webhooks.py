"""Webhooks of payment providers: the raw bytes and their signature go to the payments service, which verifies them."""

import asyncio
from typing import Final

import grpc
import orjson
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from gateway import bodies, callers, exchanges, metadata, problems, routes
from gateway.settings import Settings
from kobklein import contract, errors, signatures
from kobklein.payments.v1 import payments_pb2, payments_pb2_grpc

SERVICE: Final = "kobklein.payments.v1.PaymentsService"
METHOD: Final = f"/{SERVICE}/ReceiveWebhook"
SIGNATURE_HEADERS: Final = {"stripe": "Stripe-Signature"}
"""The header that carries each provider's signature."""
_RECEIVED: Final = orjson.dumps({"received": True})


class WebhookRoute(BaseRoute):
    """`POST /payments/{provider}/webhook` of one provider."""

    def __init__(
        self,
        provider: str,
        channel: grpc.aio.Channel,
        method: contract.Method,
        access: callers.AccessControl,
        settings: Settings,
    ) -> None:
        self.path = path(provider)
        self._provider = provider
        self._header = SIGNATURE_HEADERS[provider].lower().encode()
        self._stub = payments_pb2_grpc.PaymentsServiceStub(channel)
        self._method = method
        self._longest = method.rules.max_body_bytes or settings.longest_body_bytes
        self._access = access
        self._settings = settings

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return a full match for the path, whatever the method."""
        return (Match.FULL if scope["type"] == "http" and scope["path"] == self.path else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200 once the service has stored the event, and only then: the provider sends it again otherwise."""
        exchange = exchanges.of(scope)
        exchange.go_through(receive, send)
        exchange.route, exchange.part = self.path, self._method.part
        if scope["method"] != "POST":
            raise routes.not_allowed(["POST"])
        await self._receive_event(exchange)
        await exchange.answer(200, _RECEIVED, [(b"content-type", b"application/json")])

    async def _receive_event(self, exchange: exchanges.Exchange) -> None:
        await self._access.admit(self._method, exchange)
        signature = exchange.headers.get(self._header)
        if not signature:
            raise errors.InvalidArgument.of(SIGNATURE_HEADERS[self._provider], "is required")
        if not signatures.is_current(signature.decode("latin-1")):
            raise errors.InvalidArgument.of(SIGNATURE_HEADERS[self._provider], signatures.NOT_CURRENT)
        payload = await self._payload(exchange)
        if not payload:
            raise errors.InvalidArgument.of("body", "is required")
        request = payments_pb2.ReceiveWebhookRequest(
            provider=self._provider, payload=payload, signature=signature.decode("latin-1")
        )
        await self._stub.ReceiveWebhook(
            request, timeout=self._settings.call_seconds, metadata=metadata.of(exchange, self._method)
        )

    async def _payload(self, exchange: exchanges.Exchange) -> bytes:
        try:
            async with asyncio.timeout(self._settings.webhook_seconds):
                return await bodies.read(exchange.receive, exchange.headers, longest=self._longest)
        except TimeoutError:
            raise problems.Refused(408, "the body did not arrive in time", (b"connection", b"close")) from None


def path(provider: str) -> str:
    """Return the path that a provider's webhooks come to."""
    return f"/payments/{provider}/webhook"


PATHS: Final = frozenset(map(path, SIGNATURE_HEADERS))
