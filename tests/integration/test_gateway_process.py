"""`python -m gateway` as a process: it starts from its environment alone, and leaves in order."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from tests import gateways
from tests.gateways import Gallery

ENVIRONMENT = {
    "GATEWAY_PORT": "0",
    "GATEWAY_LOG_JSON": "true",
    "GATEWAY_PAYMENTS_TARGET": "127.0.0.1:1",
    "GATEWAY_WALLETS_TARGET": "127.0.0.1:1",
    "GATEWAY_AUTH__HS256_SECRET": gateways.SECRET,
}


@contextlib.asynccontextmanager
async def started(**environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        env={**os.environ, **ENVIRONMENT, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def logged_port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    async for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "serving":
            return int(event["port"])
    raise AssertionError("it ended without serving")


async def test_it_says_where_it_listens_and_ends_well_on_sigterm() -> None:
    async with started() as process, httpx.AsyncClient() as http:
        port = await asyncio.wait_for(logged_port(process), 30)
        assert (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        assert (await http.get(f"http://127.0.0.1:{port}/readyz")).json()["services"] == {
            "payments": "UNAVAILABLE",
            "wallets": "UNAVAILABLE",
        }
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_it_refuses_to_start_in_production_without_tls() -> None:
    async with started(GATEWAY_ENVIRONMENT="production") as process:
        assert await asyncio.wait_for(process.wait(), 30) != 0


@pytest.mark.parametrize("streams", [False, True])
async def test_a_running_request_is_finished_before_leaving(streams: bool) -> None:
    gallery = Gallery()
    gallery.stream = [gateways.gallery_pb2.Painting(title="Sea"), None] if streams else [None]
    path = "/v1/paintings/1:watch"
    async with gateways.serving("gallery", gallery.add_to, drain_seconds=5) as gateway:
        running = asyncio.create_task(gateway.http.get(path, headers={"grpc-timeout": "500m"}))
        await asyncio.wait_for(gallery.held.wait(), 5)
        gateway.stop()
        answer = await running
    assert answer.status_code == (200 if streams else 504)
