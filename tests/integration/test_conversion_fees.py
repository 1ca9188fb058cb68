"""The fee of a conversion: part of the quote, and posted with its legs or not at all."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest

from kobklein import errors
from kobklein.wallets.v1 import accounts_pb2, ledger_pb2, statements_pb2, transfers_pb2, wallets_pb2
from kobklein.wallets.v1 import conversions_pb2 as pb
from tests import accounts, conversions, databases, transfers, wallets

CONVERSION, FEE = ledger_pb2.TRANSFER_TYPE_CONVERSION, ledger_pb2.TRANSFER_TYPE_FEE
OWN: Final = 10_075
"""What 100.00 USD cost with their fee."""


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    """A client of a service that takes 0.25 USD and half a per cent of what is sold."""
    async with wallets.running(wallets_database) as client:
        await conversions.set_rate(client)
        await set_fee(client, fixed_amount=25, parts_per_million=5_000)
        yield client


async def set_fee(client: wallets.Client, **terms: Any) -> transfers_pb2.Fee:
    return await transfers.set_fee(client, **{"currency": "USD", "type": CONVERSION, **terms})


async def delete_fee(client: wallets.Client) -> None:
    request = transfers_pb2.DeleteFeeRequest(currency="USD", type=CONVERSION, reason="over")
    await client.transfers.DeleteFee(request, metadata=transfers.ADMIN)


async def hundred(client: wallets.Client, **fields: Any) -> pb.Quote:
    """Return a quote for selling 100.00 USD, which costs 0.75 USD."""
    return await conversions.quote(client, sell=(10_000, "USD"), **fields)


async def transactions(client: wallets.Client, currency: str) -> list[wallets_pb2.Transaction]:
    """Return what happened in Ana's wallet, newest first."""
    wallet = await client.account("user/ana", currency)
    request = wallets_pb2.ListWalletTransactionsRequest(id=wallet.id)
    page = await client.wallets.ListWalletTransactions(request, metadata=conversions.ANA)
    return list(page.transactions)


def usd(amount: int) -> pb.Money:
    return pb.Money(amount=amount, currency="USD")


async def test_a_quote_says_what_it_costs_on_top_in_the_sold_currency(client: wallets.Client) -> None:
    made = await conversions.quote(client, sell=(10_001, "USD"))
    assert (made.sell, made.fee) == (usd(10_001), usd(75))  # 75.005 before rounding
    assert made.buy.amount == 1_292_941  # as without a fee
    assert made.effective_rate == "129.281171882811"
    assert await conversions.get(client, made.id) == made


async def test_who_fixes_what_to_buy_pays_the_fee_of_what_that_sells(client: wallets.Client) -> None:
    made = await conversions.quote(client, buy=(1_000_000, "HTG"))
    assert (made.sell, made.fee) == (usd(7_736), usd(25 + 38))


async def test_what_another_kind_or_currency_costs_is_not_charged(client: wallets.Client) -> None:
    await delete_fee(client)
    await set_fee(client, currency="HTG", fixed_amount=7)
    await set_fee(client, type=transfers.TRANSFER, fixed_amount=9)
    assert (await hundred(client)).fee == usd(0)


async def test_an_accepted_quote_moves_the_fee_with_the_rest(client: wallets.Client) -> None:
    await client.fund("ana", 20_000, "USD")
    made = await hundred(client)
    accepted = await conversions.accept(client, made.id)
    assert (accepted.fee, await conversions.get(client, made.id)) == (usd(75), conversions.kept(accepted))
    assert (accepted.sell_balance.amount, accepted.buy_balance.amount) == (20_000 - OWN, made.buy.amount)
    assert await conversions.balances(client) == {
        ("user/ana", "USD"): 20_000 - OWN,
        ("fees", "USD"): 75,
        ("fx/liquidity", "USD"): 10_000,
        ("user/ana", "HTG"): made.buy.amount,
        ("fx/spread", "HTG"): made.spread.amount,
        ("fx/liquidity", "HTG"): -(made.buy.amount + made.spread.amount),
    }
    report = await client.verify()
    assert (report.balanced, report.transfer_count) == (True, 1 + 4)


