"""RPCs that answer many times, as lines of JSON (NDJSON) or as server-sent events (SSE)."""

import abc
import asyncio
import contextlib
import re
import time
from typing import Any, Final, Protocol

import grpc
import orjson
from google.protobuf import message, message_factory

from gateway import bindings, callers, endpoints, exchanges, metadata, problems, requests, writer
from gateway.settings import Settings

_SSE: Final = "text/event-stream"
_EVENT_ID: Final = re.compile(r"[^\0\r\n]+")


class Framing(Protocol):
    """How messages become bytes of one long body."""

    content_type: bytes

    def message(self, text: bytes, cursor: str | None) -> bytes:
        """Return the frame of a message; `cursor` is None where messages of its type have none."""

    def position(self, text: bytes, cursor: str) -> bytes:
        """Return the frame of a message that says nothing but its cursor: where a stream starts."""

    def heartbeat(self) -> bytes:
        """Return what shows that the stream is alive while there is nothing to say."""

    def error(self, problem: bytes) -> bytes:
        """Return the last frame of a stream that broke off."""

    def end(self) -> bytes:
        """Return the last frame of a stream that said everything."""


class Lines:
    """One JSON object a line; the last line of a stream that breaks off is an array, `["problem", problem]`.

    No message is an array, whatever its fields are called; and a client that expects objects alone notices.
    """

    content_type = b"application/x-ndjson"

    def message(self, text: bytes, _cursor: str | None) -> bytes:
        """Return a line; a cursor stands in the text already."""
        return text + b"\n"

    def position(self, text: bytes, _cursor: str) -> bytes:
        """Return a line like any other."""
        return text + b"\n"

    def heartbeat(self) -> bytes:
        """Return nothing: a line always means a message."""
        return b""

    def error(self, problem: bytes) -> bytes:
        """Return the line of the problem."""
        return b'["problem",%s]\n' % problem

    def end(self) -> bytes:
        """Return nothing: the body ends."""
        return b""


class Events:
    """One event a message, then an event `end` if all is said, or `problem` if it broke off.

    The id of an event is the message's cursor, which a client gives back when it reconnects; without cursors, it is
    the event's number, from 1 on. Clients reconnect until they are closed: they should be at `end`, and at a `problem`
    that will come again. A stream that can be resumed has no `end`: it is only over for now.
    """

    content_type = b"text/event-stream"

    def __init__(self, *, resumable: bool) -> None:
        self._resumable = resumable
        self._number = 0

    def message(self, text: bytes, cursor: str | None) -> bytes:
        """Return an event; a cursor that no id can hold, or none, leaves the id of the event before."""
        self._number += 1
        identity = str(self._number) if cursor is None else cursor
        if not _EVENT_ID.fullmatch(identity):
            return b"data: %s\n\n" % text
        return b"id: %s\ndata: %s\n\n" % (identity.encode(), text)

    def position(self, _text: bytes, cursor: str) -> bytes:
        """Return an id without data, which a client keeps to go on after."""
        return b"id: %s\n\n" % cursor.encode() if _EVENT_ID.fullmatch(cursor) else b""

    def heartbeat(self) -> bytes:
        """Return a comment."""
        return b": still here\n\n"

    def error(self, problem: bytes) -> bytes:
        """Return the event of the problem."""
        return b"event: problem\ndata: %s\n\n" % problem

    def end(self) -> bytes:
        """Return the event that ends the stream; nothing where the client is to go on by itself."""
        return b"" if self._resumable else b"event: end\ndata: {}\n\n"


def framing(headers: dict[bytes, bytes], *, resumable: bool) -> Framing:
    """Return the framing that `Accept` asks for."""
    accepted = headers.get(b"accept", b"").decode("latin-1").lower()
    wanted = [media_range.partition(";")[0].strip() for media_range in accepted.split(",")]
    return Events(resumable=resumable) if _SSE in wanted else Lines()


class Body(abc.ABC):
    """The body of one streamed answer; its head goes out with its first byte."""

    resumable = False
    """Whether a stream whose time is over was only over for now."""

    def __init__(self, exchange: exchanges.Exchange) -> None:
        self._exchange = exchange
        self.begun = False
        self.sent_at = time.monotonic()
        """When something was last sent, on the clock that only runs forward."""

    @abc.abstractmethod
    async def send_message(self, answer: Any) -> None:
        """Send a message of the service."""

    @abc.abstractmethod
    async def send_heartbeat(self) -> None:
        """Show that the stream is alive."""

    @abc.abstractmethod
    async def break_off(self, problem: problems.Problem) -> None:
        """End a body that has begun, so that the client knows that something is missing."""

    @abc.abstractmethod
    async def end(self) -> None:
        """End a body that is complete."""


