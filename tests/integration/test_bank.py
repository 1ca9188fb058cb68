"""The bank test: while money moves between accounts, every look at all of them adds up.

What was asked, answered and seen is kept, and has to be what one clerk could have answered in an order that real time
allows: strict serializability, at both isolation levels.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests import databases, ledger_oracle, seal_oracle, serial_order, wallets
from tests.sizes import size
from wallets_service.settings import Isolation

CLIENTS: Final = 30
SECONDS: Final = size(0, 300)
LOOKS: Final = size(1_000, 10_000)
"""The work goes on until both are reached."""
LOOKS_KEPT: Final = size(1.0, 0.2)
USERS: Final = 24
OPENING_BALANCE: Final = 1_000
pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("isolation", list(Isolation))
async def test_every_snapshot_adds_up_while_money_moves(
    wallets_database: databases.Database, isolation: Isolation
) -> None:
    record = serial_order.Record()
    async with wallets.running(wallets_database, isolation=isolation) as client:
        for currency in ("HTG", "USD"):
            deposits = (wallets.transfer("provider/stripe", _user(n), OPENING_BALANCE, currency) for n in range(USERS))
            await record.post(client, *deposits)
        early = await client.sealed(1)
        looks, end = itertools.count(1), time.monotonic() + SECONDS
        await asyncio.gather(*(_play(client, end, random.Random(seed), looks, record) for seed in range(CLIENTS)))
        report = await client.verify()
        late = await client.sealed(report.transfer_count)
    assert report.balanced
    assert {total.user_balance for total in report.totals} == {USERS * OPENING_BALANCE}
    heads = [seal_oracle.Head.of(head) for head in (early, late)]
    books = ledger_oracle.check(wallets_database.superuser_url, serial_order.told(record.calls), heads=heads)
    assert late.sequence == len(books.transfers)
    serial_order.check(books, record)


async def _play(
    client: wallets.Client, end: float, chance: random.Random, looks: Iterator[int], record: serial_order.Record
) -> None:
    """Move money or look at all accounts, half and half."""
    looked = 0
    while looked < LOOKS or time.monotonic() < end:
        if chance.random() < 0.5:
            await _look(client, record if chance.random() < LOOKS_KEPT else serial_order.Record())
            looked = next(looks)
        else:
            await _move(client, chance, record)


async def _move(client: wallets.Client, chance: random.Random, record: serial_order.Record) -> None:
    payer, payee = chance.sample(range(USERS), 2)
    currency = chance.choice(("HTG", "USD"))
    sent = wallets.transfer(_user(payer), _user(payee), chance.randint(1, OPENING_BALANCE), currency)
    (result,) = await record.post(client, sent)
    assert result.error.reason in ("", "INSUFFICIENT_FUNDS")


async def _look(client: wallets.Client, record: serial_order.Record) -> None:
    """Read every account in one statement, which is one snapshot: each currency must sum to zero, no user below it."""
    accounts = await record.look(client)
    totals: dict[str, int] = {}
    for account in accounts:
        totals[account.currency] = totals.get(account.currency, 0) + account.balance
        assert account.balance >= 0 or account.address == "provider/stripe"
    assert totals == {"HTG": 0, "USD": 0}
    assert len(accounts) == 2 * (USERS + 1)


def _user(number: int) -> str:
    return f"user/{number}"
