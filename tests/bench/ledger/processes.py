"""The servers under load, each in a process of its own, started and stopped here."""

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import postgres as embedded
from tests import databases, wallets
from tests.bench.ledger import load

_START_SECONDS: Final = 30
_STOP_SECONDS: Final = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A running server, and the way to it."""

    channel: grpc.aio.Channel
    post: load.Post
    process: psutil.Process

    def processor_seconds(self) -> float:
        """Return how long the process has kept a processor busy."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextlib.asynccontextmanager
async def service(database: databases.Database) -> AsyncIterator[Server]:
    """Run wallets_service on a database, and yield it once it serves.

    Its log of calls is off: where the lines go decides what they cost.
    """
    port = embedded.free_port()
    settings = {
        "WALLETS_AUTH": json.dumps({"hs256_secret": wallets.SECRET}),
        "WALLETS_DATABASE_URL": database.application_url,
        "WALLETS_PAGE_TOKEN_KEY": "00" * 32,
        "WALLETS_PORT": str(port),
        "WALLETS_LOG_LEVEL": "warning",
    }
    with _running("wallets_service", "serve", env={**os.environ, **settings}) as process:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=_START_SECONDS)
            yield Server(channel, load.post_over(channel), psutil.Process(process.pid))


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[Server]:
    """Run the bare server, and yield it."""
    with _running("tests.bench.ledger.echo", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(await asyncio.to_thread(process.stdout.readline))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Server(channel, load.post_over(channel), psutil.Process(process.pid))


@contextlib.contextmanager
def _running(module: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", module, *arguments], **options) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)
