"""The transactions of a wallet, selected and paged as their callers meet them."""

import datetime
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf import timestamp_pb2

from kobklein.wallets.v1 import wallets_pb2
from tests import databases, wallets
from wallets_service import transactions

ANA = wallets.metadata("ana", "user")


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as running:
        yield running


def moved(time: timestamp_pb2.Timestamp, **by: float) -> timestamp_pb2.Timestamp:
    later = timestamp_pb2.Timestamp()
    later.FromDatetime(time.ToDatetime(tzinfo=datetime.UTC) + datetime.timedelta(**by))
    return later


async def listed(client: wallets.Client, id_: str, **conditions: Any) -> list[int]:
    """Return the amounts that meet the conditions, newest first, through all pages."""
    request = wallets_pb2.ListWalletTransactionsRequest(id=id_, page_size=2, **conditions)
    amounts: list[int] = []
    while True:
        page = await client.wallets.ListWalletTransactions(request, metadata=ANA)
        amounts += [each.amount for each in page.transactions]
        request.page_token = page.next_page_token
        if not request.page_token:
            return amounts


async def test_metadata_is_found_as_a_text_a_number_or_a_truth_value(client: wallets.Client) -> None:
    """As JSON writes it, whatever it is recorded as; and never as something that only looks alike."""
    await client.fund("ana", 1_000)
    held = [11, "11", True, "true", 0.1, 1e23, "1e23", None, [11], {"a": 11}, 9007199254740992, "text"]
    for number, value in enumerate(held, 1):
        await client.post(wallets.transfer("user/ana", "user/ben", number, metadata={"a.b[c]": value}))
    id_ = (await client.account("user/ana")).id

    async def found(text: str) -> list[object]:
        return [held[amount - 1] for amount in reversed(await listed(client, id_, metadata={"a.b[c]": text}))]

    for text, values in (
        ("11", [11, "11"]),
        ("11.0", [11]),
        ("1.1e1", [11]),
        ("true", [True, "true"]),
        ("false", []),
        ("0.1", [0.1]),
        ("1e23", [1e23, "1e23"]),
        ("100000000000000000000000", [1e23]),
        ("9007199254740992", [9007199254740992]),
        ("9007199254740993", []),
        ("text", ["text"]),
        *(
            (text, [])
            for text in ("1e999", "1e-99999999999999999999", "9" * 200, "NaN", "Infinity", "1_1", "011", "null")
        ),
    ):
        assert await found(text) == values, text


async def test_transactions_are_filtered_by_reference_counterparty_metadata_and_effective_time(
    client: wallets.Client,
) -> None:
    funded = (await client.fund("ana", 1_000)).transfer
    back = moved(funded.created_time, days=-3)
    await client.post(
        wallets.transfer("user/ana", "user/ben", 1, reference="r-1", metadata={"order": "a", "shop": "7", "n": 1}),
        wallets.transfer("user/ana", "user/eva", 2, reference="r-2", metadata={"order": "a"}),
        wallets.transfer("user/ben", "user/ana", 1, reference="r-1", metadata={"order": "b", "shop": "7"}),
        wallets.transfer("provider/stripe", "user/ana", 4, type_="ADJUSTMENT", effective_time=back),
    )
    id_ = (await client.account("user/ana")).id
    assert await listed(client, id_, reference="r-1") == [1, 1]
    assert await listed(client, id_, counterparty="user/ben") == [1, 1]
    assert await listed(client, id_, counterparty="provider/stripe") == [4, 1_000]
    assert await listed(client, id_, counterparty="user/ana") == []
    assert await listed(client, id_, counterparty="user/nobody") == []
    assert await listed(client, id_, metadata={"order": "a"}) == [2, 1]
    assert await listed(client, id_, metadata={"order": "a", "shop": "7"}) == [1]
    assert await listed(client, id_, metadata={"n": "1", "shop": "7"}) == [1]
    assert await listed(client, id_, metadata={"order": ""}) == []
    assert await listed(client, id_, effective_before=funded.created_time) == [4]
    assert await listed(client, id_, effective_from=back, effective_before=moved(back, microseconds=1)) == [4]
    assert await listed(client, id_, effective_from=moved(back, microseconds=1)) == [1, 2, 1, 1_000]
    assert await listed(client, id_, created_before=moved(funded.created_time, microseconds=1)) == [1_000]
    assert await listed(client, id_, created_from=moved(funded.created_time, microseconds=1)) == [4, 1, 2, 1]
    finer = timestamp_pb2.Timestamp(seconds=funded.created_time.seconds, nanos=funded.created_time.nanos + 1)
    assert await listed(client, id_, created_from=finer) == [4, 1, 2, 1]
    assert await listed(client, id_, created_before=finer) == [1_000]
    assert await listed(client, id_, effective_from=finer) == [1, 2, 1]


async def test_a_page_of_rare_transactions_looks_at_a_part_of_the_history_only(
    client: wallets.Client,
) -> None:
    await client.fund("ana", 77_777)
    count = 5 * transactions.MOST_WALKED // 2
    for _ in range(10):
        await client.post(*(wallets.transfer("user/ana", "user/ben", 1) for _ in range(count // 10)))
    id_ = (await client.account("user/ana")).id
    request = wallets_pb2.ListWalletTransactionsRequest(id=id_, counterparty="provider/stripe")
    pages = 0
    found: list[int] = []
    while not found or request.page_token:
        page = await client.wallets.ListWalletTransactions(request, metadata=ANA)
        found += [each.amount for each in page.transactions]
        request.page_token = page.next_page_token
        pages += 1
    assert (found, pages) == ([77_777], 3)
