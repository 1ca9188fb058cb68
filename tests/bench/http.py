"""A cheap HTTP/1.1 client for load: kept connections, requests made beforehand, every answer timed."""

import asyncio
import dataclasses
import statistics
import time
from collections.abc import Iterable, Iterator


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """What a load run found."""

    rate: float
    """Answers a second."""
    milliseconds: list[float]
    failed: int

    def percentile(self, percent: int) -> float:
        """Return the time that so many percent of the answers took at most, in milliseconds."""
        return statistics.quantiles(self.milliseconds, n=100, method="inclusive")[percent - 1]


async def run(url: str, requests: Iterable[bytes], *, connections: int, good: bytes) -> Load:
    """Send all requests over `connections` at once; an answer that does not contain `good` counts as failed."""
    host, _, port = url.removeprefix("http://").partition(":")
    waiting = iter(requests)
    times: list[float] = []
    start = time.perf_counter()
    failed = await asyncio.gather(*(_client(host, int(port), waiting, times, good) for _ in range(connections)))
    return Load(len(times) / (time.perf_counter() - start), times, sum(failed))


async def _client(host: str, port: int, waiting: Iterator[bytes], times: list[float], good: bytes) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    failed = 0
    for request in waiting:
        start = time.perf_counter()
        writer.write(request)
        answered = await answer(reader)
        times.append((time.perf_counter() - start) * 1000)
        failed += good not in answered
    writer.close()
    await writer.wait_closed()
    return failed


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Return a whole answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(header(head, b"content-length") or b"0")
    return head + await reader.readexactly(length)


def header(answered: bytes, name: bytes) -> bytes | None:
    """Return the value of a header, whose name is given in lower case; None if it is absent."""
    head = answered.partition(b"\r\n\r\n")[0].lower()
    place = head.find(b"\r\n%s:" % name)
    return head[place + len(name) + 3 :].partition(b"\r\n")[0].strip() if place >= 0 else None


def request(method: str, path: str, *, body: bytes = b"", **headers: str) -> bytes:
    """Return a request's bytes; underscores in header names stand for dashes."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