class StreamEndpoint(endpoints.Endpoint):
    """Serves a route whose RPC streams its answers; what its body is made of is left to its subclass."""

    def _callable(self, channel: grpc.aio.Channel) -> Any:
        return channel.unary_stream(
            self.binding.method.path,
            request_serializer=self._read.make.SerializeToString,
            response_deserializer=message_factory.GetMessageClass(self.binding.response_type).FromString,
        )

    async def _respond(
        self, exchange: exchanges.Exchange, request: message.Message, carried: metadata.Metadata
    ) -> None:
        longest = self._settings.longest_stream_seconds
        timeout = metadata.timeout_seconds(exchange, default=longest, longest=longest)
        exchange.slot.become_stream()
        call = self._call(request, timeout=timeout, metadata=carried)
        body = self._open(exchange, call)
        try:
            await self._relay(exchange, call, body)
            await body.end()
        except exchanges.Gone:
            if not body.begun:
                raise
        except grpc.aio.AioRpcError as error:
            if not body.begun:
                raise  # Nothing is sent yet, so the client gets a proper status.
            if body.resumable and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                await body.end()
                return
            await body.break_off(problems.of(error, self._read.client_view, part=exchange.part))
        finally:
            call.cancel()

    @abc.abstractmethod
    def _open(self, exchange: exchanges.Exchange, call: Any) -> Body:
        """Return the body of one answer."""

    async def _relay(self, exchange: exchanges.Exchange, call: Any, body: Body) -> None:
        """Send each message as it comes, and heartbeats in between, until either side is done."""
        heartbeats = asyncio.create_task(_keep_alive(body, self._settings.heartbeat_seconds))
        try:
            with exchange.departure.cancels(call):
                async for answer in call:
                    await body.send_message(answer)
        finally:
            await _stopped(heartbeats)


async def _keep_alive(body: Body, seconds: float) -> None:
    """Send a heartbeat whenever nothing was sent for so long; one task a stream, however many its messages."""
    while True:
        quiet = time.monotonic() - body.sent_at
        if quiet >= seconds:
            await body.send_heartbeat()
        else:
            await asyncio.sleep(seconds - quiet)


class MessageStreamEndpoint(StreamEndpoint):
    """Serves a route whose RPC streams messages."""

    def __init__(
        self, binding: bindings.Binding, channel: grpc.aio.Channel, access: callers.AccessControl, settings: Settings
    ) -> None:
        super().__init__(binding, channel, access, settings)
        self._show = writer.shown(binding.response_type)
        self._marked = requests.has_text_field(binding.response_type, requests.CURSOR)
        self._resumable = requests.is_resumable(binding)

    def _open(self, exchange: exchanges.Exchange, _call: Any) -> Body:
        frames = framing(exchange.headers, resumable=self._resumable)
        return _Messages(exchange, frames, self._show, marked=self._marked, resumable=self._resumable)


class _Messages(Body):
    """Messages in frames."""

    def __init__(
        self, exchange: exchanges.Exchange, frames: Framing, show: writer.Show, *, marked: bool, resumable: bool
    ) -> None:
        super().__init__(exchange)
        self.resumable = resumable
        self._frames = frames
        self._show = show
        self._marked = marked
        self._sending = asyncio.Lock()  # A heartbeat must not get between the head and the first frame.

    async def send_message(self, answer: Any) -> None:
        text = writer.dumps(self._show(answer))
        if self._marked and _is_position(answer):
            await self._send(self._frames.position(text, answer.cursor))
        else:
            await self._send(self._frames.message(text, answer.cursor if self._marked else None))

    async def send_heartbeat(self) -> None:
        await self._send(self._frames.heartbeat())

    async def break_off(self, problem: problems.Problem) -> None:
        document = problem.document(instance=self._exchange.path, request_id=self._exchange.request_id)
        await self._send(self._frames.error(orjson.dumps(document)), last=True)

    async def end(self) -> None:
        await self._send(self._frames.end(), last=True)

    async def _begin(self) -> None:
        if not self.begun:
            await self._exchange.start(
                200, [(b"content-type", self._frames.content_type), (b"x-accel-buffering", b"no")]
            )
            self.begun = True

    async def _send(self, frame: bytes, *, last: bool = False) -> None:
        async with self._sending:
            await self._begin()
            await self._exchange.send({"type": "http.response.body", "body": frame, "more_body": not last})
            self.sent_at = time.monotonic()


def _is_position(answer: message.Message) -> bool:
    """Whether a message of a type that has a cursor says nothing else."""
    return [field.name for field, _ in answer.ListFields()] == [requests.CURSOR]


async def _stopped(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it is done."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
