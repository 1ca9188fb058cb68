"""Transfers from user to user: what moves, what it costs, who sees what, and what a repetition is told."""

import itertools
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf import struct_pb2

from kobklein import ids
from kobklein.wallets.v1 import ledger_pb2, transfers_pb2, wallets_pb2
from tests import databases, transfers, wallets


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        await client.fund("ana", 10_000)
        yield client


def metadata(**values: Any) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


async def balances(client: wallets.Client) -> dict[str, int]:
    accounts = await client.ledger.ListAccounts(ledger_pb2.ListAccountsRequest(), metadata=wallets.AS_SERVICE)
    return {account.address: account.balance for account in accounts.accounts}


async def test_money_moves_from_user_to_user(client: wallets.Client) -> None:
    made = await transfers.send(
        client, "ana", "ben", 2_500, reference="r-1", description="rent", metadata=metadata(month=7)
    )
    assert made == transfers_pb2.UserTransfer(
        id=made.id,
        user_id="ana",
        to_user_id="ben",
        amount=2_500,
        fee_amount=0,
        currency="HTG",
        balance_after=7_500,
        reference="r-1",
        description="rent",
        metadata=metadata(month=7),
        created_time=made.created_time,
    )
    assert await balances(client) == {"provider/stripe": -10_000, "user/ana": 7_500, "user/ben": 2_500}
    assert (await client.verify()).balanced


async def test_a_fee_comes_on_top_and_in_the_same_group(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=50, parts_per_million=10_000)
    made = await transfers.send(client, "ana", "ben", 2_599, reference="r-1")
    assert (made.amount, made.fee_amount, made.balance_after) == (2_599, 75, 7_326)
    assert await balances(client) == {"provider/stripe": -10_000, "user/ana": 7_326, "user/ben": 2_599, "fees": 75}
    paid, sent, _ = await transfers.statement(client, "ana")
    assert (paid.type, paid.amount, paid.counterparty, paid.balance_after) == (
        ledger_pb2.TRANSFER_TYPE_FEE,
        75,
        "fees",
        7_326,
    )
    assert (sent.type, sent.amount, sent.counterparty, sent.balance_after) == (
        transfers.TRANSFER,
        2_599,
        "user/ben",
        7_401,
    )
    assert sent.id == made.id == sent.group_id == paid.group_id
    assert sent.reference == paid.reference == "r-1"
    (received,) = await transfers.statement(client, "ben")
    assert (received.id, received.amount, received.direction) == (made.id, 2_599, wallets_pb2.DIRECTION_CREDIT)


async def test_each_side_sees_its_own_and_staff_see_the_fee(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=50)
    made = await transfers.send(client, "ana", "ben", 1_000)
    await transfers.send(client, "ana", "ben", 1)
    by_ana = await transfers.get(client, made.id, caller=transfers.user("ana"))
    by_ben = await transfers.get(client, made.id, caller=transfers.user("ben"))
    by_staff = await transfers.get(client, made.id, caller=wallets.metadata("sue", "support"))
    assert by_ana == made
    assert (by_ana.fee_amount, by_ana.balance_after) == (50, 8_950)
    assert not by_ben.HasField("fee_amount")
    assert by_ben.balance_after == 1_000
    assert (by_staff.fee_amount, by_staff.debit_balance_after, by_staff.credit_balance_after) == (50, 8_950, 1_000)
    both = ("debit_balance_after", "credit_balance_after")
    assert not any(each.HasField(name) for each in (by_ana, by_ben) for name in both)
    assert not by_staff.HasField("balance_after")
    assert [each.amount for each in (by_ana, by_ben, by_staff)] == [1_000] * 3


async def test_anothers_transfer_looks_like_a_missing_one(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=50)
    made = await transfers.send(client, "ana", "ben", 1_000)
    deposit = await client.fund("eva", 5)
    fee = (await transfers.statement(client, "ana"))[0]
    for id_, caller in ((made.id, "eva"), (str(uuid.uuid4()), "ana"), (deposit.transfer.id, "eva"), (fee.id, "ana")):
        status = await wallets.refused(transfers.get(client, id_, caller=transfers.user(caller)))
        assert (status.code, status.reason) == (grpc.StatusCode.NOT_FOUND, "TRANSFER_NOT_FOUND")
        assert status.message == f"there is no transfer {id_}"


