"""A web server of rates for tests: it answers what it is told to, and can be slow, wrong and endless."""

import asyncio
import contextlib
import datetime
import json
from collections.abc import AsyncIterator
from typing import Any


def document(**changes: Any) -> bytes:
    """Return a good document of now."""
    now = datetime.datetime.now(datetime.UTC).isoformat()
    content = {"base": "USD", "time": now, "rates": {"HTG": "131.25", "EUR": 0.92}} | changes
    return json.dumps(content).encode()


class RateServer:
    """Serves one body at every path, one answer a connection."""

    def __init__(self) -> None:
        self.body: bytes | None = document()
        """What is served; None to answer nothing at all, and keep the connection open."""
        self.endless = False
        """Whether the body is sent again and again."""
        self.pause_seconds = 0.0
        """How long to wait before each repetition."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests: list[str] = []
        self.url = ""
        self._asked = asyncio.Condition()
        self._connections: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["RateServer"]:
        """Serve on a free port until left."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/rates?of=now"
        try:
            yield self
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await server.wait_closed()

    async def until_asked(self, times: int = 1) -> None:
        """Return once so many more requests have come."""
        wanted = len(self.requests) + times
        async with self._asked:
            await self._asked.wait_for(lambda: len(self.requests) >= wanted)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                async with self._asked:
                    self.requests.append(request)
                    self._asked.notify_all()
                await self._answer(writer)
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self.body is None:
            await asyncio.Event().wait()
            return
        lines = [f"HTTP/1.1 {self.status} X", "connection: close", *(f"{k}: {v}" for k, v in self.headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + self.body)
        while self.endless:
            await writer.drain()
            await asyncio.sleep(self.pause_seconds)
            writer.write(self.body)
        await writer.drain()
