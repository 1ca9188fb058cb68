"""The gateway's transcoded route against a hand-written one and a bare one: same load, same backend, same run."""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import Any, Final

import jwt

from tests.bench import gateway_servers

ROUNDS: Final = 4
SECONDS: Final = 1.2
WARM_UP_SECONDS: Final = 0.7
CONNECTIONS: Final = 16
TARGET_RATIO: Final = 1.15
NAMES: Final = {
    "transcoded": "transcoded route",
    "handwritten": "hand-written route with the same duties",
    "naked": "hand-written route that only checks the token",
    "bare": "bare route, no call behind it",
}
_BODY: Final = json.dumps(
    {"amount": "100.00", "currency": "HTG", "method": "STRIPE", "description": "Wallet top-up"}
).encode()


async def run() -> list[dict[str, Any]]:
    """Measure in interleaved rounds, so that the noise of the machine hits all alike, and return the medians."""
    servers: list[asyncio.subprocess.Process] = []
    try:
        backend = await _start("backend", 0, servers)
        ports = {name: await _start(name, backend, servers) for name in NAMES}
        for port in ports.values():
            await _load(port, WARM_UP_SECONDS)
        figures: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(ROUNDS):
            for name, port in ports.items():
                figures[name].append(await _load(port, SECONDS))
    finally:
        for server in servers:
            server.kill()
            await server.wait()
    return _rows({name: statistics.median(found) for name, found in figures.items()})


async def _start(name: str, backend: int, servers: list[asyncio.subprocess.Process]) -> int:
    """Start a server and return its port."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.gateway_servers", name, f"127.0.0.1:{backend}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    servers.append(server)
    assert server.stdout is not None
    return int(await server.stdout.readline())


async def _load(port: int, seconds: float) -> float:
    """Return how many requests a second a server answers."""
    generator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.gateway_load", str(port), str(CONNECTIONS), str(seconds)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    output, _ = await generator.communicate(_request())
    figures = json.loads(output)
    assert figures["failed"] == 0, f"{figures['failed']} of {figures['requests']} requests failed"
    return float(figures["requests"] / figures["seconds"])


def _request() -> bytes:
    now = int(time.time())
    claims = {
        "iss": "kobklein",
        "aud": "kobklein-api",
        "sub": "user-1",
        "roles": ["user"],
        "iat": now,
        "exp": now + 900,
    }
    token = jwt.encode(claims, gateway_servers.SECRET, headers={"typ": "at+jwt"})
    head = (
        "POST /payments HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {token}\r\nidempotency-key: 0198c5b0-7d2a\r\ncontent-length: {len(_BODY)}\r\n\r\n"
    )
    return head.encode() + _BODY


def _rows(rates: dict[str, float]) -> list[dict[str, Any]]:
    baseline = rates["handwritten"]
    return [
        {
            "name": f"gateway: {description}",
            "value": round(rates[name]),
            "unit": "requests/s",
            "baseline": round(baseline),
            "ratio": round(rates[name] / baseline, 2),
            "target": TARGET_RATIO if name == "transcoded" else None,
            "met": name != "transcoded" or rates[name] / baseline >= TARGET_RATIO,
        }
        for name, description in NAMES.items()
    ]


if __name__ == "__main__":
    for row in asyncio.run(run()):
        sys.stdout.write(f"{row}\n")
