"""The record of what admins changed."""

from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf import json_format

from kobklein.wallets.v1 import accounts_pb2, ledger_pb2
from tests import accounts, databases, wallets


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with accounts.running(wallets_database) as client:
        yield client


async def test_every_change_is_recorded_with_who_why_and_what_it_was(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    await accounts.update(client, id_, "overdraft_limit", "metadata", overdraft_limit=50, metadata={"kyc_level": "2"})
    await client.accounts.FreezeAccount(
        accounts_pb2.FreezeAccountRequest(id=id_, direction=accounts_pb2.FREEZE_DIRECTION_DEBIT, reason="police"),
        metadata=wallets.metadata("risk", "service"),
    )
    newest, oldest = await accounts.entries(client, subject=f"account/{id_}")
    rules = {
        "address": "user/ana", "currency": "HTG", "status": "ACTIVE", "overdraftLimit": "0.00", "metadata": {},
        "limits": {"transferAmount": None, "dayAmount": None, "monthAmount": None},
    }  # fmt: skip
    changed = rules | {"overdraftLimit": "0.50", "metadata": {"kyc_level": "2"}}
    assert [(each.action, each.actor, each.reason, each.subject) for each in (oldest, newest)] == [
        ("UPDATE", "root", "by the book", f"account/{id_}"), ("FREEZE", "risk", "police", f"account/{id_}"),
    ]  # fmt: skip
    assert [json_format.MessageToDict(each.before) for each in (oldest, newest)] == [rules, changed]
    assert [json_format.MessageToDict(each.after) for each in (oldest, newest)] == [
        changed, changed | {"status": "DEBIT_FROZEN"},
    ]  # fmt: skip


async def test_an_overdraft_that_an_account_opens_with_is_recorded_once(client: wallets.Client) -> None:
    request = ledger_pb2.CreateAccountRequest(address="distributor/7", currency="HTG", overdraft_limit=500)
    for _ in range(2):
        opened = await client.ledger.CreateAccount(request, metadata=wallets.AS_SERVICE)
    (entry,) = await accounts.entries(client, subject=f"account/{opened.id}")
    assert (entry.action, entry.actor) == ("OPEN", "payments_service")
    assert not entry.HasField("before")
    assert json_format.MessageToDict(entry.after)["overdraftLimit"] == "5.00"


async def test_a_change_that_changes_nothing_is_not_recorded(client: wallets.Client) -> None:
    before = await client.account("user/ana")
    assert await accounts.unfreeze(client, before.id) == before
    assert await accounts.update(client, before.id, "overdraft_limit", overdraft_limit=0) == before
    assert await accounts.entries(client) == []


async def test_a_change_repeated_with_its_key_is_made_once(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    caller = wallets.metadata("root", "admin", key="k")
    first = await accounts.update(client, id_, "metadata", metadata={"a": 1}, caller=caller)
    await accounts.update(client, id_, "metadata", metadata={"a": 2})
    assert await accounts.update(client, id_, "metadata", metadata={"a": 1}, caller=caller) == first
    assert len(await accounts.entries(client)) == 2


async def test_the_record_is_read_newest_first_page_by_page_and_by_every_condition(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    for number in range(5):
        await accounts.update(client, id_, "metadata", metadata={"number": number})
    await accounts.set_limits(client, day_amount=10)
    everything = await accounts.entries(client)
    assert [each.action for each in everything] == ["SET", *["UPDATE"] * 5]
    for page_size in (1, 3, 5, 6):
        assert await accounts.entries(client, page_size) == everything
    assert await accounts.entries(client, 2, subject=f"account/{id_.upper()}") == everything[1:]
    assert await accounts.entries(client, subject="limits/HTG", actor="root") == everything[:1]
    assert await accounts.entries(client, actor="nobody") == []
    assert await accounts.entries(client, created_from=everything[1].created_time) == everything[:2]
    assert await accounts.entries(client, created_before=everything[1].created_time) == everything[2:]
    refused = client.accounts.ListAuditEntries(
        accounts_pb2.ListAuditEntriesRequest(), metadata=wallets.metadata("sue", "support")
    )
    assert (await wallets.refused(refused)).code == grpc.StatusCode.PERMISSION_DENIED
