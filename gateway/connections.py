"""Connections: uvicorn's HTTP protocol, with the limits that it lacks.

uvicorn waits for a request as long as its bytes keep trickling, takes heads of any size, and keeps a client that never
reads its answer. ASGI middleware cannot help, since it runs only once a head is complete; so the limits stand here.
"""

import asyncio
import functools
import http
import re
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway import exchanges, problems, slots
from gateway.connection_limits import ConnectionLimits
from gateway.settings import Settings
from kobklein import ids

_LINGER_SECONDS: Final = 1.0
_SPARE_SECONDS: Final = 1.0
"""How long a connection beyond the limits may take over a request for health."""
_RETRY_AFTER: Final = "retry-after: 1\r\n"
_NO_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """Return the protocol class for uvicorn's `http` option."""
    return type("LimitedConnection", (Connection,), {"limits": settings, "all": ConnectionLimits(settings)})


class Connection(HttpToolsProtocol):
    """One connection of one client.

    - From the first byte of a request (or the opening of the connection) to the last one, `receive_seconds` may pass,
      however steadily the bytes come; then 408.
    - A head may have `longest_head_bytes`; then 431. Trailers are dropped: they would pose as headers.
    - An answer may wait `send_stall_seconds` for the client to read on; then the connection is cut.
    - More than `most_connections` at a time, or `most_connections_per_address` of one address, are turned away with
      503, unless they ask for health at once.
    - HTTP/1.1 without a `Host`, and an address with a `%` that two hexadecimal digits do not follow, are 400.

    And it lets an application cut an answer off on purpose, which to uvicorn alone would be an error to log, and calls
    back when the client leaves, so that no task has to wait for that.
    """

    limits: ClassVar[Settings]
    all: ClassVar[ConnectionLimits]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._refused = False
        self._spare = False
        self._departure = exchanges.Departure()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start the clock, or turn the client away."""
        super().connection_made(transport)
        self._spare = not self.all.enter(self, self.client[0] if self.client else "")
        self._arm()

    def turn_away(self) -> None:
        """Refuse a connection that is one too many."""
        self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every clock, and whatever runs for this client alone."""
        self._disarm()
        self.all.leave(self)
        self.resume_writing()
        super().connection_lost(exc)
        self._departure.happen()

    def data_received(self, data: bytes) -> None:
        """Count what comes while a head is incomplete, and start the clock for a new request."""
        if self._refused:
            return
        if self._deadline is None:
            self._arm()
        super().data_received(data)
        if self._in_head and not self._refused:
            self._head_bytes += len(data)
            self._check_head()

    def on_message_begin(self) -> None:
        """Expect a head."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but no trailer."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request over, unless its head is too long."""
        self._in_head = False
        self._head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        self._check_head()
        self._check_request()
        if not self._refused:
            super().on_headers_complete()
            if self._spare:
                self.cycle.keep_alive = False
            extensions: dict[str, Any] = {
                exchanges.CUT: {"close": functools.partial(_cut, self.cycle)},
                exchanges.DEPARTURE: self._departure,
            }
            self.scope["extensions"] = extensions

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock: from here on, the deadline of the call counts."""
        if self._refused:
            return
        self._disarm()
        super().on_message_complete()
        if self.cycle.response_complete and self.timeout_keep_alive_task is None:
            # The answer went out before the body was complete; nobody else would ever close the idle connection.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def pause_writing(self) -> None:
        """Start the clock of a client that does not read."""
        super().pause_writing()
        self._stall = self.loop.call_later(self.limits.send_stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop it again."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP with a problem document as well."""
        self._refuse(400, msg)

    def _arm(self) -> None:
        seconds = min(_SPARE_SECONDS, self.limits.receive_seconds) if self._spare else self.limits.receive_seconds
        self._deadline = self.loop.call_later(seconds, self._expire)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        """End a connection whose request does not arrive, with an answer unless one is on its way."""
        cycle = self.cycle
        idle = cycle is None or cycle.response_complete
        if self._spare and self._in_head:
            self.turn_away()
        elif idle if self._in_head else cycle is not None and not cycle.response_started:
            self._refuse(408, f"the request did not arrive within {self.limits.receive_seconds:g} seconds")
        else:
            self.transport.abort()

    def _check_head(self) -> None:
        if self._head_bytes > self.limits.longest_head_bytes:
            self._refuse(431, f"the head is longer than {self.limits.longest_head_bytes} bytes")

    def _check_request(self) -> None:
        """Refuse what no HTTP request may be, and what a connection beyond the limits may not ask for."""
        if _NO_ESCAPE.search(self.url):
            self._refuse(400, "the address has a % that two hexadecimal digits do not follow")
        elif self.parser.get_http_version() == "1.1" and all(name != b"host" for name, _ in self.headers):
            self._refuse(400, "a request of HTTP/1.1 needs a Host header")
        elif self._spare and self.url.partition(b"?")[0].decode("latin-1") not in slots.HEALTH:
            self.turn_away()
        elif self._spare:
            self.all.leave(self)

    def _refuse(self, status: int, detail: str) -> None:
        """Answer below the application, which knows nothing of this request, and close."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._tell_application()
        phrase = http.HTTPStatus(status).phrase
        body = problems.Refused(status, detail).problem.body(instance="/", request_id=str(ids.new()))
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {problems.CONTENT_TYPE.decode()}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\ncache-control: no-store\r\n"
            f"{_RETRY_AFTER if status == http.HTTPStatus.SERVICE_UNAVAILABLE else ''}"
            "x-content-type-options: nosniff\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._linger()

    def _tell_application(self) -> None:
        """Let an application that waits for the rest of a body know that it will not come."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _linger(self) -> None:
        """Close once the client has closed: closing with bytes unread would reset the connection under the answer."""
        self._disarm()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
        else:
            self.transport.close()


def _cut(cycle: RequestResponseCycle) -> None:
    """Close a connection in the middle of an answer; what is written goes out first.

    To uvicorn it is then as if the client had left: it expects nothing more of the application.
    """
    cycle.disconnected = True
    cycle.transport.close()
