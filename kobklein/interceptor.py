"""The one place every call to a service goes through: identity, rules, limits, errors, logs and metrics."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import grpc
import structlog
from google.protobuf import message
from google.rpc import status_pb2
from grpc_status import rpc_status

from kobklein import (
    auth,
    calls,
    contract,
    errors,
    ids,
    metrics,
    origins,
    peers,
    ratelimits,
    running_calls,
    streams,
)
from kobklein.options.v1 import options_pb2
from kobklein.settings import ServiceSettings

_log = structlog.get_logger()
_Context = grpc.aio.ServicerContext[Any, Any]
_Unary = Callable[[Any, _Context], Awaitable[Any]]
_Stream = Callable[[Any, _Context], AsyncIterator[Any]]
_MAX_KEY_LENGTH: Final = 255
_REPLAYED: Final = (("idempotency-replayed", "true"),)
_NO_REPETITION: Final = ("grpc-retry-pushback-ms", "-1")
"""Tells a gRPC channel, in trailing metadata, not to repeat the call whatever its retry policy says (gRFC A6)."""


class Interceptor(grpc.aio.ServerInterceptor):
    """Wraps the methods of the contract; health and reflection, which are not in it, pass as they are."""

    def __init__(
        self,
        methods: Mapping[str, contract.Method],
        *,
        verifier: auth.Verifier,
        limiter: ratelimits.RateLimiter,
        settings: ServiceSettings,
    ) -> None:
        self._methods = methods
        self._verifier = verifier
        self._limiter = limiter
        self._settings = settings
        self._running = running_calls.RunningCalls(settings.concurrent_calls)
        self._streams = streams.Streams(verifier, settings)
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the wrapped handler of a method; it is made once."""
        method = self._methods.get(details.method)
        if method is None:
            return await continuation(details)
        if details.method not in self._handlers:
            handler = await continuation(details)
            if handler is None:
                return None
            self._handlers[details.method] = self._wrapped(method, handler)
        return self._handlers[details.method]

    def _wrapped(self, method: contract.Method, handler: Any) -> Any:
        codecs = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), **codecs)
        return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), **codecs)

    def _unary(self, method: contract.Method, serve: _Unary) -> _Unary:
        async def unary(request: message.Message, context: _Context) -> Any:
            with _Record(method) as record:
                try:
                    with self._running.one_more(method.rules.rate_limit):
                        answer, replayed = await self._served(method, request, context, record, serve)
                except Exception as error:  # The edge of the service: every error becomes a status.
                    refusal = record.refused(error)
                else:
                    if replayed:
                        context.set_trailing_metadata(_REPLAYED)
                    return answer
            return await context.abort(*refusal)

        return unary

    async def _served(
        self, method: contract.Method, request: message.Message, context: _Context, record: "_Record", serve: _Unary
    ) -> tuple[Any, bool]:
        """Return the answer of a call within its time, and whether it is that of an earlier call."""
        async with asyncio.timeout(self._seconds(method, context)) as time_left:
            call = await self._admit(method, request, context, record)
            call.deadline = time_left.when() or call.deadline
            token = calls.enter(call)
            try:
                return await serve(request, context), call.replayed
            finally:
                calls.leave(token)

    def _stream(self, method: contract.Method, serve: _Stream) -> _Stream:
        async def stream(request: message.Message, context: _Context) -> AsyncIterator[Any]:
            with _Record(method) as record:
                try:
                    call = await self._admit(method, request, context, record)
                    calls.enter(call)
                    async with self._streams.one_more(call.caller):
                        async for answer in serve(request, context):
                            yield answer
                except Exception as error:  # As above.
                    refusal = record.refused(error)
                else:
                    return
            await context.abort(*refusal)

        return stream

    async def _admit(
        self, method: contract.Method, request: message.Message, context: _Context, record: "_Record"
    ) -> calls.Call:
        """Return the call once everything the contract asks of it holds: caller, role, subject, budget, values, key."""
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        origin = origins.given(metadata) or origins.Origin(ids.text(), origins.trace(metadata))
        record.request_id = origin.request_id
        origins.enter(origin)
        record.client = peers.client_address(context, metadata, trusted=self._settings.trusted_processes)
        caller = None if method.anonymous else self._verifier.verify(auth.bearer(metadata.get("authorization", "")))
        record.subject = caller.subject if caller else ""
        if caller is not None and contract.SERVICE in caller.roles:
            self._trace_to_many(metadata, record)
        unrestricted = auth.authorize(method, caller, request)
        record.owner = None if unrestricted else record.subject
        if (payer := _payer(method, caller, request, record.client)) is not None:
            await self._limiter.check(method.rules.rate_limit, payer)
        method.check(request)
        key = self._key(method, metadata)
        record.call = calls.Call(
            caller, unrestricted, record.request_id, key, record.client, unrestricted_roles=method.any
        )
        return record.call

    def _key(self, method: contract.Method, metadata: Mapping[str, str]) -> str:
        """Return the key of a call; empty for a call without one, where that is allowed."""
        key = metadata.get(calls.KEY, "")
        if len(key) > _MAX_KEY_LENGTH or not key.isprintable():
            raise errors.InvalidArgument.of("idempotency_key", f"is not 1 to {_MAX_KEY_LENGTH} printable characters")
        given = key and calls.KEY_IS_MADE not in metadata
        if not given and method.advises_key and self._settings.require_idempotency_keys:
            raise errors.IdempotencyKeyMissing
        return key

    @staticmethod
    def _trace_to_many(metadata: Mapping[str, str], record: "_Record") -> None:
        """Take the ids of all the requests that another service makes one call for."""
        origin = origins.given(metadata, longest=origins.MAX_JOINED_LENGTH)
        if origin is not None:
            record.request_id = origin.request_id
            origins.enter(origin)

    def _seconds(self, method: contract.Method, context: _Context) -> float:
        report = method.rules.rate_limit == options_pb2.RATE_LIMIT_REPORT
        longest = self._settings.longest_report_seconds if report else self._settings.longest_call_seconds
        remaining = context.time_remaining()
        return longest if remaining is None else min(longest, remaining)


