"""What every request passes first and every answer last: an id, a limit, safe headers, a log line, metrics."""

import time
from collections.abc import Callable
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import addresses, exchanges, metrics, problems, slots, webhooks
from gateway.settings import Settings

_log = structlog.get_logger()

_SAFE_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_DEFAULT_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""For answers that do not bring their own: pages of documentation do."""
_HSTS: Final = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")


class Edge:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, settings: Settings, *, pays: Callable[[Scope], bool] = lambda _: False) -> None:
        """Serve `app`; `pays` tells a request that charges a card."""
        self._app = app
        self._pays = pays
        self._settings = settings
        self._headers = (*_SAFE_HEADERS, _HSTS) if settings.demands_https else _SAFE_HEADERS
        self._slots = slots.Slots(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; no error leaves this method."""
        if scope["type"] != "http":
            return
        start = time.perf_counter()
        exchange = exchanges.begin(scope, receive, send, client=addresses.of(scope, self._settings.trusted_proxies))
        exchange.send = self._send(exchange, send)
        metrics.RUNNING.inc()
        try:
            await self._serve(exchange)
        finally:
            metrics.RUNNING.dec()
            _record(exchange, time.perf_counter() - start)

    async def _serve(self, exchange: exchanges.Exchange) -> None:
        path = exchange.scope["path"]
        if path in slots.HEALTH:
            await self._answer(exchange)
            return
        exchange.signed = path in webhooks.PATHS
        try:
            exchange.slot = self._take(exchange)
        except problems.Refused as refused:
            await exchange.refuse(refused.problem)
            return
        try:
            await self._answer(exchange)
        finally:
            exchange.slot.free()
        if exchange.signed and exchange.status == 200:
            self._slots.webhooks.trust(addresses.limited_as(exchange.client))

    def _take(self, exchange: exchanges.Exchange) -> slots.Slot:
        if exchange.signed:
            return self._slots.take_webhook(addresses.limited_as(exchange.client))
        return self._slots.take_payment() if self._pays(exchange.scope) else self._slots.take()

    async def _answer(self, exchange: exchanges.Exchange) -> None:
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception as error:  # The edge of the process: whatever it is, the client gets a problem document.
            _log.error("internal error", route=exchange.route, request_id=exchange.request_id, exc_info=error)
            if exchange.status == 0:
                await exchange.refuse(problems.of(error))

    def _send(self, exchange: exchanges.Exchange, send: Send) -> Send:
        request_id = (b"x-request-id", exchange.request_id.encode())

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = message["headers"] = [*message.get("headers", ()), request_id, *self._headers]
                present = {name for name, _ in headers}
                headers += [header for header in _DEFAULT_HEADERS if header[0] not in present]
            await send(message)

        return with_headers


def _record(exchange: exchanges.Exchange, seconds: float) -> None:
    method, route, status = exchange.scope["method"], exchange.route, exchange.status
    metrics.record(route=route, method=method, status=status, seconds=seconds)
    _log.info(
        "request",
        method=method,
        route=route,
        status=status,
        ms=round(seconds * 1000, 1),
        subject=exchange.subject,
        client=exchange.client,
        **({"detail": exchange.refusal} if exchange.refusal else {}),
        request_id=exchange.request_id,
    )
