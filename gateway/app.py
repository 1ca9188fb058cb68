"""The application: everything of the gateway wired together."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import grpc
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from gateway import (
    backends,
    bindings,
    callers,
    docs,
    endpoints,
    exchanges,
    files,
    landing,
    middleware,
    openapi,
    operations,
    payments,
    problems,
    routes,
    streams,
    webhooks,
)
from gateway.settings import Settings
from kobklein import auth, errors, ratelimits
from kobklein.options.v1 import options_pb2

_log = structlog.get_logger()
_NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}
_CORS_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_CORS_REQUEST_HEADERS: Final = (
    "authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "grpc-timeout", "last-event-id",
    "x-request-id",
)  # fmt: skip
_CORS_RESPONSE_HEADERS: Final = ("content-disposition", "etag", "idempotency-replayed", "retry-after", "x-request-id")


def create(
    settings: Settings, services: Sequence[backends.Backend], *, texts: Mapping[str, str] | None = None
) -> ASGIApp:
    """Return the application in front of the given services; `texts` are the contract's comments by full name."""
    failures = callers.Failures(settings)
    access = callers.AccessControl(
        auth.Verifier(settings.auth), ratelimits.RateLimiter(settings.rates, scope="gateway "), failures
    )
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, telemetry=_NO_TELEMETRY)
    app.router.redirect_slashes = False
    served = list(_endpoints(settings, services, access))
    received = list(_webhooks(settings, services, access))
    contract = routes.ContractRoutes(
        served, others=[webhook.path for webhook in received], suggests=settings.shows_docs
    )
    app.router.routes += [contract, *received]
    app.router.default = contract.unknown
    app.include_router(operations.router(services, shows_metrics=settings.shows_metrics))
    app.include_router(landing.router(shows_docs=settings.shows_docs, shows_metrics=settings.shows_metrics))
    if settings.shows_docs:
        described = openapi.document(
            [endpoint.binding for endpoint in served], texts or {}, keys_required=settings.require_idempotency_keys
        )
        app.include_router(docs.router(described))
        app.router.routes.append(docs.static())
    for kind in (errors.Error, grpc.aio.AioRpcError, problems.Refused, HTTPException, Exception):
        app.add_exception_handler(kind, functools.partial(_refusal, failures))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=_CORS_METHODS,
            allow_headers=_CORS_REQUEST_HEADERS,
            expose_headers=_CORS_RESPONSE_HEADERS,
        )
    return middleware.Edge(app, settings, pays=lambda scope: contract.finds(scope, payments.PaymentEndpoint))


def _endpoints(
    settings: Settings, services: Sequence[backends.Backend], access: callers.AccessControl
) -> Iterator[endpoints.Endpoint]:
    for backend in services:
        for binding in bindings.of(backend.methods.values()):
            yield _kind_of_endpoint(binding)(binding, backend.channel, access, settings)


def _kind_of_endpoint(binding: bindings.Binding) -> Callable[..., endpoints.Endpoint]:
    if binding.method.descriptor.server_streaming:
        return files.FileStreamEndpoint if binding.answers_file else streams.MessageStreamEndpoint
    if binding.method.rules.rate_limit == options_pb2.RATE_LIMIT_PAYMENT:
        return payments.PaymentEndpoint
    return files.FileEndpoint if binding.answers_file else endpoints.JsonEndpoint


def _webhooks(
    settings: Settings, services: Sequence[backends.Backend], access: callers.AccessControl
) -> Iterator[webhooks.WebhookRoute]:
    for backend in services:
        method = backend.methods.get(webhooks.METHOD)
        if method is not None:
            for provider in webhooks.SIGNATURE_HEADERS:
                yield webhooks.WebhookRoute(provider, backend.channel, method, access, settings)


async def _refusal(failures: callers.Failures, request: Request, error: Exception) -> Response:
    """Return the problem document of whatever was raised; the one place where errors become answers."""
    exchange = exchanges.of(request.scope)
    problem = problems.of(error, exchange.client_view, part=exchange.part)
    if problem.status in (401, 403):
        exchange.refusal = problem.detail
    try:
        await failures.count(exchange, problem.status)
    except errors.RateLimited as limited:
        problem = problems.of(limited)
    if isinstance(error, grpc.aio.AioRpcError) and problem.status == problems.INTERNAL:
        _log.error(
            "call failed",
            route=exchange.route,
            code=error.code().name,
            details=error.details(),
            request_id=exchange.request_id,
        )
    response = Response(
        problem.body(instance=exchange.path, request_id=exchange.request_id),
        status_code=problem.status,
        media_type=problems.CONTENT_TYPE.decode(),
    )
    response.raw_headers.extend(problem.headers)
    return response
