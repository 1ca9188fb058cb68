"""What idle watches cost: the processor time of payments_service, and how long reads take beside them."""

import asyncio
import contextlib
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import orjson
import psutil

from deploy.local import postgres as embedded
from deploy.local import stack as local
from tests.bench import http, overload, rows

WATCHES: Final = 250
OF_A_CALLER: Final = 20
SECONDS: Final = 5
READ_PAUSE_SECONDS: Final = 0.05


async def run() -> list[dict[str, Any]]:
    """Measure on a stack of its own, without watches and with them."""
    with (
        tempfile.TemporaryDirectory() as name,
        embedded.temporary_durable() as database,
        local.running(Path(name), database=database, environment=overload.BUDGETS) as stack,
    ):
        payment_ids = [await _payment(stack, number) for number in range(-(-WATCHES // OF_A_CALLER))]
        await _measure(stack, payment_ids[0])
        cores, milliseconds = await _measure(stack, payment_ids[0])
        async with contextlib.AsyncExitStack() as watches:
            for number in range(WATCHES):
                await watches.enter_async_context(_watching(stack, number // OF_A_CALLER, payment_ids))
            busy_cores, busy_milliseconds = await _measure(stack, payment_ids[0])
    name = f"{WATCHES} idle watches"
    return [
        rows.at_least(f"{name}, processors of payments_service, against none", busy_cores, "cores", baseline=cores),
        rows.at_least(f"{name}, p99 of reads, against none", busy_milliseconds, "ms", baseline=milliseconds),
    ]


async def _payment(stack: local.Stack, number: int) -> str:
    body = orjson.dumps({"amount": "10.00", "currency": "USD", "method": "STRIPE"})
    return str(orjson.loads((await _call(stack, number, "POST", "/payments", body)).partition(b"\r\n\r\n")[2])["id"])


async def _call(stack: local.Stack, number: int, method: str, path: str, body: bytes = b"") -> bytes:
    async with overload.connected(stack.gateway_url) as (reader, writer):
        writer.write(_request(stack, number, method, path, body))
        return await http.answer(reader)


def _request(stack: local.Stack, number: int, method: str, path: str, body: bytes = b"") -> bytes:
    token = stack.identity.token(f"bench-{number}", "user")
    return http.request(
        method,
        path,
        body=body,
        content_type="application/json",
        authorization=f"Bearer {token}",
        idempotency_key=str(uuid.uuid4()),
    )


@contextlib.asynccontextmanager
async def _watching(stack: local.Stack, caller: int, payment_ids: list[str]) -> AsyncIterator[None]:
    """Hold a watch open inside that has shown its payment once."""
    async with overload.connected(stack.gateway_url) as (reader, writer):
        writer.write(_request(stack, caller, "GET", f"/payments/{payment_ids[caller]}:watch"))
        await reader.readuntil(b'"status":"PENDING"')
        yield


async def _measure(stack: local.Stack, payment_id: str) -> tuple[float, float]:
    """Return how many cores payments_service uses while one caller reads, and the p99 of the reads in milliseconds."""
    process = psutil.Process(stack.processes["payments"].pid)
    times, before, start = [], sum(process.cpu_times()[:2]), time.monotonic()
    while time.monotonic() < start + SECONDS:
        asked = time.monotonic()
        answered = await _call(stack, 0, "GET", f"/payments/{payment_id}")
        if not answered.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"a read was not answered: {answered!r}")
        times.append((time.monotonic() - asked) * 1000)
        await asyncio.sleep(READ_PAUSE_SECONDS)
    cores = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - start)
    return cores, overload.percentile(times, 99)