def _payer(method: contract.Method, caller: auth.Caller | None, request: message.Message, client: str) -> str | None:
    """Return whose budget a call is counted against; None for nobody's.

    Another service acts for very many users, whose calls must not use up one budget between them: each user that it
    names has one of their own with it, apart from that of their own calls. Where it names nobody, it is trusted to keep
    to what it has to do, as with internal traffic.
    """
    if caller is None:
        return f"address {client}"
    if contract.SERVICE not in caller.roles:
        return caller.subject
    user_id = method.subject(request)
    return f"{caller.subject} for {user_id}" if user_id else None


class _Refusal(NamedTuple):
    """How a call is refused, as `abort` of its context takes it."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def _refusal(status: status_pb2.Status, *metadata: tuple[str, str]) -> _Refusal:
    """Return a rich status, and what else the channel is told."""
    rich = rpc_status.to_status(status)
    return _Refusal(rich.code, rich.details, (*rich.trailing_metadata, *metadata))


class _Record:
    """Measures one call and writes its line in the log, however it ends."""

    def __init__(self, method: contract.Method) -> None:
        self._method = method
        self.request_id, self.subject, self.client = "", "", ""
        self.call: calls.Call | None = None
        """The call, once it is admitted."""
        self.owner: str | None = ""
        """As the call's; until the caller is proved, that of nobody."""
        self._code = grpc.StatusCode.OK
        self._reason, self._detail = "", ""

    def __enter__(self) -> "_Record":
        self._start = time.perf_counter()
        metrics.RUNNING.inc()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._code = grpc.StatusCode.CANCELLED
        seconds = time.perf_counter() - self._start
        path, code = self._method.path, self._code.name
        metrics.RUNNING.dec()
        metrics.calls(path, code).inc()
        metrics.seconds(path).observe(seconds)
        notice = self.call.notice if self.call is not None else ""
        (_log.warning if notice else _log.info)(
            "call",
            method=path,
            code=code,
            reason=self._reason,
            **({"detail": detail} if (detail := self._detail or notice) else {}),
            ms=round(seconds * 1000, 1),
            subject=self.subject,
            client=self.client,
            request_id=self.request_id,
        )

    def refused(self, error: Exception) -> _Refusal:
        """Return how the call is refused for `error`, as far as its caller may know, and remember the whole of it."""
        if isinstance(error, errors.Error):
            shown = error.shown_to(self.owner)
            self._code, self._reason = shown.code, error.reason
            if isinstance(error, errors.Unauthenticated | errors.PermissionDenied):
                self._detail = str(error)  # Who connects an identity provider looks for it here.
            return _refusal(errors.to_status(shown), *(() if shown.repeated_by_channels else (_NO_REPETITION,)))
        if isinstance(error, TimeoutError):
            self._code = grpc.StatusCode.DEADLINE_EXCEEDED
            return _refusal(status_pb2.Status(code=self._code.value[0], message="the call took longer than it may"))
        self._code = grpc.StatusCode.INTERNAL
        _log.error("internal error", method=self._method.path, exc_info=error)
        return _refusal(errors.internal_status())
