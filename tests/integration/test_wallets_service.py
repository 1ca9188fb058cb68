"""Wallets and transactions, as users and those who run the platform see them."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import timestamp_pb2

from kobklein.wallets.v1 import ledger_pb2, wallets_pb2
from tests import databases, wallets

ANA = wallets.metadata("ana", "user")
BEN = wallets.metadata("ben", "user")
ADMIN = wallets.metadata("root", "admin")
SUPPORT = wallets.metadata("sue", "support")


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        yield client


async def create(client: wallets.Client, caller: Any, **fields: str) -> wallets_pb2.Wallet:
    return await client.wallets.CreateWallet(wallets_pb2.CreateWalletRequest(**fields), metadata=caller)


async def wallet_of(client: wallets.Client, user: str, currency: str = "HTG") -> wallets_pb2.Wallet:
    request = wallets_pb2.ListWalletsRequest(user_id=user, currency=currency)
    answer = await client.wallets.ListWallets(request, metadata=ADMIN)
    (wallet,) = answer.wallets
    return wallet


async def all_transactions(client: wallets.Client, caller: Any, **fields: Any) -> list[wallets_pb2.Transaction]:
    request = wallets_pb2.ListWalletTransactionsRequest(**fields)
    found = []
    while True:
        page = await client.wallets.ListWalletTransactions(request, metadata=caller)
        found += page.transactions
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def test_a_user_opens_an_empty_wallet_of_their_own(client: wallets.Client) -> None:
    wallet = await create(client, ANA)
    assert (wallet.user_id, wallet.currency, wallet.balance, wallet.available_amount) == ("ana", "HTG", 0, 0)
    assert wallet.status == ledger_pb2.ACCOUNT_STATUS_ACTIVE
    assert await client.wallets.GetWallet(wallets_pb2.GetWalletRequest(id=wallet.id), metadata=ANA) == wallet


async def test_a_wallet_opens_once_per_user_and_currency(client: wallets.Client) -> None:
    await create(client, ANA, currency="USD")
    status = await wallets.refused(create(client, ANA, currency="USD"))
    assert (status.code, status.reason) == (grpc.StatusCode.ALREADY_EXISTS, "WALLET_EXISTS")
    assert (await create(client, ANA, currency="EUR")).currency == "EUR"


async def test_opening_again_with_the_same_key_gets_the_first_answer(client: wallets.Client) -> None:
    caller = wallets.metadata("ana", "user", key="k-1")
    answers = await asyncio.gather(*(create(client, caller) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    status = await wallets.refused(create(client, caller, currency="USD"))
    assert status.reason == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize("currency", ["XXX", "usd", "DOLLAR"])
async def test_a_wallet_needs_a_currency_that_exists(client: wallets.Client, currency: str) -> None:
    status = await wallets.refused(create(client, ANA, currency=currency))
    assert (status.code, [each.field for each in status.violations]) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        ["currency"],
    )


async def test_nobody_opens_a_wallet_for_another_but_those_who_may(client: wallets.Client) -> None:
    assert (await wallets.refused(create(client, ANA, user_id="ben"))).code == grpc.StatusCode.PERMISSION_DENIED
    assert (await wallets.refused(create(client, SUPPORT, user_id="ben"))).code == grpc.StatusCode.PERMISSION_DENIED
    assert (await create(client, ADMIN, user_id="ben")).user_id == "ben"


async def test_anothers_wallet_looks_like_a_missing_one(client: wallets.Client) -> None:
    await client.fund("ana", 5)
    wallet = await wallet_of(client, "ana")
    missing = str(uuid.uuid4())
    for rpc, request_type in (
        (client.wallets.GetWallet, wallets_pb2.GetWalletRequest),
        (client.wallets.ListWalletTransactions, wallets_pb2.ListWalletTransactionsRequest),
    ):
        theirs, none = [await wallets.refused(rpc(request_type(id=id_), metadata=BEN)) for id_ in (wallet.id, missing)]
        assert (
            (theirs.code, theirs.reason) == (none.code, none.reason) == (grpc.StatusCode.NOT_FOUND, "WALLET_NOT_FOUND")
        )
        assert theirs.message.replace(wallet.id, "") == none.message.replace(missing, "")
        await rpc(request_type(id=wallet.id), metadata=SUPPORT)


async def test_an_account_that_is_no_users_is_no_wallet(client: wallets.Client) -> None:
    await client.fund("ana", 5)
    provider = await client.account("provider/stripe")
    status = await wallets.refused(
        client.wallets.GetWallet(wallets_pb2.GetWalletRequest(id=provider.id), metadata=ADMIN)
    )
    assert status.reason == "WALLET_NOT_FOUND"


async def test_wallets_are_listed_page_by_page_and_by_every_condition(client: wallets.Client) -> None:
    for number in range(7):
        await client.fund(f"u{number}", number + 1)
        await client.fund(f"u{number}", number + 1, "USD")

    async def found(page_size: int = 3, **conditions: Any) -> list[tuple[str, str]]:
        request = wallets_pb2.ListWalletsRequest(page_size=page_size, **conditions)
        listed: list[wallets_pb2.Wallet] = []
        while True:
            page = await client.wallets.ListWallets(request, metadata=ADMIN)
            assert len(page.wallets) <= page_size
            listed += page.wallets
            request.page_token = page.next_page_token
            if not request.page_token:
                assert [wallet.id for wallet in listed] == sorted(wallet.id for wallet in listed)
                return sorted((wallet.user_id, wallet.currency) for wallet in listed)

    everything = sorted((f"u{number}", currency) for number in range(7) for currency in ("HTG", "USD"))
    assert await found() == everything
    assert await found(page_size=7) == everything
    assert await found(user_id="u3") == [("u3", "HTG"), ("u3", "USD")]
    assert await found(currency="USD", min_balance=3, max_balance=5) == [(f"u{n}", "USD") for n in (2, 3, 4)]
    assert await found(status=ledger_pb2.ACCOUNT_STATUS_FROZEN) == []
    assert await found(status=ledger_pb2.ACCOUNT_STATUS_ACTIVE) == everything


async def test_a_user_lists_their_own_wallets_only(client: wallets.Client) -> None:
    await client.fund("ana", 5)
    await client.fund("ana", 6, "USD")
    request = wallets_pb2.ListUserWalletsRequest(user_id="ana")
    answer = await client.wallets.ListUserWallets(request, metadata=ANA)
    assert sorted((each.currency, each.balance) for each in answer.wallets) == [("HTG", 5), ("USD", 6)]
    status = await wallets.refused(client.wallets.ListUserWallets(request, metadata=BEN))
    assert status.code == grpc.StatusCode.PERMISSION_DENIED


async def test_a_statement_runs_newest_first_with_the_balance_after_each(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    await client.post(
        wallets.transfer("user/ana", "user/ben", 30, description="lunch", reference="r-1", metadata={"table": 4}),
        wallets.transfer("user/ben", "user/ana", 5),
        wallets.transfer("user/ana", "fees", 2, type_="FEE"),
    )
    wallet = await wallet_of(client, "ana")
    found = await all_transactions(client, ANA, id=wallet.id, page_size=3)
    credit, debit = wallets_pb2.DIRECTION_CREDIT, wallets_pb2.DIRECTION_DEBIT
    assert [(each.direction, each.amount, each.balance_after, each.counterparty) for each in found] == [
        (debit, 2, 73, "fees"),
        (credit, 5, 75, "user/ben"),
        (debit, 30, 70, "user/ben"),
        (credit, 100, 100, "provider/stripe"),
    ]
    assert (found[2].description, found[2].reference, dict(found[2].metadata)) == ("lunch", "r-1", {"table": 4})
    assert {each.wallet_id for each in found} == {wallet.id}


async def test_a_statement_shows_every_transfer_once_whatever_its_pages(client: wallets.Client) -> None:
    await client.fund("ana", 1_000)
    await client.post(*(wallets.transfer(*_between(number), 1) for number in range(60)))
    wallet = await wallet_of(client, "ana")
    whole = await all_transactions(client, ANA, id=wallet.id, page_size=200)
    assert len(whole) == 61
    for size in (1, 7, 60, 61):
        assert await all_transactions(client, ANA, id=wallet.id, page_size=size) == whole


def _between(number: int) -> tuple[str, str]:
    return ("user/ben", "user/ana") if number % 3 == 2 else ("user/ana", "user/ben")


async def test_a_statement_is_filtered_by_type_payment_and_time(client: wallets.Client) -> None:
    payment = str(uuid.uuid4())
    first = (await client.fund("ana", 100)).transfer
    await client.post(wallets.transfer("user/ana", "fees", 2, type_="FEE"))
    last = (await client.post(wallets.transfer("provider/stripe", "user/ana", 7, type_="DEPOSIT", payment_id=payment)))[
        0
    ]
    id_ = (await wallet_of(client, "ana")).id

    async def amounts(**conditions: Any) -> list[int]:
        return [each.amount for each in await all_transactions(client, ANA, id=id_, **conditions)]

    deposit, fee = ledger_pb2.TRANSFER_TYPE_DEPOSIT, ledger_pb2.TRANSFER_TYPE_FEE
    assert await amounts(type=[deposit]) == [7, 100]
    assert await amounts(type=[deposit, fee]) == [7, 2, 100]
    assert await amounts(payment_id=payment) == [7]
    assert await amounts(created_from=last.transfer.created_time) == [7]
    assert await amounts(created_before=last.transfer.created_time) == [2, 100]
    assert await amounts(created_from=first.created_time, created_before=first.created_time) == []


async def test_a_page_token_belongs_to_its_filters(client: wallets.Client) -> None:
    await client.fund("ana", 1)
    await client.fund("ana", 2)
    id_ = (await wallet_of(client, "ana")).id
    request = wallets_pb2.ListWalletTransactionsRequest(id=id_, page_size=1)
    token = (await client.wallets.ListWalletTransactions(request, metadata=ANA)).next_page_token
    for wrong in ({"page_token": token, "type": [1]}, {"page_token": token[:-2] + "AA"}, {"page_token": "x"}):
        other = wallets_pb2.ListWalletTransactionsRequest(id=id_, page_size=1, **wrong)
        status = await wallets.refused(client.wallets.ListWalletTransactions(other, metadata=ANA))
        assert [each.field for each in status.violations] == ["page_token"]


async def test_a_time_out_of_range_is_a_wrong_argument(client: wallets.Client) -> None:
    await client.fund("ana", 1)
    request = wallets_pb2.ListWalletTransactionsRequest(
        id=(await wallet_of(client, "ana")).id, created_from=timestamp_pb2.Timestamp(seconds=2**60)
    )
    status = await wallets.refused(client.wallets.ListWalletTransactions(request, metadata=ANA))
    assert [each.field for each in status.violations] == ["created_from"]


async def test_each_side_sees_a_transfer_from_its_own_wallet_and_others_not_at_all(client: wallets.Client) -> None:
    await client.fund("ana", 10)
    (result,) = await client.post(wallets.transfer("user/ana", "user/ben", 4))
    request = wallets_pb2.GetTransactionRequest(id=result.transfer.id)
    seen = {
        name: await client.wallets.GetTransaction(request, metadata=caller)
        for name, caller in (("ana", ANA), ("ben", BEN), ("support", SUPPORT))
    }
    assert (seen["ana"].direction, seen["ana"].balance_after) == (wallets_pb2.DIRECTION_DEBIT, 6)
    assert (seen["ben"].direction, seen["ben"].balance_after) == (wallets_pb2.DIRECTION_CREDIT, 4)
    assert seen["support"] == seen["ana"]
    stranger = wallets.metadata("eva", "user")
    status = await wallets.refused(client.wallets.GetTransaction(request, metadata=stranger))
    assert (status.code, status.reason) == (grpc.StatusCode.NOT_FOUND, "TRANSACTION_NOT_FOUND")


async def test_a_deposit_is_seen_from_the_wallet_that_received_it(client: wallets.Client) -> None:
    deposit = (await client.fund("ana", 10)).transfer
    request = wallets_pb2.GetTransactionRequest(id=deposit.id)
    seen = await client.wallets.GetTransaction(request, metadata=SUPPORT)
    assert (seen.direction, seen.counterparty) == (wallets_pb2.DIRECTION_CREDIT, "provider/stripe")


async def test_a_transfer_between_accounts_of_the_platform_is_no_transaction(client: wallets.Client) -> None:
    (result,) = await client.post(wallets.transfer("provider/stripe", "fees", 3))
    request = wallets_pb2.GetTransactionRequest(id=result.transfer.id)
    status = await wallets.refused(client.wallets.GetTransaction(request, metadata=ADMIN))
    assert status.reason == "TRANSACTION_NOT_FOUND"
