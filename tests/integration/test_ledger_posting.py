"""Transfers through the whole service, on a real database."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import grpc
import prometheus_client
import psycopg
import pytest

from kobklein import client as client_options
from kobklein import contract
from kobklein.wallets.v1 import ledger_pb2, ledger_pb2_grpc
from tests import databases, holds, wallets
from wallets_service import server


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        yield client


async def test_a_first_credit_opens_the_wallet_and_answers_both_balances(client: wallets.Client) -> None:
    sent = wallets.transfer("provider/stripe", "user/ana", 10_000, type_="DEPOSIT", metadata={"a": [1, 'ß\\"{}']})
    (result,) = await client.post(sent)
    assert result.transfer.HasField("created_time")
    sent.MergeFrom(
        ledger_pb2.Transfer(
            debit_balance_after=-10_000, credit_balance_after=10_000, created_time=result.transfer.created_time
        )
    )
    assert result.transfer == sent
    account = await client.account("user/ana")
    assert (account.balance, account.version, account.overdraft_limit) == (10_000, 1, 0)
    assert not (await client.account("provider/stripe")).HasField("overdraft_limit")


async def test_an_account_is_as_old_as_its_first_transfer(client: wallets.Client) -> None:
    posted = await client.fund("ana", 250)
    account = await client.account("user/ana")
    assert account.created_time == account.updated_time == posted.transfer.created_time


async def test_a_dry_run_answers_what_each_transfer_would_do_and_posts_nothing(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    asked = ledger_pb2.PostTransfersRequest(
        transfers=[
            wallets.transfer("user/ana", "user/ben", 60),
            wallets.transfer("user/ana", "user/cid", 30, linked=True),
            wallets.transfer("user/ana", "user/cid", 30),
            wallets.transfer("user/ben", "user/ana", 60),
        ],
        dry_run=True,
    )
    first, one, other, last = (await client.ledger.PostTransfers(asked, metadata=wallets.AS_SERVICE)).results
    assert (first.transfer.debit_balance_after, last.transfer.credit_balance_after) == (40, 100)
    assert not first.transfer.HasField("created_time")
    assert [one.error.reason, other.error.reason] == ["LINKED_TRANSFER_REFUSED", "INSUFFICIENT_FUNDS"]
    assert (await client.account("user/ana")).version == 1
    status = await wallets.refused(client.account("user/ben"))
    assert status.reason == "ACCOUNT_NOT_FOUND"
    results = await client.post(*asked.transfers)
    assert [each.WhichOneof("result") for each in results] == ["transfer", "error", "error", "transfer"]


async def test_a_dry_run_tells_what_is_posted_already_by_its_time(client: wallets.Client) -> None:
    posted = await client.fund("ana", 100)
    known = wallets.transfer("provider/stripe", "user/ana", 100, type_="DEPOSIT", id=posted.transfer.id)
    new = wallets.transfer("user/ana", "user/ben", 60)
    asked = ledger_pb2.PostTransfersRequest(transfers=[known, new, new], dry_run=True)
    again, tried, repeated = (await client.ledger.PostTransfers(asked, metadata=wallets.AS_SERVICE)).results
    assert again == posted
    assert tried == repeated
    assert (tried.transfer.debit_balance_after, tried.transfer.HasField("created_time")) == (40, False)
    assert (await client.account("user/ana")).version == 1


async def test_texts_are_stored_as_they_were_sent(client: wallets.Client) -> None:
    texts = {"reference": 'a"b\\c,{}', "description": "NULL\n'ß' 漢字"}
    sent = wallets.transfer("provider/stripe", "null", 1, payment_id=str(uuid.uuid4()), metadata={"x": "a\\b"}, **texts)
    (first,) = await client.post(sent)
    (again,) = await client.post(sent)
    assert first == again
    assert (await client.account("null")).balance == 1


async def test_the_same_id_with_other_content_is_refused(client: wallets.Client) -> None:
    sent = wallets.transfer("provider/stripe", "user/ana", 5)
    await client.post(sent)
    sent.amount = 6
    (result,) = await client.post(sent)
    assert result.error.reason == "TRANSFER_ID_REUSED"
    assert (await client.account("user/ana")).balance == 5


@pytest.mark.parametrize(
    ("first", "other"),
    [({"paid": True}, {"paid": 1}), ({"n": [0]}, {"n": [False]}), ({"deep": {"n": 1}}, {"deep": {"n": True}})],
)
async def test_other_free_data_is_other_content_even_where_python_sees_none(
    client: wallets.Client, first: dict[str, object], other: dict[str, object]
) -> None:
    sent = wallets.transfer("provider/stripe", "user/ana", 5)
    sent.metadata.update(first)
    changed = ledger_pb2.Transfer()
    changed.CopyFrom(sent)
    changed.metadata.update(other)
    at_once = await client.post(sent, changed)
    later = await client.post(changed)
    assert [result.error.reason for result in (*at_once, *later)] == ["", "TRANSFER_ID_REUSED", "TRANSFER_ID_REUSED"]
    assert (await client.account("user/ana")).balance == 5


async def test_a_time_that_cannot_be_recorded_as_it_is_is_refused(client: wallets.Client) -> None:
    sent = wallets.transfer("provider/stripe", "user/ana", 5)
    sent.effective_time.FromJsonString("2026-01-02T03:04:05.123456789Z")
    request = ledger_pb2.PostTransfersRequest(transfers=[sent])
    status = await wallets.refused(client.ledger.PostTransfers(request, metadata=wallets.AS_SERVICE))
    assert [violation.field for violation in status.violations] == ["transfers[0].effective_time"]
    sent.effective_time.FromJsonString("2026-01-02T03:04:05.123456Z")
    (result,) = await client.post(sent)
    assert result.transfer.effective_time == sent.effective_time


async def test_a_transfer_is_recognised_whatever_numbers_its_free_data_holds(client: wallets.Client) -> None:
    sent = wallets.transfer("provider/stripe", "user/ana", 5)
    sent.metadata.update({"large": 1e23, "odd": 2.0**60, "small": 5e-324, "list": [-0.0, {"n": 0.1}]})
    assert await client.post(sent) == await client.post(sent)
    assert (await client.account("user/ana")).balance == 5


async def test_each_transfer_of_a_call_is_decided_by_itself_and_in_order(client: wallets.Client) -> None:
    first = wallets.transfer("provider/stripe", "user/ana", 10)
    results = await client.post(
        wallets.transfer("user/ana", "user/ben", 1),
        first,
        wallets.transfer("user/ana", "user/ben", 7),
        wallets.transfer("user/ana", "user/ben", 4),
        first,
        wallets.transfer("user/ana", "user/ben", 3),
    )
    outcomes = [result.error.reason or result.transfer.debit_balance_after for result in results]
    assert outcomes == ["INSUFFICIENT_FUNDS", -10, 3, "INSUFFICIENT_FUNDS", -10, 0]


async def test_a_refused_transfer_leaves_no_trace(client: wallets.Client) -> None:
    (result,) = await client.post(wallets.transfer("user/ana", "user/ben", 1))
    assert result.error.reason == "INSUFFICIENT_FUNDS"
    assert (await client.verify()).account_count == 0


async def test_a_refused_transfer_may_be_asked_for_again(client: wallets.Client) -> None:
    sent = wallets.transfer("user/ana", "user/ben", 1)
    await client.post(sent)
    await client.fund("ana", 1)
    (result,) = await client.post(sent)
    assert result.transfer.credit_balance_after == 1


async def test_ten_thousand_transfers_go_in_one_call(client: wallets.Client) -> None:
    results = await client.post(*(wallets.transfer("provider/stripe", "user/ana", 1) for _ in range(10_000)))
    assert [result.transfer.credit_balance_after for result in results] == list(range(1, 10_001))


async def test_the_longest_request_gets_its_answer(client: wallets.Client) -> None:
    sent = [wallets.transfer("provider/stripe", "user/ana", 1, linked=True) for _ in range(10_000)]
    sent[-1].linked = False
    bytes_each = client_options.MAX_MESSAGE_BYTES // len(sent) - sent[0].ByteSize() - 30
    for transfer in sent:
        transfer.metadata.update({"text": "x" * bytes_each})
    async with client_options.channel(f"127.0.0.1:{client.port}", None) as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        answer = await stub.PostTransfers(ledger_pb2.PostTransfersRequest(transfers=sent), metadata=wallets.AS_SERVICE)
    assert answer.ByteSize() > client_options.MAX_MESSAGE_BYTES
    assert (await client.account("user/ana")).balance == 10_000


async def test_a_wrong_transfer_names_its_field_and_posts_nothing(client: wallets.Client) -> None:
    good, bad = (wallets.transfer("provider/stripe", "user/ana", amount) for amount in (5, 0))
    request = ledger_pb2.PostTransfersRequest(transfers=[good, bad])
    status = await wallets.refused(client.ledger.PostTransfers(request, metadata=wallets.AS_SERVICE))
    assert [violation.field for violation in status.violations] == ["transfers[1].amount"]
    assert (await client.verify()).transfer_count == 0


async def test_only_an_accepted_quote_posts_a_conversion(client: wallets.Client) -> None:
    made = wallets.transfer("provider/stripe", "user/ana", 10, type_="CONVERSION")
    status = await wallets.refused(client.post(wallets.transfer("provider/stripe", "user/ana", 1), made))
    assert [each.field for each in status.violations] == ["transfers[1].type"]
    assert (await client.verify()).transfer_count == 0


async def test_a_balance_beyond_64_bits_is_refused_and_nothing_breaks(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await client.fund("ana", 1)
    with psycopg.connect(wallets_database.owner_url) as connection:
        connection.execute("UPDATE accounts SET balance = 9223372036854775807 WHERE address = 'user/ana'")
    (result,) = await client.post(wallets.transfer("provider/stripe", "user/ana", 1))
    assert result.error.reason == "AMOUNT_OVERFLOW"


async def test_opening_an_account_twice_is_one_account(client: wallets.Client) -> None:
    request = ledger_pb2.CreateAccountRequest(address="distributor/7", currency="HTG", overdraft_limit=500)
    first = await client.ledger.CreateAccount(request, metadata=wallets.AS_SERVICE)
    assert await client.ledger.CreateAccount(request, metadata=wallets.AS_SERVICE) == first
    request.overdraft_limit = 600
    status = await wallets.refused(client.ledger.CreateAccount(request, metadata=wallets.AS_SERVICE))
    assert (status.code, status.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ACCOUNT_EXISTS")
    results = await client.post(*(wallets.transfer("distributor/7", "user/ana", amount) for amount in (500, 1)))
    assert [result.error.reason for result in results] == ["", "INSUFFICIENT_FUNDS"]


async def test_accounts_are_listed_page_by_page_by_address_and_currency(client: wallets.Client) -> None:
    for currency in ("USD", "HTG"):
        for user in ("ana", "ana_b", "anaXb", "eva"):
            await client.fund(user, 1, currency)
    request = ledger_pb2.ListAccountsRequest(address_prefix="user/ana", page_size=4)
    first = await client.ledger.ListAccounts(request, metadata=wallets.AS_SERVICE)
    request.page_token = first.next_page_token
    last = await client.ledger.ListAccounts(request, metadata=wallets.AS_SERVICE)
    assert last.next_page_token == ""
    found = [(account.address, account.currency) for account in (*first.accounts, *last.accounts)]
    assert found == [(f"user/{user}", code) for user in ("ana", "anaXb", "ana_b") for code in ("HTG", "USD")]
    request.currency = "HTG"
    status = await wallets.refused(client.ledger.ListAccounts(request, metadata=wallets.AS_SERVICE))
    assert [violation.field for violation in status.violations] == ["page_token"]


async def test_a_missing_account_is_not_found(client: wallets.Client) -> None:
    request = ledger_pb2.GetAccountRequest(address="user/nobody", currency="HTG")
    status = await wallets.refused(client.ledger.GetAccount(request, metadata=wallets.AS_SERVICE))
    assert (status.code, status.reason) == (grpc.StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND")


async def test_only_services_and_admins_post_transfers(client: wallets.Client) -> None:
    request = ledger_pb2.PostTransfersRequest(transfers=[wallets.transfer("provider/stripe", "user/ana", 1)])
    for role in contract.ROLES - {"service", "admin"}:
        call = client.ledger.PostTransfers(request, metadata=wallets.metadata("ana", role))
        assert (await wallets.refused(call)).code == grpc.StatusCode.PERMISSION_DENIED


async def test_leaving_answers_the_calls_that_run(wallets_database: databases.Database) -> None:
    sent = [wallets.transfer("provider/stripe", "user/ana", 1) for _ in range(50)]
    async with contextlib.AsyncExitStack() as outlives:
        blocker = await outlives.enter_async_context(await psycopg.AsyncConnection.connect(wallets_database.owner_url))
        async with server.run(
            wallets.settings(wallets_database, drain_seconds=60.0, longest_call_seconds=60.0)
        ) as port:
            client = wallets.Client(port, await outlives.enter_async_context(wallets.channel(port)))
            await client.fund("ana", 1)
            await blocker.execute("SELECT FROM accounts FOR UPDATE")
            running = [asyncio.create_task(client.post(each)) for each in sent]
            while prometheus_client.REGISTRY.get_sample_value("grpc_server_running") != len(sent):
                await client.account("user/ana")
            release = asyncio.create_task(blocker.rollback())
        await release
        results = await asyncio.gather(*running)
    assert [result.HasField("transfer") for (result,) in results] == [True] * len(sent)


async def test_an_answer_is_what_is_recorded_and_not_how_it_was_asked_for(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    hold = await holds.create(client, amount=100)
    part = wallets.transfer("user/ana", "user/ben", 10, hold_id=hold.id, releases_hold=True, linked=True)
    sent = [part, wallets.transfer("user/ana", "user/ben", 5)]
    for _ in range(2):
        for result in await client.post(*sent):
            shown = result.transfer
            assert (shown.linked, shown.releases_hold, shown.group_id) == (False, False, part.id)
            request = ledger_pb2.GetLedgerTransferRequest(id=shown.id)
            assert await client.ledger.GetLedgerTransfer(request, metadata=wallets.AS_SERVICE) == shown


async def test_a_repeated_part_of_a_hold_cannot_say_that_it_gave_back_the_rest(client: wallets.Client) -> None:
    """The two parts of one batch have one time; the second one, which gave back the rest, is not the first."""
    await client.fund("ana", 100)
    hold = await holds.create(client, amount=100)
    kept = wallets.transfer("user/ana", "user/ben", 10, hold_id=hold.id)
    (first,) = await client.post(kept)
    kept.releases_hold = True
    (refused,) = await client.post(kept)
    assert (refused.error.reason, (await client.account("user/ana")).held_amount) == ("TRANSFER_ID_REUSED", 90)
    other = wallets.transfer("user/ana", "user/ben", 10, hold_id=hold.id)
    last = wallets.transfer("user/ana", "user/ben", 10, hold_id=hold.id, releases_hold=True)
    made = await client.post(other, last)
    kept.releases_hold = False
    assert await client.post(kept, other, last) == [first, *made]
    other.releases_hold, last.releases_hold = True, False
    assert [each.error.reason for each in await client.post(other, last)] == ["TRANSFER_ID_REUSED"] * 2
    assert (await holds.get(client, hold.id)).posted_amount == 30
