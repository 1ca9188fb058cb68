"""A sandbox on a real socket, in the running event loop: for the command line and for tests."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deploy.sandbox.app import create_app
from deploy.sandbox.endpoints import DISCONNECT
from deploy.sandbox.settings import Settings


class Protocol(HttpToolsProtocol):
    """HTTP with one extension: a request may have its connection closed without an answer."""

    def on_message_begin(self) -> None:
        """Offer the extension to each request."""
        super().on_message_begin()
        self.scope["extensions"] = {DISCONNECT: {"abort": self.transport.abort}}


class Server(uvicorn.Server):
    """A server that says when it is ready and leaves signals to whoever runs the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Touch no signal handler."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def serve(settings: Settings, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Run a sandbox while the context lasts; gives its address. Port 0 takes a free one."""
    async with serve_app(create_app(settings), host=host, port=port) as url:
        yield url


@asynccontextmanager
async def serve_app(app: Starlette, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Run any application the same way."""
    listener = socket.create_server((host, port), backlog=2048)
    # Accepted connections inherit it; otherwise an answer's body waits 40 ms until the client acknowledges its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(app, http=Protocol, log_level="warning", access_log=False, lifespan="on")
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            raise RuntimeError("The server did not start.") from task.exception()
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        ready.cancel()
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()