async def test_without_a_spread_the_fee_is_still_charged(client: wallets.Client) -> None:
    await conversions.set_rate(client, "USD", "HTG", "131.25", 0)
    await client.fund("ana", OWN, "USD")
    await conversions.accept(client, (await hundred(client)).id)
    assert await conversions.balances(client) == {
        ("user/ana", "USD"): 0,
        ("fees", "USD"): 75,
        ("fx/liquidity", "USD"): 10_000,
        ("user/ana", "HTG"): 1_312_500,
        ("fx/liquidity", "HTG"): -1_312_500,
    }


async def test_the_fee_of_a_quote_stays_when_the_schedule_changes(client: wallets.Client) -> None:
    await client.fund("ana", 2 * OWN, "USD")
    dearer, free = [await hundred(client) for _ in range(2)]
    await set_fee(client, fixed_amount=999)
    assert (await conversions.accept(client, dearer.id)).fee == usd(75)
    await delete_fee(client)
    assert (await conversions.accept(client, free.id, key="k")).fee == usd(75)
    assert (await conversions.balances(client))["fees", "USD"] == 150
    await set_fee(client, fixed_amount=1)
    again = await conversions.accept(client, free.id, key="k")
    assert (again.fee, (await conversions.balances(client))["fees", "USD"]) == (usd(75), 150)


async def test_a_quote_that_was_made_without_a_fee_costs_none_when_there_is_one(client: wallets.Client) -> None:
    await delete_fee(client)
    await client.fund("ana", OWN, "USD")
    made = await hundred(client)
    await set_fee(client, fixed_amount=1)
    assert (await conversions.accept(client, made.id)).fee == usd(0)
    assert (await conversions.balances(client))["user/ana", "USD"] == 75


@pytest.mark.parametrize("own", [9_999, 10_000, OWN - 1])
async def test_who_cannot_pay_both_is_told_what_both_need_and_nothing_moves(client: wallets.Client, own: int) -> None:
    await client.fund("ana", own, "USD")
    made = await hundred(client)
    status = await wallets.refused(conversions.accept(client, made.id, key="k"))
    assert (status.reason, status.metadata) == (
        "INSUFFICIENT_FUNDS",
        {
            "account": "user/ana",
            "currency": "USD",
            "available": f"{own / 100:.2f}",
            "held": "0.00",
            "needed": "100.75",
            "fee": "0.75",
        },
    )
    assert await conversions.balances(client) == {("user/ana", "USD"): own}
    assert await conversions.get(client, made.id) == made
    await client.fund("ana", OWN - own, "USD")
    assert (await conversions.accept(client, made.id, key="k")).status == pb.QUOTE_STATUS_ACCEPTED
    assert (await conversions.balances(client))["user/ana", "USD"] == 0


async def test_a_limit_counts_the_fee_and_is_told_as_it_stood_before(client: wallets.Client) -> None:
    await client.fund("ana", 100_000, "USD")
    await accounts.set_limits(client, "USD", day_amount=OWN + 10_074)
    first, second = [await hundred(client) for _ in range(2)]
    await conversions.accept(client, first.id)
    status = await wallets.refused(conversions.accept(client, second.id))
    assert (status.reason, status.metadata["used"]) == ("LIMIT_EXCEEDED", "100.75")
    await accounts.set_limits(client, "USD", day_amount=2 * OWN)
    assert (await conversions.accept(client, second.id)).status == pb.QUOTE_STATUS_ACCEPTED


@pytest.mark.parametrize("free", [False, True])
async def test_what_the_ledger_has_against_a_later_leg_is_told_as_it_is(client: wallets.Client, free: bool) -> None:
    """Neither is about the payer's money: it is not told as if it were, nor what of the platform's is missing."""
    if free:
        await delete_fee(client)
    await client.fund("ana", OWN, "USD")
    await client.fund("ana", 1)
    made = await hundred(client)
    wallet = await client.account("user/ana")
    await accounts.freeze(client, wallet.id, accounts_pb2.FREEZE_DIRECTION_CREDIT)
    assert (await wallets.refused(conversions.accept(client, made.id))).reason == "ACCOUNT_FROZEN"
    await accounts.unfreeze(client, wallet.id)
    await client.post(wallets.transfer("provider/stripe", "fx/liquidity", 1))
    liquidity = await client.account("fx/liquidity")
    await accounts.update(client, liquidity.id, "overdraft_limit", overdraft_limit=0)
    status = await wallets.refused(conversions.accept(client, made.id))
    assert (status.reason, status.metadata) == ("COUNTERPARTY_UNAVAILABLE", {})
    assert (await client.account("user/ana", "USD")).balance == OWN