async def test_nobody_pays_from_anothers_wallet_but_those_who_may(client: wallets.Client) -> None:
    status = await wallets.refused(transfers.send(client, "ben", "eva", 1, user_id="ana"))
    assert status.code == grpc.StatusCode.PERMISSION_DENIED
    support = wallets.metadata("sue", "support", key="k")
    assert (await wallets.refused(transfers.send(client, "", "eva", 1, user_id="ana", caller=support))).code == (
        grpc.StatusCode.PERMISSION_DENIED
    )
    admin = wallets.metadata("root", "admin", key="k")
    made = await transfers.send(client, "", "eva", 1, user_id="ana", caller=admin)
    assert (made.user_id, made.to_user_id, made.fee_amount) == ("ana", "eva", 0)
    assert (made.debit_balance_after, made.credit_balance_after) == (9_999, 1)
    assert not made.HasField("balance_after")
    assert await balances(client) == {"provider/stripe": -10_000, "user/ana": 9_999, "user/eva": 1}


async def test_a_wallet_cannot_pay_itself(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=50)
    assert (await wallets.refused(transfers.send(client, "ana", "ana", 1))).reason == "SAME_ACCOUNT"
    assert await balances(client) == {"provider/stripe": -10_000, "user/ana": 10_000}


async def test_each_transfer_without_a_key_is_another(client: wallets.Client) -> None:
    made = [await transfers.send(client, "", "ben", 1, caller=transfers.user("ana")) for _ in range(2)]
    assert made[0].id != made[1].id
    assert (await balances(client))["user/ben"] == 2


