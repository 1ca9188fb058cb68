"""Answers that are no JSON: the bytes of `google.api.HttpBody` as they are, whole or in a stream."""

import re
import time
from collections.abc import Iterable
from typing import Any, Final

import structlog

from gateway import endpoints, exchanges, problems, streams

_log = structlog.get_logger()

HEADER_PREFIX: Final = "http-"
"""Initial metadata by this prefix and the name of an allowed header becomes that header."""
HEADERS: Final = {
    "content-disposition": "Whether to show or to save the file, and under which name.",
    "content-language": "Its language.",
    "last-modified": "When it last changed.",
}
"""The headers that a service may set, and what they say: all of it is about its own bytes, and weakens nothing."""
_HEADER_KEYS: Final = {HEADER_PREFIX + name: name.encode() for name in HEADERS}
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]{1,1024}")
_CONTENT_TYPE: Final = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]*/[A-Za-z0-9][\w!#$&^.+-]*(?: ?;[\x20-\x7e]*)?", re.ASCII)
_LONGEST_CONTENT_TYPE: Final = 255
_UNKNOWN_BYTES: Final = "application/octet-stream"
_PAGES: Final = frozenset(("text/html", "application/xhtml+xml"))
_PAGE_POLICY: Final = (
    b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'; sandbox"
)
"""A page may look as it likes, but it runs no script, loads nothing, sends nothing, and is of no origin."""

Metadata = Iterable[tuple[str, str | bytes]]


def headers(content_type: str, metadata: Metadata) -> list[exchanges.Header]:
    """Return the headers that describe a body, by its type and the call's initial metadata.

    Raises ValueError for what would be no single header of its own, such as a line break: a mistake of the service,
    which must not become a download without its name or a page without its limits.
    """
    kind = content_type or _UNKNOWN_BYTES
    if len(kind) > _LONGEST_CONTENT_TYPE or not _CONTENT_TYPE.fullmatch(kind):
        raise ValueError(f"the service gave a content type that is none: {kind[:_LONGEST_CONTENT_TYPE]!r}")
    found = [(b"content-type", kind.encode())]
    if kind.partition(";")[0].strip().lower() in _PAGES:
        found.append((b"content-security-policy", _PAGE_POLICY))
    for key, value in metadata:
        name = _HEADER_KEYS.get(key)
        if name is None:
            continue
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value) or any(name == one for one, _ in found):
            raise ValueError(f"the service gave a {key} that is no header, or more than one")
        found.append((name, value.encode()))
    return found


class FileEndpoint(endpoints.UnaryEndpoint):
    """Serves a route whose RPC answers with a whole body."""

    async def _answer(
        self,
        exchange: exchanges.Exchange,
        call: Any,
        response: Any,
        status: int,
        headers_of_call: list[exchanges.Header],
    ) -> None:
        field = self.binding.response_field
        file = getattr(response, field.name) if field is not None else response
        described = headers(file.content_type, await call.initial_metadata())
        await exchange.answer(status, file.data, [*described, *headers_of_call])


class FileStreamEndpoint(streams.StreamEndpoint):
    """Serves a route whose RPC streams a body in chunks."""

    def _open(self, exchange: exchanges.Exchange, call: Any) -> streams.Body:
        return _Chunks(exchange, call, endpoints.success_status(self.binding))


class _Chunks(streams.Body):
    """A body that is sent as its chunks come; its head goes out with the first one, which says what it is.

    The body is chunked, so its last bytes say that it is complete. One that breaks off never gets them: its connection
    is closed, and the client knows that it holds no whole file.
    """

    def __init__(self, exchange: exchanges.Exchange, call: Any, status: int) -> None:
        super().__init__(exchange)
        self._call = call
        self._status = status

    async def send_message(self, answer: Any) -> None:
        await self._begin(answer.content_type)
        if answer.data:
            await self._exchange.send({"type": "http.response.body", "body": answer.data, "more_body": True})

    async def send_heartbeat(self) -> None:
        """Send nothing: every byte is one of the file's."""
        self.sent_at = time.monotonic()

    async def break_off(self, problem: problems.Problem) -> None:
        """Leave the body without its end."""
        exchange = self._exchange
        exchange.cut()
        _log.warning("cut off", route=exchange.route, reason=problem.reason, request_id=exchange.request_id)

    async def end(self) -> None:
        await self._begin("")
        await self._exchange.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self, content_type: str) -> None:
        if not self.begun:
            described = headers(content_type, await self._call.initial_metadata())
            self.begun = True
            await self._exchange.start(self._status, [*described, (b"x-accel-buffering", b"no")])
