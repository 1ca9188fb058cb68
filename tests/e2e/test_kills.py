"""Processes die at any moment; no payment is lost, charged twice or credited twice."""

import asyncio
import random
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deploy.local import postgres as embedded
from deploy.local import stack as local
from tests.e2e import system

PAYMENTS = 300
KILLS = 10
AT_ONCE = 12
SEED = 20261123
SECONDS = 240
IMPATIENT = {
    "PAYMENTS_MONEY_PATH__PROVIDER_SECONDS": "2",
    "PAYMENTS_MONEY_PATH__LEASE_SECONDS": "3",
    "PAYMENTS_MONEY_PATH__ANSWER_SECONDS": "3",
    "PAYMENTS_MONEY_PATH__CALL_LEASE_SECONDS": "4",
    "PAYMENTS_MONEY_PATH__LEDGER_SCHEDULE": "[0.2, 0.5]",
}
"""What a killed process leaves claimed is free again soon, so that the test does not wait for leases."""


@pytest.fixture(scope="module")
def doomed(postgres: embedded.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[system.Client]:
    """A system of its own, on databases of its own, to kill."""
    folder = tmp_path_factory.mktemp("doomed")
    with embedded.temporary() as database:
        environment = system.environment(folder / "none") | IMPATIENT
        with (
            local.running(folder, database=database, environment=environment) as running,
            system.Client(running) as client,
        ):
            yield client


class Payer:
    """Makes payments until each one has a definite answer, whatever happens on the way."""

    def __init__(self, client: system.Client, http: httpx.AsyncClient) -> None:
        self._token = client.token("payer-1", "user")
        self._http = http
        self._free = asyncio.Semaphore(AT_ONCE)
        self._answered = 0
        self._progress = asyncio.Condition()

    async def reached(self, answered: float) -> None:
        """Wait until so many payments are answered."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._answered >= answered)

    async def count(self, answered: int = 1) -> None:
        """Note that payments are answered."""
        async with self._progress:
            self._answered += answered
            self._progress.notify_all()

    async def pay(self, number: int) -> system.Json:
        """Return the answer to one payment; its key is the same in every attempt."""
        key, body = (
            str(uuid.uuid4()),
            {"amount": f"{number + 1}.00", "currency": "USD", "paymentMethodId": "pm_card_visa"},
        )
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": key}
        while True:
            async with self._free:
                answer = await self._attempt(headers, body)
            if answer is not None:
                await self.count()
                return answer
            await asyncio.sleep(0.5)

    async def _attempt(self, headers: dict[str, str], body: dict[str, Any]) -> system.Json | None:
        try:
            answer = await self._http.post("/payments/stripe/process", headers=headers, json=body)
        except httpx.HTTPError:
            return None
        if answer.status_code in (409, 429, 502, 503, 504):
            return None
        assert answer.status_code == 201, answer.text
        payment: system.Json = answer.json()
        return payment


async def kill_now_and_then(process: Any, payer: Payer) -> None:
    """Kill and restart a process KILLS times, at instants that are spread over the work."""
    chance = random.Random(SEED)
    for number in range(KILLS):
        goal = (number + chance.random()) * PAYMENTS / 2 / (KILLS + 1)
        await payer.reached(goal)
        await asyncio.sleep(chance.random() * 0.05)
        process.kill()
        await asyncio.to_thread(process.restart)


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", ["payments", "wallets"])
async def test_no_money_is_lost_or_doubled_when_a_service_is_killed(doomed: system.Client, name: str) -> None:
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=doomed.stack.gateway_url, timeout=20, limits=limits) as http:
        payer = Payer(doomed, http)
        async with asyncio.timeout(SECONDS):
            killer = asyncio.create_task(kill_now_and_then(doomed.stack.processes[name], payer))
            answers = await asyncio.gather(*(payer.pay(number) for number in range(PAYMENTS // 2)))
            await payer.count(PAYMENTS)  # What is left of the kills happens to a system at rest.
            await killer
    assert len({answer["id"] for answer in answers}) == PAYMENTS // 2
    await asyncio.to_thread(system.assert_the_ledgers_agree, doomed)
    expected = sum(range(1, PAYMENTS // 2 + 1))
    found = await asyncio.to_thread(completed_total, doomed, [answer["id"] for answer in answers])
    assert found == expected


def completed_total(client: system.Client, ids: list[str]) -> int:
    """Return how many whole dollars of these payments were completed."""
    found = system.rows(
        client.stack.payments_database_url, "SELECT id::text, amount FROM payments WHERE status = 'COMPLETED'"
    )
    wanted = set(ids)
    return sum(amount for payment_id, amount in found if payment_id in wanted) // 100