@pytest.mark.parametrize(("amount", "fee"), [(9_990, 11), (10_001, 11), (5_001, 5_001), (1, 10_000)])
async def test_a_payer_without_enough_learns_what_both_legs_need(client: wallets.Client, amount: int, fee: int) -> None:
    await transfers.set_fee(client, fixed_amount=fee)
    status = await wallets.refused(transfers.send(client, "ana", "ben", amount))
    needed, charged = (f"{cents / 100:.2f}" for cents in (amount + fee, fee))
    assert (status.code, status.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_FUNDS")
    assert status.metadata == {
        "account": "user/ana",
        "currency": "HTG",
        "available": "100.00",
        "held": "0.00",
        "needed": needed,
        "fee": charged,
    }
    assert status.message == (
        f"user/ana has 100.00 HTG available, 0.00 held, and needs {needed}, of which {charged} are its fee"
    )
    assert await balances(client) == {"provider/stripe": -10_000, "user/ana": 10_000}


async def test_a_payer_without_enough_learns_nothing_of_a_fee_that_there_is_not(client: wallets.Client) -> None:
    status = await wallets.refused(transfers.send(client, "ana", "ben", 10_001))
    assert status.message == "user/ana has 100.00 HTG available, 0.00 held, and needs 100.01"
    assert "fee" not in status.metadata


async def test_the_last_cent_pays_the_fee(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=10)
    assert (await transfers.send(client, "ana", "ben", 9_990)).balance_after == 0


async def test_a_repetition_gets_the_first_answer_and_has_no_effect(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=50)
    request = transfers_pb2.CreateTransferRequest(
        to_user_id="ben",
        amount=700,
        currency="HTG",
        reference="r",
        metadata=metadata(a=1e23, b=[1, None, {"c": 0.1}]),
        to_new_user=True,
    )

    async def call() -> tuple[transfers_pb2.UserTransfer, bool]:
        return await transfers.replayed(
            client.transfers.CreateTransfer(request, metadata=transfers.user("ana", key="k-1"))
        )

    first, marked = await call()
    assert not marked
    for change in (
        lambda: transfers.set_fee(client, fixed_amount=99),
        lambda: transfers.delete_fee(client),
        lambda: transfers.send(client, "ana", "ben", 8_000),
        lambda: transfers.reverse(client, first.id, 100),
    ):
        await change()
        assert await call() == (first, True)
    assert first.fee_amount == 50
    assert (await transfers.get(client, first.id, caller=transfers.user("ana"))).reversed_amount == 100
    assert await balances(client) == {"provider/stripe": -10_000, "user/ana": 1_350, "user/ben": 8_600, "fees": 50}


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 701},
        {"to_user_id": "eva"},
        {"currency": "USD"},
        {"reference": "other"},
        {"description": "other"},
        {"metadata": metadata(a=1)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_key_is_good_for_one_request(client: wallets.Client, change: dict[str, Any]) -> None:
    await client.fund("ana", 10_000, "USD")
    await transfers.send(client, "ana", "ben", 700, key="k-1")
    arguments = {"payee": "ben", "amount": 700} | {("payee" if k == "to_user_id" else k): v for k, v in change.items()}
    status = await wallets.refused(transfers.send(client, "ana", **arguments, key="k-1"))
    assert (status.reason, status.http_status) == ("IDEMPOTENCY_KEY_REUSED", 422)


async def test_a_key_belongs_to_its_caller(client: wallets.Client) -> None:
    await client.fund("ben", 1_000)
    by_ana = await transfers.send(client, "ana", "eva", 700, key="k-1")
    by_ben = await transfers.send(client, "ben", "eva", 700, key="k-1")
    by_admin = await transfers.send(
        client, "", "eva", 700, user_id="ana", caller=wallets.metadata("root", "admin", key="k-1")
    )
    assert len({by_ana.id, by_ben.id, by_admin.id}) == 3
    assert (await client.account("user/eva")).balance == 2_100


async def test_a_refusal_leaves_the_key_free(client: wallets.Client) -> None:
    assert (await wallets.refused(transfers.send(client, "ana", "ben", 10_001, key="k-1"))).reason == (
        "INSUFFICIENT_FUNDS"
    )
    await client.fund("ana", 1)
    assert (await transfers.send(client, "ana", "ben", 10_001, key="k-1")).balance_after == 0


async def test_a_call_that_died_after_its_effect_is_answered_by_its_repetition(client: wallets.Client) -> None:
    """The ledger has both legs, as they were posted under the fee of then; nobody ever saw the answer."""
    id_ = ids.of_key("ana", "k-1")
    await client.post(
        wallets.transfer("user/ana", "user/ben", 700, id=str(id_), linked=True),
        wallets.transfer("user/ana", "fees", 50, type_="FEE", id=str(ids.derived(id_, "fee"))),
    )
    await transfers.set_fee(client, fixed_amount=99)
    request = transfers_pb2.CreateTransferRequest(to_user_id="ben", amount=700, to_new_user=True)
    made, marked = await transfers.replayed(
        client.transfers.CreateTransfer(request, metadata=transfers.user("ana", key="k-1"))
    )
    assert marked
    assert (made.id, made.amount, made.fee_amount, made.balance_after) == (str(id_), 700, 50, 9_250)
    assert (await client.verify()).transfer_count == 3


async def test_a_dry_run_answers_what_would_happen_and_leaves_no_trace(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=50)
    before = await client.account("user/ana")
    tried = await transfers.send(client, "ana", "ben", 700, key="k-1", dry_run=True)
    assert (tried.dry_run, tried.fee_amount, tried.balance_after) == (True, 50, 9_250)
    assert not tried.HasField("created_time")
    assert tried.payee_is_new
    tried.ClearField("payee_is_new")
    assert await client.account("user/ana") == before
    assert set(await balances(client)) == {"provider/stripe", "user/ana"}
    status = await wallets.refused(transfers.get(client, tried.id, caller=transfers.user("ana")))
    assert status.reason == "TRANSFER_NOT_FOUND"
    made = await transfers.send(client, "ana", "ben", 700, key="k-1")
    tried.created_time.CopyFrom(made.created_time)
    tried.dry_run = False
    assert made == tried


async def test_a_dry_run_is_refused_as_the_transfer_would_be(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=50)
    tried, done = [
        await wallets.refused(transfers.send(client, "ana", "ben", 9_999, dry_run=dry_run)) for dry_run in (True, False)
    ]
    assert tried == done
    await transfers.send(client, "ana", "ben", 1, key="k-1")
    status = await wallets.refused(transfers.send(client, "ana", "ben", 2, key="k-1", dry_run=True))
    assert status.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_a_limit_of_a_day_is_told_as_it_stood_before_both_legs(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await transfers.set_fee(client, fixed_amount=50)
    async with await psycopg.AsyncConnection.connect(wallets_database.owner_url, autocommit=True) as connection:
        await connection.execute("INSERT INTO currency_limits (currency, day_limit) VALUES ('HTG', 1000)")
    await transfers.send(client, "ana", "ben", 100)
    status = await wallets.refused(transfers.send(client, "ana", "ben", 801))
    assert (status.reason, status.metadata["used"], status.metadata["limit"]) == ("LIMIT_EXCEEDED", "1.50", "10.00")
    assert (await transfers.send(client, "ana", "ben", 800)).balance_after == 9_000


async def test_every_split_of_an_amount_adds_up(client: wallets.Client) -> None:
    await transfers.set_fee(client, parts_per_million=3_333, floor_amount=1, cap_amount=7)
    fees = [
        (await transfers.send(client, "ana", "ben", amount)).fee_amount
        for amount in (1, 299, 300, 301, 599, 601, 1_000, 2_100, 2_500)
    ]
    assert fees == [1, 1, 1, 1, 1, 2, 3, 6, 7]
    assert all(one <= other for one, other in itertools.pairwise(fees))
    assert await balances(client) == {
        "provider/stripe": -10_000,
        "user/ana": 10_000 - 7_701 - 23,
        "user/ben": 7_701,
        "fees": 23,
    }
    assert (await client.verify()).balanced
