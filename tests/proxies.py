"""A TCP proxy before PostgreSQL whose connections can fall silent, as those of a server do whose processes are frozen.

Below such a server the kernel goes on: it accepts connections and acknowledges data. So does the proxy.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import sqlalchemy

_Passes = Callable[[bytes], bool]


class Proxy:
    """Passes bytes between its clients and a database; what comes on a silent connection is dropped."""

    def __init__(self, url: str) -> None:
        self._url = sqlalchemy.make_url(url)
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost_request = self._lost_answer = b""
        self.frozen = False
        """Whether every connection is silent, new ones too."""
        self.accepted = asyncio.Event()
        """Set by each new connection."""

    @property
    def url(self) -> str:
        """The database's URL by way of the proxy."""
        return self._url.set(port=self._port).render_as_string(hide_password=False)

    def lose_request(self, words: bytes) -> None:
        """Let the next connection that sends `words` fall silent before the server has them."""
        self._lost_request = words

    def lose_answer(self, words: bytes) -> None:
        """Let the next connection that sends `words` fall silent once the server has them."""
        self._lost_answer = words

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.set()
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on until either side closes; then close the other one too."""
        from_server, to_server = await asyncio.open_connection(self._url.host, self._url.port)
        silent = asyncio.Event()

        def request_passes(data: bytes) -> bool:
            if self._lost_answer and self._lost_answer in data:
                self._lost_answer = b""
                silent.set()
                return True
            if self._lost_request and self._lost_request in data:
                self._lost_request = b""
                silent.set()
            return not silent.is_set() and not self.frozen

        ways = [
            asyncio.create_task(_pass_on(reader, to_server, request_passes)),
            asyncio.create_task(_pass_on(from_server, writer, lambda _: not silent.is_set() and not self.frozen)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            to_server.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: _Passes) -> None:
    while data := await reader.read(65536):
        if passes(data):
            writer.write(data)
            await writer.drain()
