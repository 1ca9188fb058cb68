"""Delivery of events: signed, in parallel, retried with exponential backoff, and upset on request."""

import asyncio
import hmac
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from deploy.sandbox import deliveries, errors, webhook_endpoints
from deploy.sandbox.disturbances import Disturbances
from deploy.sandbox.senders import Sender, SendFailed
from deploy.sandbox.state import Delivery, State


@dataclass(frozen=True, slots=True, eq=False)
class Shipment:
    """A delivery on one of its tries; two of the same delivery are two shipments."""

    delivery: Delivery
    tries: int = 1


class Courier:
    """Carries events to their endpoints; what is not delivered stays `pending` in the store until a restart."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._settings = state.settings
        self._queue: asyncio.Queue[Shipment] = asyncio.Queue()
        self._timers: dict[Shipment, asyncio.TimerHandle] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = 0
        self.disturbances = Disturbances()

    async def start(self) -> None:
        """Begin to carry, first what an earlier process left."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._settings.webhook_parallel)]
        self.accept(deliveries.pending(self._state))

    async def close(self) -> None:
        """Stop at once: try nothing again, break off what is being sent."""
        self.forget()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def accept(self, batch: Sequence[Delivery]) -> None:
        """Take deliveries over; the disturbances decide whether they are kept back, doubled or lost."""
        for delivery in batch:
            copies = self.disturbances.copies(delivery)
            if copies == 0:
                deliveries.mark(self._state, delivery, "withheld")
            elif self.disturbances.keeps(delivery):
                self.disturbances.held.extend([delivery] * copies)
            else:
                for _ in range(copies):
                    self.resend(delivery)

    async def release(self, order: Sequence[Delivery]) -> None:
        """Deliver what was held back, one after the other, in this order."""
        with closing(Sender()) as sender:
            for delivery in order:
                self._begin()
                await self._carry(sender, Shipment(delivery))

    def resend(self, delivery: Delivery) -> None:
        """Deliver now, whatever the disturbances say."""
        self._begin()
        self._queue.put_nowait(Shipment(delivery))

    def forget(self) -> None:
        """Drop everything that waits: queue, retries and what is held back."""
        for timer in self._timers.values():
            timer.cancel()
        self._finish(len(self._timers))
        self._timers.clear()
        while not self._queue.empty():
            self._queue.get_nowait()
            self._finish()
        self.disturbances.clear()

    async def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until nothing is queued, being sent or waiting for a retry; False when time ran out."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    def show(self) -> dict[str, Any]:
        """What is under way."""
        return {"open": self._open, "retrying": len(self._timers), **self.disturbances.show()}

    def _begin(self) -> None:
        self._open += 1
        self._idle.clear()

    def _finish(self, count: int = 1) -> None:
        self._open -= count
        if self._open == 0:
            self._idle.set()

    async def _work(self) -> None:
        with closing(Sender()) as sender:
            while True:
                await self._carry(sender, await self._queue.get())

    async def _carry(self, sender: Sender, shipment: Shipment) -> None:
        """One try. Afterwards the shipment is finished, unless a timer holds it for the next try."""
        try:
            delivered = await self._try(sender, shipment.delivery)
        except errors.Missing:
            deliveries.mark(self._state, shipment.delivery, "canceled")
            self._finish()
            return
        if delivered:
            deliveries.mark(self._state, shipment.delivery, "delivered")
            self._finish()
        elif shipment.tries >= self._settings.webhook_tries:
            deliveries.mark(self._state, shipment.delivery, "failed")
            self._finish()
        else:
            self._retry(Shipment(shipment.delivery, shipment.tries + 1))

    def _retry(self, shipment: Shipment) -> None:
        seconds = self._settings.webhook_backoff_seconds * 2 ** (shipment.tries - 2)
        seconds = min(seconds, self._settings.webhook_backoff_limit_seconds)
        self._timers[shipment] = asyncio.get_running_loop().call_later(seconds, self._again, shipment)

    def _again(self, shipment: Shipment) -> None:
        del self._timers[shipment]
        self._queue.put_nowait(shipment)

    async def _try(self, sender: Sender, delivery: Delivery) -> bool:
        endpoint = self._state.get("webhook_endpoint", delivery.endpoint)
        body = self._state.store.text(delivery.event)
        if body is None or endpoint["status"] != "enabled":
            raise errors.Missing("event", delivery.event)
        body = webhook_endpoints.shaped(endpoint, body)
        secret = webhook_endpoints.secret(self._state, delivery.endpoint)
        began = time.monotonic()
        status, error = await self._post(sender, endpoint["url"], body, signature(secret, body, int(time.time())))
        outcome = deliveries.Attempt(time.time(), time.monotonic() - began, status, error)
        deliveries.log(self._state, delivery, outcome)
        return status is not None and 200 <= status < 300

    async def _post(self, sender: Sender, url: str, body: bytes, header: str) -> tuple[int | None, str | None]:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (sandbox)",
            "Stripe-Signature": header,
        }
        try:
            return await sender.post(url, headers, body, timeout_seconds=self._settings.webhook_timeout_seconds), None
        except SendFailed as error:
            return None, str(error)


def signature(secret: str, body: bytes, timestamp: int) -> str:
    """The `Stripe-Signature` header: HMAC-SHA256 over `<timestamp>.<body>`.

    The timestamp is the machine's own, not the sandbox's advanced clock: the receiver compares it with its own.
    """
    digest = hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hex()
    return f"t={timestamp},v1={digest}"
