"""The schedule of fees, and the record of who changed it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import psycopg
import pytest

from kobklein.wallets.v1 import ledger_pb2, transfers_pb2
from tests import databases, transfers, wallets

CHARGED = (transfers.TRANSFER, ledger_pb2.TRANSFER_TYPE_CONVERSION)


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        yield client


async def listed(client: wallets.Client, caller: Any = None) -> list[transfers_pb2.Fee]:
    answer = await client.transfers.ListFees(transfers_pb2.ListFeesRequest(), metadata=caller or transfers.user("ana"))
    return list(answer.fees)


async def audited(database: databases.Database) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(database.owner_url) as connection:
        rows = await connection.execute(
            "SELECT subject, action, actor, reason, before, after FROM audit_entries ORDER BY id"
        )
        return await rows.fetchall()


def shown(fixed: str, parts: int, floor: str, cap: str | None) -> dict[str, Any]:
    return {"fixed_amount": fixed, "parts_per_million": parts, "floor_amount": floor, "cap_amount": cap}


async def test_a_fee_is_set_and_listed(client: wallets.Client) -> None:
    usd = await transfers.set_fee(client, currency="USD", fixed_amount=5)
    htg = await transfers.set_fee(client, fixed_amount=5, parts_per_million=10, floor_amount=1, cap_amount=9)
    other = await transfers.set_fee(client, type=ledger_pb2.TRANSFER_TYPE_CONVERSION, fixed_amount=7)
    assert htg == transfers_pb2.Fee(
        currency="HTG",
        type=transfers.TRANSFER,
        fixed_amount=5,
        parts_per_million=10,
        floor_amount=1,
        cap_amount=9,
        updated_time=htg.updated_time,
    )
    assert not usd.HasField("cap_amount")
    assert await listed(client) == [other, htg, usd]


async def test_a_fee_is_charged_in_its_currency_and_for_its_kind_alone(client: wallets.Client) -> None:
    await client.fund("ana", 1_000)
    await transfers.set_fee(client, currency="USD", fixed_amount=5)
    await transfers.set_fee(client, type=ledger_pb2.TRANSFER_TYPE_CONVERSION, fixed_amount=7)
    assert (await transfers.send(client, "ana", "ben", 100)).fee_amount == 0
    await transfers.set_fee(client, fixed_amount=3)
    assert (await transfers.send(client, "ana", "ben", 100)).fee_amount == 3
    await transfers.delete_fee(client)
    assert (await transfers.send(client, "ana", "ben", 100)).fee_amount == 0


async def test_every_change_is_recorded_with_what_was_before(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await transfers.set_fee(client, fixed_amount=500, reason="launch")
    first = await transfers.set_fee(client, parts_per_million=10, floor_amount=1, cap_amount=25_000, reason="cheaper")
    again = await transfers.set_fee(client, parts_per_million=10, floor_amount=1, cap_amount=25_000, reason="again")
    await transfers.delete_fee(client, reason="free week")
    assert again == first
    one, two = shown("5.00", 0, "0.00", None), shown("0.00", 10, "0.01", "250.00")
    assert await audited(wallets_database) == [
        ("fees/HTG/TRANSFER", "SET", "root", "launch", None, one),
        ("fees/HTG/TRANSFER", "SET", "root", "cheaper", one, two),
        ("fees/HTG/TRANSFER", "DELETE", "root", "free week", two, None),
    ]


async def test_concurrent_changes_take_turns(client: wallets.Client, wallets_database: databases.Database) -> None:
    await asyncio.gather(*(transfers.set_fee(client, fixed_amount=100 * number) for number in range(1, 21)))
    entries = await audited(wallets_database)
    assert len(entries) == 20
    befores, afters = [entry[4] for entry in entries], [entry[5] for entry in entries]
    links = {
        (before and before["fixed_amount"], after["fixed_amount"])
        for before, after in zip(befores, afters, strict=True)
    }
    followed, current = 0, None
    following = dict(links)
    while current in following:
        current = following.pop(current)
        followed += 1
    assert (followed, following) == (20, {})
    (fee,) = await listed(client)
    assert f"{fee.fixed_amount / 100:.2f}" == current


async def test_a_fee_that_is_not_there_cannot_be_deleted(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    status = await wallets.refused(transfers.delete_fee(client))
    assert (status.code, status.reason) == (grpc.StatusCode.NOT_FOUND, "FEE_NOT_FOUND")
    assert await audited(wallets_database) == []


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"floor_amount": 2, "cap_amount": 1}, "fee.cap_amount"),
        ({"floor_amount": 1, "cap_amount": 0}, "fee.cap_amount"),
        ({"cap_amount": -1}, "fee.cap_amount"),
        ({"fixed_amount": -1}, "fee.fixed_amount"),
        ({"floor_amount": -1}, "fee.floor_amount"),
        ({"parts_per_million": 1_000_001}, "fee.parts_per_million"),
        ({"parts_per_million": -1}, "fee.parts_per_million"),
        *(({"type": type_}, "fee.type") for type_ in ledger_pb2.TransferType.values() if type_ not in CHARGED),
        ({"currency": "XXX"}, "fee.currency"),
    ],
    ids=str,
)
async def test_an_impossible_fee_is_refused(client: wallets.Client, terms: dict[str, Any], field: str) -> None:
    status = await wallets.refused(transfers.set_fee(client, **terms))
    assert (status.code, [each.field for each in status.violations]) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert await listed(client) == []


async def test_a_change_is_repeated_by_its_key(client: wallets.Client, wallets_database: databases.Database) -> None:
    caller = wallets.metadata("root", "admin", key="k-1")
    fee = transfers_pb2.Fee(currency="HTG", type=transfers.TRANSFER, fixed_amount=5)
    request = transfers_pb2.SetFeeRequest(fee=fee, reason="launch")
    first, marked = await transfers.replayed(client.transfers.SetFee(request, metadata=caller))
    await transfers.set_fee(client, fixed_amount=7)
    assert not marked
    assert await transfers.replayed(client.transfers.SetFee(request, metadata=caller)) == (first, True)
    assert [each.fixed_amount for each in await listed(client)] == [7]
    assert len(await audited(wallets_database)) == 2


@pytest.mark.parametrize("role", ["user", "support", "finance"])
async def test_only_admins_change_fees_and_everybody_sees_them(client: wallets.Client, role: str) -> None:
    caller = wallets.metadata("sue", role)
    fee = transfers_pb2.Fee(currency="HTG", type=transfers.TRANSFER, fixed_amount=5)
    for call in (
        client.transfers.SetFee(transfers_pb2.SetFeeRequest(fee=fee), metadata=caller),
        client.transfers.DeleteFee(
            transfers_pb2.DeleteFeeRequest(currency="HTG", type=transfers.TRANSFER), metadata=caller
        ),
    ):
        assert (await wallets.refused(call)).code == grpc.StatusCode.PERMISSION_DENIED
    assert await listed(client, caller) == []
