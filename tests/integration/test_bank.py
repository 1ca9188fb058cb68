"""The bank test: while money moves between accounts, every look at all of them adds up."""

import asyncio
import random
import time
from typing import Final

import pytest

from kobklein.wallets.v1 import ledger_pb2
from tests import databases, ledger_oracle, wallets
from tests.sizes import size
from wallets_service.settings import Isolation

CLIENTS: Final = 30
SECONDS: Final = size(15, 300)
USERS: Final = 24
OPENING_BALANCE: Final = 1_000
LEAST_READS: Final = size(500, 10_000)
pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("isolation", list(Isolation))
async def test_every_snapshot_adds_up_while_money_moves(
    wallets_database: databases.Database, isolation: Isolation
) -> None:
    async with wallets.running(wallets_database, isolation=isolation) as client:
        for currency in ("HTG", "USD"):
            await client.post(
                *(wallets.transfer("provider/stripe", _user(n), OPENING_BALANCE, currency) for n in range(USERS))
            )
        end = time.monotonic() + SECONDS
        reads = sum(await asyncio.gather(*(_play(client, end, seed) for seed in range(CLIENTS))))
        report = await client.verify()
    assert reads >= LEAST_READS
    assert report.balanced
    assert {total.user_balance for total in report.totals} == {USERS * OPENING_BALANCE}
    ledger_oracle.check(wallets_database.superuser_url)


async def _play(client: wallets.Client, end: float, seed: int) -> int:
    """Move money or look at all accounts, half and half; return the number of looks."""
    chance = random.Random(seed)
    reads = 0
    while time.monotonic() < end:
        if chance.random() < 0.5:
            await _look(client)
            reads += 1
        else:
            await _move(client, chance)
    return reads


async def _move(client: wallets.Client, chance: random.Random) -> None:
    payer, payee = chance.sample(range(USERS), 2)
    currency = chance.choice(("HTG", "USD"))
    sent = wallets.transfer(_user(payer), _user(payee), chance.randint(1, OPENING_BALANCE), currency)
    (result,) = await client.post(sent)
    assert result.error.reason in ("", "INSUFFICIENT_FUNDS")


async def _look(client: wallets.Client) -> None:
    """Read every account in one statement, which is one snapshot: each currency must sum to zero, no user below it."""
    request = ledger_pb2.ListAccountsRequest(page_size=1_000)
    accounts = (await client.ledger.ListAccounts(request, metadata=wallets.AS_SERVICE)).accounts
    totals: dict[str, int] = {}
    for account in accounts:
        totals[account.currency] = totals.get(account.currency, 0) + account.balance
        assert account.balance >= 0 or account.address == "provider/stripe"
    assert totals == {"HTG": 0, "USD": 0}
    assert len(accounts) == 2 * (USERS + 1)


def _user(number: int) -> str:
    return f"user/{number}"
