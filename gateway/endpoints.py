"""What happens between a matched route and its answer, the same for every RPC of the contract."""

import abc
from typing import Any

import grpc
from google.protobuf import message, message_factory

from gateway import bindings, bodies, callers, exchanges, metadata, requests, writer
from gateway.settings import Settings
from kobklein.options.v1 import options_pb2

_JSON_HEADER = (b"content-type", b"application/json")


class Endpoint(abc.ABC):
    """Serves one route: admits the caller, reads the request, and leaves call and answer to its subclass."""

    def __init__(
        self, binding: bindings.Binding, channel: grpc.aio.Channel, access: callers.AccessControl, settings: Settings
    ) -> None:
        self.binding = binding
        self._access = access
        self._settings = settings
        self._read = requests.RequestReader(binding)
        self._longest_body = binding.method.rules.max_body_bytes or settings.longest_body_bytes
        self._part = binding.method.part
        self._call = self._callable(channel)

    async def __call__(self, exchange: exchanges.Exchange, segments: list[str]) -> None:
        """Serve one request; what refuses it is raised, for the application to turn into a problem document."""
        exchange.client_view, exchange.part = self._read.client_view, self._part
        await self._access.admit(self.binding.method, exchange)
        carried = metadata.of(exchange, self.binding.method, keys_required=self._settings.require_idempotency_keys)
        body = await self._body(exchange)
        request = self._read(segments, exchange.scope["query_string"], body, exchange.headers)
        await self._respond(exchange, request, carried)

    def takes_path(self, segments: list[str]) -> bool:
        """Whether the variables of the path hold what their fields may hold."""
        return self._read.takes_path(segments)

    async def _body(self, exchange: exchanges.Exchange) -> bytes:
        headers = exchange.headers
        if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
            return b""
        if self.binding.body:
            bodies.check_json(headers)
        return await bodies.read(exchange.receive, headers, longest=self._longest_body)

    @abc.abstractmethod
    def _callable(self, channel: grpc.aio.Channel) -> Any:
        """Return the RPC as a callable of the channel."""

    @abc.abstractmethod
    async def _respond(
        self, exchange: exchanges.Exchange, request: message.Message, carried: metadata.Metadata
    ) -> None:
        """Call the service and answer."""


class UnaryEndpoint(Endpoint):
    """Serves a route whose RPC answers once; how the answer is shown is left to its subclass."""

    def __init__(
        self, binding: bindings.Binding, channel: grpc.aio.Channel, access: callers.AccessControl, settings: Settings
    ) -> None:
        super().__init__(binding, channel, access, settings)
        self._tagged = requests.has_text_field(binding.response_type, requests.ETAG)
        self._status = success_status(binding)
        self._tried = requests.takes_dry_run(binding.request_type)
        self._seconds = _default_seconds(binding, settings)
        self._reads = binding.method.reads

    def _callable(self, channel: grpc.aio.Channel) -> Any:
        return channel.unary_unary(
            self.binding.method.path,
            request_serializer=self._read.make.SerializeToString,
            response_deserializer=message_factory.GetMessageClass(self.binding.response_type).FromString,
        )

    async def _respond(
        self, exchange: exchanges.Exchange, request: message.Message, carried: metadata.Metadata
    ) -> None:
        timeout = metadata.timeout_seconds(exchange, default=self._seconds, longest=self._settings.longest_call_seconds)
        call = self._call(request, timeout=timeout, metadata=carried)
        # A dry run creates nothing, whatever the call would.
        tried = self._tried and getattr(request, requests.DRY_RUN)
        response = await self._result(exchange, call, reads=self._reads or tried)
        headers = metadata.response_headers(await call.trailing_metadata())
        if self._tagged and response.etag:
            tag = b'"%s"' % response.etag.encode()
            headers.append((b"etag", tag))
            if self.binding.http_method == "GET" and _matches(exchange.headers.get(b"if-none-match"), tag):
                await exchange.start(304, headers)
                await exchange.send({"type": "http.response.body", "body": b""})
                return
        await self._answer(exchange, call, response, 200 if tried else self._status, headers)

    async def _result(self, exchange: exchanges.Exchange, call: Any, *, reads: bool) -> Any:
        """Return the answer of a call; a client that leaves ends one that only reads, and no other."""
        if not reads:
            return await call
        with exchange.departure.cancels(call):
            return await call

    @abc.abstractmethod
    async def _answer(
        self, exchange: exchanges.Exchange, call: Any, response: Any, status: int, headers: list[exchanges.Header]
    ) -> None:
        """Send the answer of a call with the headers that each kind of answer has."""


class JsonEndpoint(UnaryEndpoint):
    """Serves a route whose RPC answers once, in JSON."""

    def __init__(
        self, binding: bindings.Binding, channel: grpc.aio.Channel, access: callers.AccessControl, settings: Settings
    ) -> None:
        super().__init__(binding, channel, access, settings)
        field = binding.response_field
        self._show = writer.field_shown(field) if field is not None else writer.shown(binding.response_type)

    async def _answer(
        self, exchange: exchanges.Exchange, _call: Any, response: Any, status: int, headers: list[exchanges.Header]
    ) -> None:
        if status == 204:
            await exchange.start(204, headers)
            await exchange.send({"type": "http.response.body", "body": b""})
        else:
            await exchange.answer(status, writer.dumps(self._show(response)), [_JSON_HEADER, *headers])


def success_status(binding: bindings.Binding) -> int:
    """Return the HTTP status of success."""
    empty = binding.response_type.full_name == "google.protobuf.Empty"
    return binding.method.rules.success_status or (204 if empty else 200)


def _default_seconds(binding: bindings.Binding, settings: Settings) -> float:
    report = binding.method.rules.rate_limit == options_pb2.RATE_LIMIT_REPORT
    return settings.longest_call_seconds if report else settings.call_seconds


def _matches(header: bytes | None, tag: bytes) -> bool:
    """Whether `If-None-Match` names the tag; weak tags count, as they do for reading."""
    if header is None:
        return False
    given = [one.strip().removeprefix(b"W/") for one in header.split(b",")]
    return b"*" in given or tag in given
