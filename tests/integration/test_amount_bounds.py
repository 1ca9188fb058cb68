"""The largest amounts: exact up to the range of 64 bits, and an error with its reason behind it."""

from collections.abc import AsyncIterator
from typing import Final

import pytest
from google.protobuf import timestamp_pb2

from kobklein.wallets.v1 import ledger_pb2, statements_pb2
from tests import databases, wallets

MOST: Final = 999_999_999_999_999
"""The largest amount."""
MANY: Final = (2**63 - 1) // MOST
"""So many of them are the most that a balance can be."""


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        yield client


def transfers(count: int, debit: str, credit: str) -> list[ledger_pb2.Transfer]:
    return [wallets.transfer(debit, credit, MOST) for _ in range(count)]


async def test_balances_and_sums_are_exact_up_to_64_bits_and_refused_behind_them(client: wallets.Client) -> None:
    *posted, refused = await client.post(*transfers(MANY + 1, "provider/a", "user/ana"))
    assert refused.error.reason == "AMOUNT_OVERFLOW"
    assert posted[-1].transfer.credit_balance_after == MANY * MOST
    assert (await client.account("provider/a")).balance == -MANY * MOST
    assert (await client.verify()).totals[0].user_balance == MANY * MOST

    await client.post(*transfers(500, "user/ana", "user/ben"), *transfers(500, "provider/b", "user/ana"))
    assert (await client.account("user/ana")).balance == MANY * MOST
    start = timestamp_pb2.Timestamp(seconds=1_700_000_000)
    asked = statements_pb2.GetStatementRequest(id=(await client.account("user/ana")).id, from_time=start)
    sums = (
        client.statements.GetStatement(asked, metadata=wallets.AS_SERVICE),
        client.ledger.GetTrialBalance(ledger_pb2.GetTrialBalanceRequest(), metadata=wallets.AS_SERVICE),
        client.verify(),
    )
    for call, name in zip(sums, ("the money in", "the sum of credits", "the sum of the users' balances"), strict=True):
        status = await wallets.refused(call)
        assert (status.reason, status.metadata["currency"], status.http_status) == ("SUM_OVERFLOW", "HTG", 400)
        assert status.metadata["sum"] in (name, "the sum of debits")
