"""Conversions over gRPC: quoted, accepted once, in both currencies at once, on a real database."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import psycopg
import pytest

from kobklein import errors, ids
from kobklein.wallets.v1 import conversions_pb2 as pb
from kobklein.wallets.v1 import ledger_pb2, wallets_pb2
from tests import conversions, databases, transfers, wallets
from tests.sizes import size


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        await conversions.set_rate(client)
        yield client


async def test_a_quote_says_what_a_fixed_amount_to_sell_gives(client: wallets.Client) -> None:
    made = await conversions.quote(client, sell=(10_001, "USD"))
    assert (made.user_id, made.sell, made.buy, made.spread) == (
        "ana",
        pb.Money(amount=10_001, currency="USD"),
        pb.Money(amount=1_292_941, currency="HTG"),  # 1,292,941.78125 before rounding
        pb.Money(amount=19_690, currency="HTG"),
    )
    assert (made.rate, made.spread_parts_per_million, made.rate_source) == (
        conversions.HTG_PER_USD,
        conversions.SPREAD,
        "table",
    )
    assert (made.rounding, made.rounding_currency) == ("0.78125", "HTG")
    assert made.effective_rate == "129.281171882811"
    assert made.status == pb.QUOTE_STATUS_OPEN
    assert not made.HasField("accepted_time")
    assert made.transaction_id == ""
    assert made.expires_time.ToNanoseconds() - made.created_time.ToNanoseconds() == 30 * 10**9
    assert await conversions.get(client, made.id) == made


async def test_a_quote_says_what_a_fixed_amount_to_buy_takes(client: wallets.Client) -> None:
    made = await conversions.quote(client, buy=(1_000_000, "HTG"))
    assert (made.sell.amount, made.buy.amount, made.rounding_currency) == (7_736, 1_000_000, "USD")
    assert made.buy.amount + made.spread.amount == 7_736 * 13_125 // 100


async def test_an_accepted_quote_moves_both_currencies_and_the_spread(client: wallets.Client) -> None:
    await client.fund("ana", 20_000, "USD")
    made = await conversions.quote(client, sell=(10_001, "USD"))
    accepted = await conversions.accept(client, made.id)
    assert (accepted.status, accepted.id) == (pb.QUOTE_STATUS_ACCEPTED, made.id)
    assert accepted.transaction_id == str(ids.derived(uuid.UUID(made.id), "sell"))
    assert await conversions.get(client, made.id) == conversions.kept(accepted)
    assert (accepted.sell_balance, accepted.buy_balance) == (
        pb.Money(amount=9_999, currency="USD"), pb.Money(amount=made.buy.amount, currency="HTG"),
    )  # fmt: skip
    assert await conversions.balances(client) == {
        ("user/ana", "USD"): 9_999,
        ("fx/liquidity", "USD"): 10_001,
        ("user/ana", "HTG"): made.buy.amount,
        ("fx/spread", "HTG"): made.spread.amount,
        ("fx/liquidity", "HTG"): -(made.buy.amount + made.spread.amount),
    }
    assert (await client.verify()).balanced


async def test_a_quote_that_is_being_accepted_at_its_end_does_not_read_as_expired_before(
    wallets_database: databases.Database,
) -> None:
    """The batch went by its clock before the end, and is committed after it."""
    async with wallets.running(wallets_database, quote_seconds=3) as client:
        await conversions.set_rate(client)
        await client.fund("ana", 20_000, "USD")
        made = await conversions.quote(client, sell=(10_000, "USD"))
        with wallets.slow_commits(wallets_database, seconds=4):
            accepting = asyncio.create_task(conversions.accept(client, made.id))
            await wallets.until_waiting(wallets_database, "Timeout")
            await conversions.until_over(wallets_database, made)
            assert (await conversions.get(client, made.id)).status == pb.QUOTE_STATUS_ACCEPTED
            await accepting


async def test_the_legs_are_transactions_of_both_wallets_in_one_group(client: wallets.Client) -> None:
    await client.fund("ana", 20_000, "USD")
    accepted = await conversions.accept(client, (await conversions.quote(client, sell=(10_000, "USD"))).id)
    request = wallets_pb2.GetTransactionRequest(id=accepted.transaction_id)
    sold = await client.wallets.GetTransaction(request, metadata=conversions.ANA)
    assert (sold.direction, sold.amount, sold.currency) == (wallets_pb2.DIRECTION_DEBIT, 10_000, "USD")
    assert (sold.type, sold.counterparty) == (ledger_pb2.TRANSFER_TYPE_CONVERSION, "fx/liquidity")
    assert sold.description == "100.00 USD into 12928.12 HTG"
    assert sold.metadata["quote_id"] == accepted.id
    assert (sold.group_id, sold.created_time) == (sold.id, accepted.accepted_time)
    (htg,) = (
        await client.wallets.ListWallets(
            wallets_pb2.ListWalletsRequest(user_id="ana", currency="HTG"), metadata=conversions.ADMIN
        )
    ).wallets
    (bought,) = (
        await client.wallets.ListWalletTransactions(
            wallets_pb2.ListWalletTransactionsRequest(id=htg.id), metadata=conversions.ANA
        )
    ).transactions
    assert (bought.amount, bought.group_id) == (accepted.buy.amount, sold.id)


async def test_without_a_spread_there_is_no_leg_for_it(client: wallets.Client) -> None:
    await conversions.set_rate(client, "USD", "HTG", "131.25", 0)
    await client.fund("ana", 100, "USD")
    accepted = await conversions.accept(client, (await conversions.quote(client, sell=(100, "USD"))).id)
    assert (accepted.buy.amount, accepted.spread.amount) == (13_125, 0)
    assert ("fx/spread", "HTG") not in await conversions.balances(client)


async def test_the_rate_of_a_quote_stays_when_the_table_changes(client: wallets.Client) -> None:
    await client.fund("ana", 10_000, "USD")
    made = await conversions.quote(client, sell=(10_000, "USD"))
    await conversions.set_rate(client, "USD", "HTG", "1", 0)
    assert (await conversions.accept(client, made.id)).buy == made.buy
    assert (await conversions.quote(client, sell=(10_000, "USD"))).buy.amount == 10_000


async def test_accepting_again_with_the_same_key_is_answered_as_at_first(client: wallets.Client) -> None:
    await client.fund("ana", 20_000, "USD")
    made = await conversions.quote(client, sell=(10_000, "USD"))
    first = await conversions.accept(client, made.id, key="k")
    caller = wallets.metadata("ana", "user", key="k")
    request = pb.AcceptQuoteRequest(id=made.id)
    assert await transfers.replayed(client.conversions.AcceptQuote(request, metadata=caller)) == (first, True)
    assert (await conversions.balances(client))["user/ana", "USD"] == 10_000


async def test_accepting_again_with_another_key_is_refused(client: wallets.Client) -> None:
    await client.fund("ana", 20_000, "USD")
    made = await conversions.quote(client, sell=(10_000, "USD"))
    await conversions.accept(client, made.id)
    for again in (conversions.accept(client, made.id), conversions.accept(client, made.id, user="root", role="admin")):
        status = await wallets.refused(again)
        assert (status.reason, status.http_status) == ("QUOTE_ALREADY_ACCEPTED", 409)
    assert (await conversions.balances(client))["user/ana", "USD"] == 10_000


async def test_a_key_accepts_one_quote_only(client: wallets.Client) -> None:
    await client.fund("ana", 20_000, "USD")
    one, other = [await conversions.quote(client, sell=(100, "USD")) for _ in range(2)]
    await conversions.accept(client, one.id, key="k")
    assert (await wallets.refused(conversions.accept(client, other.id, key="k"))).reason == "IDEMPOTENCY_KEY_REUSED"
    assert (await conversions.get(client, other.id)).status == pb.QUOTE_STATUS_OPEN


@pytest.mark.chaos
async def test_of_a_hundred_acceptances_at_two_replicas_with_keys_of_their_own_exactly_one_converts(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    rounds = size(1, 500)
    await client.fund("ana", (rounds + 99) * 100, "USD")
    async with wallets.running(wallets_database) as replica:
        for round_ in range(1, rounds + 1):
            made = await conversions.quote(client, sell=(100, "USD"))
            calls = [conversions.accept(replica if number % 2 else client, made.id) for number in range(100)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            accepted = [answer for answer in answers if isinstance(answer, pb.Quote)]
            refusals = [errors.from_rpc_error(each) for each in answers if isinstance(each, grpc.aio.AioRpcError)]
            assert (len(accepted), [each.reason for each in refusals]) == (1, ["QUOTE_ALREADY_ACCEPTED"] * 99)
            balances = await conversions.balances(client)
            assert balances["user/ana", "USD"] == (rounds + 99 - round_) * 100
            assert balances["user/ana", "HTG"] == round_ * made.buy.amount
    assert (await client.verify()).balanced


async def test_of_a_hundred_acceptances_with_one_key_all_get_the_one_answer(client: wallets.Client) -> None:
    await client.fund("ana", 100 * 10_000, "USD")
    made = await conversions.quote(client, sell=(10_000, "USD"))
    answers = await asyncio.gather(*(conversions.accept(client, made.id, key="k") for _ in range(100)))
    assert all(answer == answers[0] for answer in answers)
    assert (await conversions.balances(client))["user/ana", "USD"] == 99 * 10_000


async def test_two_quotes_on_the_last_money_convert_once(client: wallets.Client) -> None:
    await client.fund("ana", 10_000, "USD")
    made = [await conversions.quote(client, sell=(10_000, "USD")) for _ in range(10)]
    answers = await asyncio.gather(*(conversions.accept(client, each.id) for each in made), return_exceptions=True)
    reasons = [errors.from_rpc_error(each).reason for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert reasons == ["INSUFFICIENT_FUNDS"] * 9
    assert (await conversions.balances(client))["user/ana", "USD"] == 0


async def test_an_expired_quote_moves_nothing(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database, quote_seconds=0.05) as client:
        await conversions.set_rate(client)
        await client.fund("ana", 10_000, "USD")
        made = await conversions.quote(client, sell=(10_000, "USD"))
        await conversions.until_expired(client, made.id)
        status = await wallets.refused(conversions.accept(client, made.id))
        assert (status.code, status.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "QUOTE_EXPIRED")
        assert await conversions.balances(client) == {("user/ana", "USD"): 10_000}


async def test_after_its_expiry_an_accepted_quote_is_answered_to_its_first_key_alone(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await client.fund("ana", 10_000, "USD")
    made, other = [await conversions.quote(client, sell=(amount, "USD")) for amount in (10_000, 1)]
    first = await conversions.accept(client, made.id, key="k")
    await conversions.tamper(wallets_database, "UPDATE fx_quotes SET expires_time = created_time")
    await conversions.until_expired(client, other.id)
    assert await conversions.accept(client, made.id, key="k") == first
    assert (await wallets.refused(conversions.accept(client, made.id))).reason == "QUOTE_ALREADY_ACCEPTED"
    assert (await conversions.get(client, made.id)).status == pb.QUOTE_STATUS_ACCEPTED


async def test_the_first_key_is_known_even_when_keys_are_forgotten(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await client.fund("ana", 20_000, "USD")
    made = await conversions.quote(client, sell=(10_000, "USD"))
    first = await conversions.accept(client, made.id, key="k")
    await conversions.tamper(wallets_database, "DELETE FROM idempotency_keys")
    assert await conversions.accept(client, made.id, key="k") == first
    assert (await conversions.balances(client))["user/ana", "USD"] == 10_000


async def test_a_quote_outlives_a_lack_of_money(client: wallets.Client) -> None:
    made = await conversions.quote(client, sell=(10_000, "USD"))
    status = await wallets.refused(conversions.accept(client, made.id, key="k"))
    assert status.reason == "INSUFFICIENT_FUNDS"
    assert await conversions.get(client, made.id) == made
    assert await conversions.balances(client) == {}
    await client.fund("ana", 10_000, "USD")
    assert (await conversions.accept(client, made.id, key="k")).status == pb.QUOTE_STATUS_ACCEPTED


async def test_anothers_quote_looks_like_a_missing_one(client: wallets.Client) -> None:
    await client.fund("ana", 10_000, "USD")
    made = await conversions.quote(client, sell=(10_000, "USD"))
    ben, missing = wallets.metadata("ben", "user"), str(uuid.uuid4())
    for calls in (
        [conversions.get(client, id_, caller=ben) for id_ in (made.id, missing)],
        [conversions.accept(client, id_, user="ben") for id_ in (made.id, missing)],
    ):
        theirs, none = [await wallets.refused(call) for call in calls]
        assert (theirs.code, theirs.reason) == (grpc.StatusCode.NOT_FOUND, "QUOTE_NOT_FOUND")
        assert theirs.message.replace(made.id, "") == none.message.replace(missing, "")
    assert (
        await conversions.get(client, made.id, caller=wallets.metadata("sue", "support"))
    ).status == pb.QUOTE_STATUS_OPEN


async def test_creating_again_with_the_same_key_is_the_same_quote(client: wallets.Client) -> None:
    first = await conversions.quote(client, sell=(100, "USD"), key="k")
    await conversions.set_rate(client, "USD", "HTG", "7", 0)
    assert await conversions.quote(client, sell=(100, "USD"), key="k") == first
    status = await wallets.refused(conversions.quote(client, sell=(101, "USD"), key="k"))
    assert status.reason == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "sell.amount"),
        ({"sell": (1, "USD"), "buy": (1, "HTG")}, "buy.amount"),
        ({"sell": (100, "HTG")}, "buy.currency"),
        ({"sell": (-1, "USD")}, "sell.amount"),
        ({"sell": (0, "USD"), "buy": (1, "HTG")}, "sell.amount"),
        ({"sell": (10**13, "USD")}, "sell.amount"),
        ({"sell": (10**13 - 1, "USD")}, "sell.amount"),
        ({"sell": (100, "ABC")}, "sell.currency"),
    ],
)
async def test_what_cannot_be_priced_names_the_field(client: wallets.Client, fields: Any, wrong: str) -> None:
    status = await wallets.refused(conversions.quote(client, **fields))
    assert (status.reason, [each.field for each in status.violations]) == ("INVALID_ARGUMENT", [wrong])


async def test_a_pair_without_a_rate_is_not_offered(client: wallets.Client) -> None:
    status = await wallets.refused(conversions.quote(client, sell=(100, "HTG"), buy=(None, "USD")))
    assert (status.code, status.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CONVERSION_NOT_OFFERED")


async def test_no_role_can_change_a_quote(client: wallets.Client, wallets_database: databases.Database) -> None:
    await conversions.quote(client, sell=(100, "USD"))
    for url in (wallets_database.superuser_url, wallets_database.application_url):
        async with await psycopg.AsyncConnection.connect(url) as connection:
            with pytest.raises(psycopg.Error):
                await connection.execute("UPDATE fx_quotes SET expires_time = expires_time + interval '1 day'")
