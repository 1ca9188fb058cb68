"""One account that everybody pays into and is paid from, over two replicas."""

import asyncio
import random
import time
from typing import Final

import pytest

from kobklein.wallets.v1 import ledger_pb2
from tests import databases, ledger_oracle, seal_oracle, serial_order, wallets
from tests.sizes import size

CLIENTS: Final = 100
SECONDS: Final = size(4, 60)
HOT: Final = "user/platform"
pytestmark = pytest.mark.chaos


async def test_a_hot_account_loses_nothing_and_never_falls_below_its_floor(
    wallets_database: databases.Database,
) -> None:
    record = serial_order.Record()
    async with wallets.running(wallets_database) as one, wallets.running(wallets_database) as other:
        await record.post(one, wallets.transfer("provider/stripe", HOT, 500))
        end = time.monotonic() + SECONDS
        await asyncio.gather(
            *(_play((one, other)[number % 2], end, random.Random(number), record) for number in range(CLIENTS))
        )
        report = await one.verify()
        head = await one.sealed(report.transfer_count)
    assert report.balanced
    outcomes = serial_order.told(record.calls)
    assert set(outcomes.values()) == {ledger_oracle.POSTED, ledger_oracle.REFUSED}
    books = ledger_oracle.check(wallets_database.superuser_url, outcomes, heads=[seal_oracle.Head.of(head)])
    serial_order.check(books, record)


async def _play(client: wallets.Client, end: float, chance: random.Random, record: serial_order.Record) -> None:
    """Pay into the hot account and be paid from it; a refusal is an answer, an error is not."""
    while time.monotonic() < end:
        (result,) = await record.post(client, _transfer(chance))
        assert result.error.reason in ("", "INSUFFICIENT_FUNDS")


def _transfer(chance: random.Random) -> ledger_pb2.Transfer:
    other = f"user/{chance.randrange(50)}"
    if chance.random() < 0.5:
        return wallets.transfer(HOT, other, chance.randint(1, 400))
    return wallets.transfer("provider/stripe", HOT, chance.randint(1, 200))
