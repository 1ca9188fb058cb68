"""A cheap HTTP/1.1 load generator: keep-alive connections that send one request after another for a while.

`python -m tests.bench.gateway_load PORT CONNECTIONS SECONDS` reads the request from standard input, byte for byte, and
prints `{"requests": …, "seconds": …, "failed": …}`. Anything but a 2xx answer counts as failed.
"""

import asyncio
import json
import re
import sys
import time
from typing import Final, cast

import uvloop

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")
_PATIENCE_SECONDS: Final = 10


class Connection(asyncio.Protocol):
    """Sends the request again as soon as its answer is complete, until it is told to stop."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._pending = b""
        self.answered = 0
        self.failed = 0
        self.stopping = False
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only.
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        end = self._pending.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._pending, 0, end + 2)
        if len(self._pending) < end + 4 + (int(length[1]) if length else 0):
            return
        self.answered += 1
        self.failed += self._pending[9:10] != b"2"
        self._pending = b""
        if self.stopping:
            self._transport.close()
        else:
            self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


async def main(port: int, connections: int, seconds: float, request: bytes) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    opened = [await loop.create_connection(lambda: Connection(request), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.sleep(seconds)
    for _, connection in opened:
        connection.stopping = True
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await asyncio.gather(*(connection.closed for _, connection in opened))
    return {
        "requests": sum(connection.answered for _, connection in opened),
        "failed": sum(connection.failed for _, connection in opened),
        "seconds": time.perf_counter() - start,
    }


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.stdin.buffer.read()))
    sys.stdout.write(json.dumps(figures))