async def test_the_fee_is_a_line_of_its_own_in_the_history_and_the_statement(client: wallets.Client) -> None:
    deposit = await client.fund("ana", OWN, "USD")
    accepted = await conversions.accept(client, (await hundred(client)).id)
    fee, sold, _ = await transactions(client, "USD")
    assert (fee.type, fee.direction, fee.amount, fee.counterparty) == (FEE, wallets_pb2.DIRECTION_DEBIT, 75, "fees")
    assert (sold.type, sold.amount, sold.id) == (CONVERSION, 10_000, accepted.transaction_id)
    assert (sold.balance_after, fee.balance_after) == (75, 0)
    assert fee.group_id == sold.group_id == sold.id
    assert (fee.description, fee.metadata) == (sold.description, sold.metadata)
    assert fee.metadata["quote_id"] == accepted.id
    assert fee.created_time == accepted.accepted_time
    (bought,) = await transactions(client, "HTG")
    assert (bought.type, bought.group_id) == (CONVERSION, sold.id)
    statement = await client.statements.GetStatement(
        statements_pb2.GetStatementRequest(id=sold.wallet_id, from_time=deposit.transfer.created_time),
        metadata=conversions.ANA,
    )
    assert (statement.credit_amount, statement.debit_amount, statement.closing_balance) == (OWN, OWN, 0)
    assert [line.id for line in statement.transactions][1:] == [sold.id, fee.id]


async def test_a_side_is_taken_back_without_the_fee_and_the_fee_by_itself(client: wallets.Client) -> None:
    await client.fund("ana", OWN, "USD")
    await conversions.accept(client, (await hundred(client)).id)
    fee, sold, _ = await transactions(client, "USD")
    await transfers.reverse(client, sold.id)
    assert (await conversions.balances(client))["user/ana", "USD"] == 10_000
    await transfers.reverse(client, fee.id)
    balances = await conversions.balances(client)
    assert (balances["user/ana", "USD"], balances["fees", "USD"]) == (OWN, 0)
    assert (await wallets.refused(transfers.reverse(client, fee.id))).reason == "REVERSAL_EXCEEDED"
    (bought,) = await transactions(client, "HTG")
    await transfers.reverse(client, bought.id)
    assert (await conversions.balances(client))["user/ana", "HTG"] == 0
    assert (await client.verify()).balanced


async def test_a_hundred_acceptances_at_two_replicas_are_charged_once_while_the_schedule_changes(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await client.fund("ana", 100 * OWN, "USD")
    made = await hundred(client)
    async with wallets.running(wallets_database) as replica:
        calls = [conversions.accept(replica if number % 2 else client, made.id) for number in range(100)]
        changes = [set_fee(client, fixed_amount=number) for number in range(100, 110)]
        answers = await asyncio.gather(*calls, *changes, return_exceptions=True)
    accepted = [answer for answer in answers if isinstance(answer, pb.Quote)]
    refusals = [errors.from_rpc_error(each) for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert (len(accepted), [each.reason for each in refusals]) == (1, ["QUOTE_ALREADY_ACCEPTED"] * 99)
    balances = await conversions.balances(client)
    assert (balances["user/ana", "USD"], balances["fees", "USD"]) == (99 * OWN, 75)
    report = await client.verify()
    assert (report.balanced, report.transfer_count) == (True, 1 + 4)


async def test_a_hundred_acceptances_with_one_key_are_charged_once(client: wallets.Client) -> None:
    await client.fund("ana", 100 * OWN, "USD")
    made = await hundred(client)
    answers = await asyncio.gather(*(conversions.accept(client, made.id, key="k") for _ in range(100)))
    assert all(answer == answers[0] for answer in answers)
    balances = await conversions.balances(client)
    assert (balances["user/ana", "USD"], balances["fees", "USD"]) == (99 * OWN, 75)


async def test_of_ten_quotes_on_the_last_money_as_many_convert_as_it_pays_with_their_fees(
    client: wallets.Client,
) -> None:
    await client.fund("ana", 3 * OWN + 10_074, "USD")
    made = [await hundred(client) for _ in range(10)]
    answers, reasons = await transfers.outcomes(conversions.accept(client, each.id) for each in made)
    assert (len(answers), reasons) == (3, ["INSUFFICIENT_FUNDS"] * 7)
    balances = await conversions.balances(client)
    assert (balances["user/ana", "USD"], balances["fees", "USD"]) == (10_074, 3 * 75)
    assert (await client.verify()).balanced
