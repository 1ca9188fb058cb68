"""Limits of accounts and of currencies."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from google.protobuf import json_format

from kobklein.wallets.v1 import accounts_pb2, ledger_pb2
from tests import accounts, databases, holds, wallets


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with accounts.running(wallets_database) as client:
        yield client


async def test_limits_are_set_whole_or_in_parts_and_lifted(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    limits = ledger_pb2.Limits(currency="HTG", transfer_amount=10, day_amount=20, month_amount=30)
    assert (await accounts.update(client, id_, "limits", limits=limits)).limits == limits
    part = ledger_pb2.Limits(currency="HTG", day_amount=25)
    changed = await accounts.update(client, id_, "limits.day_amount", "limits.month_amount", limits=part)
    assert changed.limits == ledger_pb2.Limits(currency="HTG", transfer_amount=10, day_amount=25)
    assert not (await accounts.update(client, id_, "limits")).HasField("limits")


async def test_an_accounts_limits_stop_transfers_and_holds(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    limits = ledger_pb2.Limits(currency="HTG", transfer_amount=10, day_amount=25, month_amount=28)
    await accounts.update(client, id_, "limits", limits=limits)
    assert await accounts.pay(client, 11) == "LIMIT_EXCEEDED"
    assert await accounts.pay(client, 10) == ""
    made = await holds.create(client, amount=10)
    status = await wallets.refused(holds.create(client, amount=6))
    assert (status.reason, status.metadata["period"], status.metadata["used"]) == ("LIMIT_EXCEEDED", "day", "0.20")
    await holds.void(client, made)
    assert await accounts.pay(client, 10) == ""
    await accounts.update(client, id_, "limits.day_amount", limits=ledger_pb2.Limits(currency="HTG"))
    (result,) = await client.post(wallets.transfer("user/ana", "user/ben", 9))
    assert result.error.message == "user/ana may pay 0.28 HTG a month, and 0.20 is used"
    assert dict(result.error.metadata) == {
        "account": "user/ana", "currency": "HTG", "period": "month", "limit": "0.28", "used": "0.20",
    }  # fmt: skip


async def test_a_currencys_limits_are_set_with_a_reason_only(client: wallets.Client) -> None:
    request = accounts_pb2.SetCurrencyLimitsRequest(limits=ledger_pb2.Limits(currency="HTG", day_amount=1))
    status = await wallets.refused(client.accounts.SetCurrencyLimits(request, metadata=accounts.ADMIN))
    assert [each.field for each in status.violations] == ["reason"]


async def test_accounts_of_providers_may_have_limits_too(client: wallets.Client) -> None:
    id_ = (await client.account("provider/stripe")).id
    await accounts.update(client, id_, "limits", limits=ledger_pb2.Limits(currency="HTG", transfer_amount=10))
    assert await accounts.pay(client, 11, "provider/stripe", "user/ana") == "LIMIT_EXCEEDED"
    assert await accounts.pay(client, 10, "provider/stripe", "user/ana") == ""


async def test_a_currencys_limits_hold_for_wallets_without_their_own(client: wallets.Client) -> None:
    await client.fund("eva", 100)
    limits = await accounts.set_limits(client, transfer_amount=10, day_amount=15)
    assert limits == ledger_pb2.Limits(currency="HTG", transfer_amount=10, day_amount=15)
    eva = (await client.account("user/eva")).id
    await accounts.update(client, eva, "limits", limits=ledger_pb2.Limits(currency="HTG", transfer_amount=20))
    assert [await accounts.pay(client, 11), await accounts.pay(client, 10), await accounts.pay(client, 6)] == [
        "LIMIT_EXCEEDED", "", "LIMIT_EXCEEDED",
    ]  # fmt: skip
    assert [await accounts.pay(client, 11, "user/eva"), await accounts.pay(client, 5, "user/eva")] == [
        "",
        "LIMIT_EXCEEDED",
    ]
    assert await accounts.pay(client, 100, "provider/stripe", "user/ana") == ""
    await accounts.set_limits(client, transfer_amount=10)
    assert await accounts.pay(client, 6) == ""


async def test_currencies_are_listed_while_they_have_any_limit(client: wallets.Client) -> None:
    await accounts.set_limits(client, "USD", day_amount=10)
    await accounts.set_limits(client, month_amount=0)
    user = wallets.metadata("ana", "user")
    listed = await client.accounts.ListCurrencyLimits(accounts_pb2.ListCurrencyLimitsRequest(), metadata=user)
    htg = ledger_pb2.Limits(currency="HTG", month_amount=0)
    assert list(listed.limits) == [htg, ledger_pb2.Limits(currency="USD", day_amount=10)]
    await accounts.set_limits(client, "USD")
    await accounts.set_limits(client, "USD")
    listed = await client.accounts.ListCurrencyLimits(accounts_pb2.ListCurrencyLimitsRequest(), metadata=user)
    assert list(listed.limits) == [htg]
    usd = await accounts.entries(client, subject="limits/USD")
    assert [(each.HasField("before"), each.HasField("after")) for each in usd] == [(True, False), (False, True)]
    assert json_format.MessageToDict(usd[0].before) == {
        "transferAmount": None, "dayAmount": "0.10", "monthAmount": None,
    }  # fmt: skip


async def test_limits_of_no_currency_are_refused(client: wallets.Client) -> None:
    status = await wallets.refused(accounts.set_limits(client, ""))
    assert [each.field for each in status.violations] == ["limits.currency"]


async def test_first_limits_of_a_currency_that_meet_are_recorded_one_after_the_other(client: wallets.Client) -> None:
    await asyncio.gather(*(accounts.set_limits(client, day_amount=number + 1) for number in range(10)))
    found = [
        (json.dumps(json_format.MessageToDict(each.before)), json.dumps(json_format.MessageToDict(each.after)))
        for each in await accounts.entries(client)
    ]
    befores, afters = {before for before, _ in found}, {after for _, after in found}
    assert (len(befores), len(afters), len(befores - afters), len(afters - befores)) == (10, 10, 1, 1)
