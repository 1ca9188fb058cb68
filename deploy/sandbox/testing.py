"""The sandbox inside a test's own event loop: the controls as a client, and a receiver for its webhooks."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.server import serve, serve_app
from deploy.sandbox.settings import Settings


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox and a client for its controls."""

    url: str
    http: httpx.AsyncClient

    async def control(self, path: str, /, **wish: Any) -> Any:
        """POST one control, for instance `control("faults", kind="error_500", count=1)`."""
        response = await self.http.post(f"/_sandbox/{path}", json=wish)
        response.raise_for_status()
        return response.json()

    async def look(self, path: str, /, **query: Any) -> Any:
        """GET one control, for instance `look("ledger")`."""
        response = await self.http.get(f"/_sandbox/{path}", params=query)
        response.raise_for_status()
        return response.json()


@asynccontextmanager
async def running(settings: Settings | None = None) -> AsyncIterator[Sandbox]:
    """A sandbox on a free port while the context lasts."""
    async with serve(settings or Settings()) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield Sandbox(url, http)


@dataclass(frozen=True, slots=True)
class Received:
    """One webhook as it came: the body is untouched, so that its signature can be verified."""

    body: bytes
    signature: str

    @property
    def event(self) -> dict[str, Any]:
        """The event, parsed and not verified."""
        event: dict[str, Any] = json.loads(self.body)
        return event


class Receiver:
    """A webhook endpoint that keeps what it gets and answers as told."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: deque[int] = deque()
        """Statuses of the next answers; 200 when there are none."""
        self.gate = asyncio.Event()
        """Answers wait for it; it is open at first."""
        self.gate.set()
        self.waiting = 0
        self._changed = asyncio.Condition()

    @property
    def types(self) -> list[str]:
        """The event types in the order they came."""
        return [each.event["type"] for each in self.received]

    async def until(self, condition: Callable[["Receiver"], bool], *, timeout_seconds: float = 10) -> None:
        """Wait until the condition holds; raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def _receive(self, request: Request) -> Response:
        received = Received(await request.body(), request.headers.get("stripe-signature", ""))
        async with self._changed:
            self.received.append(received)
            self.waiting += 1
            self._changed.notify_all()
        await self.gate.wait()
        self.waiting -= 1
        return Response(status_code=self.answers.popleft() if self.answers else 200)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listen on a free port while the context lasts; gives the address for webhooks."""
        app = Starlette(routes=[Route("/webhook", self._receive, methods=["POST"])])
        async with serve_app(app) as url:
            yield f"{url}/webhook"
