"""Reversals: what they take back, from whom, and never more than there was."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from kobklein import ids
from kobklein.wallets.v1 import ledger_pb2, transfers_pb2, wallets_pb2
from tests import conversions, databases, transfers, wallets


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        await client.fund("ana", 10_000)
        yield client


async def balance(client: wallets.Client, address: str) -> int:
    return (await client.account(address)).balance


async def test_a_transfer_is_taken_back_by_a_new_one_that_names_it(client: wallets.Client) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    reversal = await transfers.reverse(client, original.id, reason="sent to the wrong person")
    assert reversal == ledger_pb2.Transfer(
        id=reversal.id,
        debit_account="user/ben",
        credit_account="user/ana",
        amount=700,
        currency="HTG",
        type=ledger_pb2.TRANSFER_TYPE_REFUND,
        description="sent to the wrong person",
        metadata=reversal.metadata,
        debit_balance_after=0,
        credit_balance_after=10_000,
        created_time=reversal.created_time,
        reverses_id=original.id,
    )
    assert dict(reversal.metadata) == {"extent": "REMAINDER"}
    assert (await transfers.get(client, original.id, caller=transfers.user("ben"))).reversed_amount == 700
    assert (await client.verify()).balanced


async def test_both_statements_show_the_reversal_and_what_it_took_back(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=50)
    original = await transfers.send(client, "ana", "ben", 700)
    reversal = await transfers.reverse(client, original.id, 300, reason="a mistake")
    for name, direction, after in (
        ("ana", wallets_pb2.DIRECTION_CREDIT, 9_550),
        ("ben", wallets_pb2.DIRECTION_DEBIT, 400),
    ):
        line = (await transfers.statement(client, name))[0]
        assert (line.id, line.type, line.direction, line.amount, line.balance_after) == (
            reversal.id,
            ledger_pb2.TRANSFER_TYPE_REFUND,
            direction,
            300,
            after,
        )
        assert (line.reverses_id, line.description, line.group_id) == (original.id, "a mistake", "")
    assert await balance(client, "fees") == 50


async def test_a_transfer_is_taken_back_in_parts_up_to_all_of_it(client: wallets.Client) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    await transfers.reverse(client, original.id, 300)
    status = await wallets.refused(transfers.reverse(client, original.id, 401))
    assert (status.code, status.reason, status.message) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "REVERSAL_EXCEEDED",
        f"of transfer {original.id}, 4.00 HTG can be taken back, not 4.01",
    )
    back = wallets.transfer("user/ben", "user/ana", 401, type_="REFUND", reverses_id=original.id)
    (result,) = await client.post(back)
    assert (result.error.reason, dict(result.error.metadata)) == (status.reason, status.metadata)
    rest = await transfers.reverse(client, original.id)
    assert (rest.amount, rest.credit_balance_after) == (400, 10_000)
    for amount in (None, 1):
        status = await wallets.refused(transfers.reverse(client, original.id, amount))
        assert (status.reason, status.metadata["reversible"]) == ("REVERSAL_EXCEEDED", "0.00")
    assert (await transfers.get(client, original.id, caller=transfers.user("ana"))).reversed_amount == 700


async def test_the_fee_is_a_transaction_of_its_own(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=50)
    original = await transfers.send(client, "ana", "ben", 700)
    await transfers.reverse(client, original.id)
    assert (await balance(client, "user/ana"), await balance(client, "fees")) == (9_950, 50)
    (fee,) = [line for line in await transfers.statement(client, "ana") if line.type == ledger_pb2.TRANSFER_TYPE_FEE]
    await transfers.reverse(client, fee.id)
    assert (await balance(client, "user/ana"), await balance(client, "fees")) == (10_000, 0)


async def test_a_reversal_cannot_be_reversed(client: wallets.Client) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    reversal = await transfers.reverse(client, original.id)
    for amount in (None, 1):
        status = await wallets.refused(transfers.reverse(client, reversal.id, amount))
        assert (status.code, status.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_REVERSIBLE")


async def test_what_was_never_posted_cannot_be_taken_back(client: wallets.Client) -> None:
    status = await wallets.refused(transfers.reverse(client, str(uuid.uuid4())))
    assert (status.code, status.reason) == (grpc.StatusCode.NOT_FOUND, "ORIGINAL_NOT_FOUND")


async def test_money_that_is_spent_cannot_be_taken_back(client: wallets.Client) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    await transfers.send(client, "ben", "eva", 100)
    status = await wallets.refused(transfers.reverse(client, original.id))
    assert (status.reason, status.metadata["account"], status.metadata["available"], status.metadata["needed"]) == (
        "INSUFFICIENT_FUNDS",
        "user/ben",
        "6.00",
        "7.00",
    )
    assert (await transfers.reverse(client, original.id, 600)).debit_balance_after == 0


async def test_an_amount_needs_the_currency_of_the_transaction(client: wallets.Client) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    for wrong in ({"amount": 1, "currency": ""}, {"amount": 1, "currency": "USD"}, {"currency": "USD"}):
        status = await wallets.refused(transfers.reverse(client, original.id, **wrong))
        assert (status.code, [each.field for each in status.violations]) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            ["currency"],
        )


@pytest.mark.parametrize(("role", "allowed"), [("user", False), ("support", False), ("finance", True), ("admin", True)])
async def test_only_those_who_answer_for_the_money_take_it_back(
    client: wallets.Client, role: str, *, allowed: bool
) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    request = transfers_pb2.ReverseTransactionRequest(id=original.id, reason="a mistake")
    call = client.transfers.ReverseTransaction(request, metadata=wallets.metadata("ana", role, key="k"))
    if allowed:
        assert (await call).amount == 700
    else:
        assert (await wallets.refused(call)).code == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("amount", [None, 300])
async def test_a_repetition_gets_the_first_answer_and_takes_nothing_more(
    client: wallets.Client, amount: int | None
) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    request = transfers_pb2.ReverseTransactionRequest(id=original.id, amount=amount, currency="HTG", reason="a mistake")

    async def call() -> tuple[ledger_pb2.Transfer, bool]:
        return await transfers.replayed(
            client.transfers.ReverseTransaction(request, metadata=wallets.metadata("fin", "finance", key="k-1"))
        )

    first, marked = await call()
    assert not marked
    assert await call() == (first, True)
    if amount:
        await transfers.reverse(client, original.id)
    assert await call() == (first, True)
    assert (await transfers.get(client, original.id, caller=transfers.FINANCE)).reversed_amount == 700


async def test_a_key_is_good_for_one_reversal(client: wallets.Client) -> None:
    one, other = [await transfers.send(client, "ana", "ben", 700) for _ in range(2)]
    await transfers.reverse(client, one.id, 700, key="k-1")
    changes: list[dict[str, Any]] = [
        {"id_": other.id, "amount": 700},
        {"id_": one.id, "amount": 699},
        {"id_": one.id},
        {"id_": one.id, "amount": 700, "reason": "another"},
        {"id_": str(uuid.uuid4())},
        {"id_": str(ids.of_key("fin", "k-1")), "amount": 700},
    ]
    for change in changes:
        status = await wallets.refused(transfers.reverse(client, **change, key="k-1"))
        assert (status.reason, status.http_status) == ("IDEMPOTENCY_KEY_REUSED", 422)


async def test_a_key_is_good_for_one_kind_of_call(client: wallets.Client) -> None:
    admin = wallets.metadata("root", "admin", key="k-1")
    sent = await transfers.send(client, "", "ben", 700, user_id="ana", caller=admin)
    request = transfers_pb2.ReverseTransactionRequest(id=sent.id, reason="a mistake")
    status = await wallets.refused(client.transfers.ReverseTransaction(request, metadata=admin))
    assert status.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_a_call_that_died_after_its_effect_is_answered_by_its_repetition(client: wallets.Client) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    id_ = str(ids.of_key("fin", "k-1"))
    posted = wallets.transfer(
        "user/ben", "user/ana", 300, type_="REFUND", id=id_, reverses_id=original.id, description="a mistake"
    )
    await client.post(posted)
    reversal = await transfers.reverse(client, original.id, 300, key="k-1")
    assert (reversal.id, reversal.amount) == (id_, 300)
    assert (await transfers.get(client, original.id, caller=transfers.FINANCE)).reversed_amount == 300


async def test_a_dry_run_takes_nothing_back(client: wallets.Client) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    tried = await transfers.reverse(client, original.id, key="k-1", dry_run=True)
    assert (tried.amount, tried.debit_balance_after, tried.credit_balance_after) == (700, 0, 10_000)
    assert not tried.HasField("created_time")
    assert await balance(client, "user/ben") == 700
    status = await wallets.refused(transfers.reverse(client, original.id, 701, dry_run=True))
    assert status.reason == "REVERSAL_EXCEEDED"
    made = await transfers.reverse(client, original.id, key="k-1")
    tried.created_time.CopyFrom(made.created_time)
    assert made == tried


async def test_a_deposit_goes_back_to_the_providers_account(client: wallets.Client) -> None:
    deposit = await client.fund("ana", 500)
    reversal = await transfers.reverse(client, deposit.transfer.id)
    assert (reversal.debit_account, reversal.credit_account) == ("user/ana", "provider/stripe")
    assert await balance(client, "user/ana") == 10_000


async def test_each_side_of_a_conversion_is_taken_back_by_itself(client: wallets.Client) -> None:
    await conversions.set_rate(client, "HTG", "USD", "0.01")
    quote = await conversions.quote(client, sell=(1_300, "HTG"), buy=(None, "USD"))
    accepted = await conversions.accept(client, quote.id)
    await transfers.reverse(client, accepted.transaction_id)
    assert (await balance(client, "user/ana"), (await client.account("user/ana", "USD")).balance) == (10_000, 12)
    wallet = await client.account("user/ana", "USD")
    request = wallets_pb2.ListWalletTransactionsRequest(id=wallet.id)
    (bought,) = (await client.wallets.ListWalletTransactions(request, metadata=conversions.ANA)).transactions
    await transfers.reverse(client, bought.id)
    assert (await client.account("user/ana", "USD")).balance == 0
    assert (await client.verify()).balanced
