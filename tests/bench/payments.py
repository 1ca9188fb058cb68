"""The whole system under load: card payments from REST to COMPLETED, webhooks acknowledged, and memory."""

import asyncio
import hashlib
import hmac
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import psutil

from deploy.local import postgres as embedded
from deploy.local import stack as local
from tests.bench import http
from tests.e2e import system

PAYMENTS: Final = 1_500
WARM_UP: Final = 100
WEBHOOKS: Final = 3_000
CONNECTIONS: Final = 16
MEMORY_MB: Final = 150
_JSON: Final = "application/json"


async def run() -> list[dict[str, Any]]:
    """Measure on a stack of its own, with a durable database."""
    with tempfile.TemporaryDirectory() as name, embedded.temporary_durable() as database:
        folder = Path(name)
        with local.running(folder, database=database, environment=system.environment(folder / "none")) as stack:
            rest = _memory(stack, "at rest", target=MEMORY_MB)
            charges = await _charges(stack, PAYMENTS // 3)
            await _payments(stack, WARM_UP)
            payments = await _payments(stack, PAYMENTS)
            health = await http.run(stack.gateway_url, _healths(WEBHOOKS), connections=CONNECTIONS, good=b" 200 ")
            webhooks = await http.run(stack.gateway_url, _events(stack), connections=CONNECTIONS, good=b" 200 ")
            after = _memory(stack, "after the load", target=None)
    return [
        *_rows("payments, REST to COMPLETED", payments, "the provider alone", charges),
        *_rows("webhooks acknowledged", webhooks, "a bare answer of the gateway", health),
        *rest,
        *after,
    ]


async def _payments(stack: local.Stack, count: int) -> http.Load:
    token = stack.identity.token("bench-1", "user")
    body = orjson.dumps({"amount": "10.00", "currency": "USD", "paymentMethodId": "pm_card_visa"})

    def requests() -> Iterator[bytes]:
        for _ in range(count):
            yield http.request(
                "POST",
                "/payments/stripe/process",
                body=body,
                content_type=_JSON,
                authorization=f"Bearer {token}",
                idempotency_key=str(uuid.uuid4()),
            )

    return await http.run(stack.gateway_url, requests(), connections=CONNECTIONS, good=b'"status":"COMPLETED"')


async def _charges(stack: local.Stack, count: int) -> http.Load:
    body = b"amount=1000&currency=usd&payment_method=pm_card_visa&confirm=true&return_url=http%3A%2F%2F127.0.0.1%2F"
    asked = http.request(
        "POST",
        "/v1/payment_intents",
        body=body,
        content_type="application/x-www-form-urlencoded",
        authorization=f"Bearer {local.SANDBOX_KEY}",
    )
    return await http.run(str(stack.sandbox_url), [asked] * count, connections=CONNECTIONS, good=b'"succeeded"')


def _healths(count: int) -> list[bytes]:
    return [http.request("GET", "/healthz")] * count


def _events(stack: local.Stack) -> Iterator[bytes]:
    """Yield signed webhooks, each of an event that was never seen before."""
    for _ in range(WEBHOOKS):
        now = int(time.time())
        event = {
            "object": "event",
            "id": f"evt_{uuid.uuid4().hex}",
            "type": "payment_intent.created",
            "created": now,
            "livemode": False,
            "data": {"object": {"object": "payment_intent", "id": f"pi_{uuid.uuid4().hex}"}},
        }
        body = orjson.dumps(event)
        signature = hmac.new(stack.webhook_secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        yield http.request(
            "POST",
            "/payments/stripe/webhook",
            body=body,
            content_type=_JSON,
            stripe_signature=f"t={now},v1={signature}",
        )


def _rows(name: str, load: http.Load, other: str, baseline: http.Load) -> Iterator[dict[str, Any]]:
    if load.failed or baseline.failed:
        raise RuntimeError(f"{name}: {load.failed} calls failed, and {baseline.failed} of {other}")
    yield _row(f"{name}, against {other}", load.rate, "calls/s", baseline.rate)
    for percent in (50, 95, 99):
        yield _row(f"{name}, p{percent}", load.percentile(percent), "ms", baseline.percentile(percent))


def _memory(stack: local.Stack, when: str, *, target: int | None) -> list[dict[str, Any]]:
    rows = []
    for name, process in stack.processes.items():
        megabytes = psutil.Process(process.pid).memory_info().rss / 2**20
        row = _row(f"memory of {name}, {when}", megabytes, "MB", MEMORY_MB)
        rows.append(row | {"target": target, "met": target is None or megabytes < target})
    return rows


def _row(name: str, value: float, unit: str, baseline: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 1),
        "unit": unit,
        "baseline": round(baseline, 1),
        "ratio": round(value / baseline, 2),
        "target": None,
        "met": True,
    }


if __name__ == "__main__":
    for each in asyncio.run(run()):
        print(each)  # noqa: T201  # a command line
