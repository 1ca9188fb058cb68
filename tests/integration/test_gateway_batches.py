"""The largest batches of transfers over REST: as many as the contract says, and not more bytes."""

import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import orjson
import pytest

from tests import databases, wallets, wallets_gateway
from tests.gateways import Gateway

MOST: Final = 10_000
MEBIBYTE: Final = 1024 * 1024
PATIENCE: Final = 60
HEADERS: Final = {
    "authorization": f"Bearer {wallets.token('root', 'admin')}",
    "content-type": "application/json",
    "grpc-timeout": f"{PATIENCE}S",
}


@pytest.fixture
async def served(wallets_database: databases.Database) -> AsyncIterator[tuple[Gateway, wallets.Client]]:
    async with wallets_gateway.running(
        wallets_database, service={"longest_call_seconds": PATIENCE}, longest_call_seconds=PATIENCE
    ) as running:
        yield running


def transfers(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": str(uuid.uuid4()),
            "debitAccount": "provider/stripe",
            "creditAccount": f"user/u-{number % 100}",
            "amount": "0.01",
            "currency": "HTG",
            "type": "DEPOSIT",
            **fields,
        }
        for number in range(count)
    ]


async def post(gateway: Gateway, path: str, body: bytes) -> httpx.Response:
    return await gateway.http.post(path, content=body, headers=HEADERS, timeout=PATIENCE)


async def test_as_many_transfers_as_a_call_may_have_are_posted_in_one_body(
    served: tuple[Gateway, wallets.Client],
) -> None:
    gateway, client = served
    body = orjson.dumps({"transfers": transfers(MOST, reference="r" * 64)})
    assert len(body) > MEBIBYTE
    answer = await post(gateway, "/ledger/transfers", body)
    assert answer.status_code == 200, answer.text[:500]
    results = answer.json()["results"]
    assert (len(results), [result for result in results if "error" in result]) == (MOST, [])
    assert (await client.account("provider/stripe")).balance == -MOST
    one_more = await post(gateway, "/ledger/transfers", orjson.dumps({"transfers": transfers(MOST + 1)}))
    assert (one_more.status_code, one_more.json()["errors"][0]["field"]) == (400, "transfers")


async def test_a_body_that_is_longer_than_the_contract_allows_is_refused(
    served: tuple[Gateway, wallets.Client],
) -> None:
    gateway, _ = served
    longest = orjson.dumps({"transfers": []}).ljust(4 * MEBIBYTE)
    within = await post(gateway, "/ledger/transfers", longest)
    assert (within.status_code, within.json()["errors"]) == (400, [{"field": "transfers", "detail": "is required"}])
    assert (await post(gateway, "/ledger/transfers", longest + b" ")).status_code == 413
    for path in ("/transfers", "/holds", "/wallets"):
        other = await gateway.http.post(
            path,
            content=b"{}".ljust(64 * 1024 + 1),
            headers={"idempotency-key": "k", "content-type": "application/json"},
        )
        assert other.status_code == 413
    document = (await gateway.http.get("/openapi.json")).json()
    assert document["paths"]["/ledger/transfers"]["post"]["requestBody"]["description"] == "At most 4194304 bytes."


async def test_of_very_many_mistakes_the_first_hundred_are_named(served: tuple[Gateway, wallets.Client]) -> None:
    gateway, _ = served
    body = orjson.dumps({"transfers": transfers(MOST, reference="r" * 65)})
    answer = await post(gateway, "/ledger/transfers", body)
    assert answer.status_code == 400, answer.text[:500]
    named = [error["field"] for error in answer.json()["errors"]]
    assert named == [f"transfers[{number}].reference" for number in range(100)]
