"""A small HTTP/1.1 client for one thing: posting events to an endpoint over a connection that stays open.

A delivery costs a fraction of what it would with a general client's connection pool; that lets the sandbox keep
up with a load test on a shared machine.
"""

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import httptools

ANSWER_LIMIT_BYTES = 1_000_000


class SendFailed(Exception):
    """No answer: refused, broken off, too late or not HTTP."""


class _Answer:
    """Collects what the parser sees of one answer."""

    def __init__(self) -> None:
        self.complete = False
        self.parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        self.complete = True


class Sender:
    """One connection at a time, kept while the next request goes to the same server."""

    def __init__(self) -> None:
        self._server: tuple[str, str] | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_seconds: float) -> int:
        """The status of the answer; redirects are not followed. Raises SendFailed."""
        try:
            parts = urlsplit(url)
            async with asyncio.timeout(timeout_seconds):
                return await self._exchange(parts, _request(parts, headers, body))
        except TimeoutError as error:
            self.close()
            raise SendFailed(f"no answer within {timeout_seconds} seconds") from error
        except (OSError, EOFError, ValueError, httptools.HttpParserError) as error:
            self.close()
            raise SendFailed(f"{type(error).__name__}: {error}") from error
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """Let the connection go."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = self._server = None

    async def _exchange(self, parts: SplitResult, request: bytes) -> int:
        """A server may close a kept connection at any moment, so that one is tried anew once."""
        kept = self._server == (parts.scheme, parts.netloc) and self._streams is not None
        if kept:
            try:
                return await self._ask(request)
            except (OSError, EOFError):
                pass
        await self._connect(parts)
        return await self._ask(request)

    async def _connect(self, parts: SplitResult) -> None:
        self.close()
        secure = parts.scheme == "https"
        context = ssl.create_default_context() if secure else None
        port = parts.port or (443 if secure else 80)
        self._streams = await asyncio.open_connection(parts.hostname, port, ssl=context)
        self._server = (parts.scheme, parts.netloc)

    async def _ask(self, request: bytes) -> int:
        if self._streams is None:
            raise ConnectionResetError("the connection is closed")
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        answer = _Answer()
        received = 0
        while not answer.complete:
            chunk = await reader.read(65_536)
            received += len(chunk)
            if not chunk or received > ANSWER_LIMIT_BYTES:
                raise EOFError("the answer is incomplete or too long")
            answer.parser.feed_data(chunk)
        if not answer.parser.should_keep_alive():
            self.close()
        return int(answer.parser.get_status_code())


def _request(parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
