"""A client that was written from the first document alone, byte for byte as that prints its calls."""

import datetime
from collections.abc import Awaitable, Callable

import pytest

from tests import payments, wallets

CREATE = b"""{
  "amount": 100.00,
  "currency": "HTG",
  "method": "STRIPE",
  "description": "Wallet top-up"
}"""
PROCESS = b"""{
  "amount": 100.00,
  "currency": "USD",
  "paymentMethodId": "pm_1234567890",
  "description": "Wallet deposit"
}"""
JSON = {"content-type": "application/json"}


def _bearer(client: payments.Client, role: str) -> dict[str, str]:
    return {"authorization": f"Bearer {wallets.token(client.user, role)}"}


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


async def test_the_calls_of_the_first_document_work_as_they_are_printed(client: payments.Client) -> None:
    user, finance = _bearer(client, "user"), _bearer(client, "finance")
    async with payments.gateway(client.target) as http:
        created = await http.post("/payments", content=CREATE, headers={**JSON, **user})
        assert created.status_code == 201, created.text
        assert {name: created.json()[name] for name in ("amount", "currency", "method", "status")} == {
            "amount": "100.00", "currency": "HTG", "method": "STRIPE", "status": "PENDING",
        }  # fmt: skip
        paid = [
            await http.post("/payments/stripe/process", content=PROCESS, headers={**JSON, **user}) for _ in range(2)
        ]
        assert [(each.status_code, each.json()["status"]) for each in paid] == [(201, "COMPLETED")] * 2
        assert paid[0].json()["id"] != paid[1].json()["id"]  # Without a key, each call is another.
        assert await client.captured() == [10_000, 10_000]
        report = await http.get("/payments/analytics?startDate=2024-01-01&endDate=2024-12-31", headers=finance)
        assert report.status_code == 200, report.text
        today = datetime.datetime.now(datetime.UTC).date()
        for group in ("day", "week", "month"):
            query = f"startDate={today}T00:00:00.000Z&endDate={today}T23:59:59.999Z&groupBy={group}&timeZone=UTC"
            report = await http.get(f"/payments/analytics?{query}", headers=finance)
            assert (report.status_code, report.json()["startDate"], report.json()["endDate"]) == (
                200, str(today), str(today),
            )  # fmt: skip
            assert len(report.json()["periods"]) == 1
