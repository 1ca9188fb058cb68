"""How the gateway runs: channels to the services, listening, and leaving without dropping a request."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from gateway import app, backends, comments, connections
from gateway.settings import Settings
from kobklein import client

_log = structlog.get_logger()
_BACKLOG: Final = 1024


class Server(uvicorn.Server):
    """uvicorn, told to stop by `stop` and not by signals of its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield

    def stop(self) -> None:
        """Finish the running requests and return from `serve`."""
        self.should_exit = True

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where."""
        await super().startup(sockets)
        if self.started:
            self.listening.set()
            _log.info("serving", port=self.port)


def create(application: ASGIApp, settings: Settings) -> Server:
    """Return the server of an application."""
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        http=connections.protocol(settings),
        ws="none",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.drain_seconds,
        ssl_certfile=settings.https_certificate_file,
        ssl_keyfile=settings.https_key_file,
    )
    return Server(config)


@contextlib.asynccontextmanager
async def application(settings: Settings) -> AsyncIterator[ASGIApp]:
    """Yield the application with its channels to the services open."""
    async with contextlib.AsyncExitStack() as stack:
        services = [
            backends.of_package(
                package.rpartition(".")[2],
                package,
                await stack.enter_async_context(
                    client.channel(target, settings.tls, backends.methods_of(package).values())
                ),
            )
            for package, target in _targets(settings).items()
        ]
        yield app.create(settings, services, texts=comments.load())


def _targets(settings: Settings) -> Mapping[str, str]:
    """Return where the services of each package of the contract live."""
    return {"kobklein.payments": settings.payments_target, "kobklein.wallets": settings.wallets_target}
