"""Transfers through the whole service, on a real database."""

from collections.abc import AsyncIterator

import pytest

from kobklein.wallets.v1 import ledger_pb2
from tests import databases, wallets


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        yield client


async def test_a_first_credit_opens_the_wallet_and_answers_both_balances(client: wallets.Client) -> None:
    sent = wallets.transfer("provider/stripe", "user/ana", 10_000, type_="DEPOSIT")
    (result,) = await client.post(sent)
    assert result.transfer.credit_balance_after == 10_000
    assert result.transfer.debit_balance_after == -10_000
    assert (await client.account("user/ana")).balance == 10_000
    report = await client.verify()
    assert report.balanced
    assert (report.account_count, report.transfer_count) == (2, 1)
    assert list(report.totals) == [ledger_pb2.CurrencyTotal(currency="HTG", balance=0, user_balance=10_000)]
