"""Card payments by more callers than can be served: completed ones, their time, and the refusal of the rest.

Every caller pays again and again over a connection of its own. One that is refused waits as long as `Retry-After` says
and repeats the call under the same key. Beside them, a few callers read ten times a second. The levels take turns in
rounds, so that the noise of the machine hits all alike.

The *peak* is the level of LEVELS at which most payments were completed a second. The time of a call runs from the
sending of the request to the end of its answer, of calls that were answered 201 alone.
"""

import asyncio
import collections
import contextlib
import dataclasses
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from deploy.local import postgres as embedded
from deploy.local import stack as local
from tests import sizes
from tests.bench import http, rows
from tests.e2e import system

LEVELS: Final = (16, 64, 256)
OVERLOAD: Final = 1_024
ROUNDS: Final = 1
SECONDS: Final = 4
OVERLOAD_SECONDS: Final = sizes.size(10, full=30)
READERS: Final = 4
LEAST_COMPLETED: Final = 0.8
"""Of the peak, under overload."""
MOST_WAITED: Final = 4.0
"""Times the median at the peak, for 99 of 100 calls under overload."""
_BODY: Final = orjson.dumps({"amount": "10.00", "currency": "USD", "paymentMethodId": "pm_card_visa"})
BUDGETS: Final = {
    f"{prefix}_RATES__{name}": "1000000/minute"
    for prefix in ("PAYMENTS", "WALLETS", "GATEWAY")
    for name in ("READ", "WRITE", "PAYMENT", "REPORT")
}


@dataclasses.dataclass(slots=True)
class Level:
    """What callers met at one level, over all rounds."""

    callers: int
    seconds: float = 0
    completed: int = 0
    """Payments that were COMPLETED in their answer, while the level lasted."""
    milliseconds: list[float] = dataclasses.field(default_factory=list)
    reads: list[float] = dataclasses.field(default_factory=list)
    statuses: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    wrong: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Answers that are neither 201 nor 503 with Retry-After, and what else must not be."""

    @property
    def rate(self) -> float:
        return self.completed / self.seconds


async def run() -> list[dict[str, Any]]:
    """Measure on a stack of its own, with a durable database."""
    levels = [Level(callers) for callers in (*LEVELS, OVERLOAD)]
    with (
        tempfile.TemporaryDirectory() as name,
        embedded.temporary_durable() as database,
        local.running(Path(name), database=database, environment=BUDGETS) as stack,
    ):
        await _play(stack, Level(16), seconds=3)  # Warms everything up.
        for _ in range(ROUNDS):
            for level in levels:
                await _play(stack, level, seconds=OVERLOAD_SECONDS if level.callers == OVERLOAD else SECONDS)
    return list(_rows(levels))


async def _play(stack: local.Stack, level: Level, *, seconds: float) -> None:
    """Let the callers of a level pay, and compare their answers with the records."""
    token = stack.identity.token("bench-1", "user")
    before = _payments(stack)
    start = time.monotonic()
    callers = [_Caller(level, token, until=start + seconds) for _ in range(level.callers)]
    readers = [_read(stack, level, until=start + seconds) for _ in range(READERS)]
    await asyncio.gather(*(caller.pay(stack.gateway_url) for caller in callers), *readers)
    level.seconds += seconds
    with system.Client(stack) as client:
        await asyncio.to_thread(_until_finished, client)
    if surplus := _payments(stack) - before - sum(caller.accepted for caller in callers):
        level.wrong["payments recorded whose call was not answered 201"] += surplus


class _Caller:
    def __init__(self, level: Level, token: str, *, until: float) -> None:
        self._level, self._token, self._until = level, token, until
        self.accepted = 0

    async def pay(self, url: str) -> None:
        """Pay until the time is over."""
        async with connected(url) as (reader, writer):
            while time.monotonic() < self._until:
                await self._pay_once(reader, writer)

    async def _pay_once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Make one payment, as often refused as it may be."""
        request = http.request(
            *("POST", "/payments/stripe/process"),
            body=_BODY,
            content_type="application/json",
            authorization=f"Bearer {self._token}",
            idempotency_key=str(uuid.uuid4()),
        )
        while (wait := await self._ask(request, reader, writer)) is not None:
            if time.monotonic() + wait > self._until:
                await asyncio.sleep(max(0.0, self._until - time.monotonic()))
                return
            await asyncio.sleep(wait)

    async def _ask(self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float | None:
        """Make one call; return how long to wait if it was refused."""
        start = time.monotonic()
        writer.write(request)
        answer = await http.answer(reader)
        now = time.monotonic()
        status, level = int(answer[9:12]), self._level
        level.statuses[status] += 1
        if status == 201:
            self.accepted += 1
            level.milliseconds.append((now - start) * 1000)
            level.completed += b'"status":"COMPLETED"' in answer and now < self._until
            return None
        wait = http.header(answer, b"retry-after")
        if status == 503 and wait is not None:
            return float(wait)
        level.wrong[f"{status} with Retry-After {wait}"] += 1
        return 1.0


async def _read(stack: local.Stack, level: Level, *, until: float) -> None:
    """Read a wallet ten times a second."""
    token = stack.identity.token("bench-1", "user")
    request = http.request("GET", "/wallets/user/bench-1", authorization=f"Bearer {token}")
    async with connected(stack.gateway_url) as (reader, writer):
        while (start := time.monotonic()) < until:
            writer.write(request)
            status = int((await http.answer(reader))[9:12])
            level.reads.append((time.monotonic() - start) * 1000)
            if status != 200:
                level.wrong[f"{status} to a read"] += 1
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def _payments(stack: local.Stack) -> int:
    return int(system.rows(stack.payments_database_url, "SELECT count(*) FROM payments")[0][0])


def _until_finished(client: system.Client) -> None:
    query = "SELECT count(*) FROM payments WHERE step IS NOT NULL"
    system.until(lambda: system.rows(client.stack.payments_database_url, query) == [(0,)], what="the end of all")


def _rows(levels: Sequence[Level]) -> Iterator[dict[str, Any]]:
    peak, overload = max(levels[:-1], key=lambda level: level.rate), levels[-1]
    for level in levels:
        name, aims = f"card payments by {level.callers} callers", level is overload
        completed = LEAST_COMPLETED if aims else None
        yield rows.at_least(
            f"{name}, completed, against the peak", level.rate, "calls/s", baseline=peak.rate, target=completed
        )
        for percent, target in ((50, None), (99, MOST_WAITED if aims else None)):
            waited = percentile(level.milliseconds, percent)
            against = f"p{percent} of accepted calls, against p50 at the peak"
            yield rows.at_most(
                f"{name}, {against}", waited, "ms", baseline=percentile(peak.milliseconds, 50), target=target
            )
        yield rows.at_least(f"{name}, refused", level.statuses[503] / level.seconds, "calls/s", baseline=level.rate)
        yield rows.at_least(
            f"{name}, p99 of reads", percentile(level.reads, 99), "ms", baseline=percentile(peak.reads, 99)
        )
        wrong = rows.none(f"{name}, wrong answers", level.wrong.total(), "calls", of=level.statuses.total())
        yield wrong | {"detail": dict(level.wrong)}


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


if __name__ == "__main__":
    for each in asyncio.run(run()):
        print(each)  # noqa: T201  # a command line
