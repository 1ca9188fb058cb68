"""One account that everybody pays into and is paid from, over two replicas."""

import asyncio
import random
import time
from typing import Final

import pytest

from kobklein.wallets.v1 import ledger_pb2
from tests import databases, ledger_oracle, wallets
from tests.sizes import size

CLIENTS: Final = 100
SECONDS: Final = size(4, 60)
HOT: Final = "user/platform"
pytestmark = pytest.mark.chaos


async def test_a_hot_account_loses_nothing_and_never_falls_below_its_floor(
    wallets_database: databases.Database,
) -> None:
    outcomes: dict[str, str] = {}
    async with wallets.running(wallets_database) as one, wallets.running(wallets_database) as other:
        await one.fund("platform", 500)
        end = time.monotonic() + SECONDS
        await asyncio.gather(
            *(_play((one, other)[number % 2], end, random.Random(number), outcomes) for number in range(CLIENTS))
        )
        assert (await one.verify()).balanced
    assert set(outcomes.values()) == {ledger_oracle.POSTED, ledger_oracle.REFUSED}
    ledger_oracle.check(wallets_database.superuser_url, outcomes)


async def _play(client: wallets.Client, end: float, chance: random.Random, outcomes: dict[str, str]) -> None:
    """Pay into the hot account and be paid from it; a refusal is an answer, an error is not."""
    while time.monotonic() < end:
        sent = _transfer(chance)
        (result,) = await client.post(sent)
        assert result.error.reason in ("", "INSUFFICIENT_FUNDS")
        outcomes[sent.id] = ledger_oracle.REFUSED if result.HasField("error") else ledger_oracle.POSTED


def _transfer(chance: random.Random) -> ledger_pb2.Transfer:
    other = f"user/{chance.randrange(50)}"
    if chance.random() < 0.5:
        return wallets.transfer(HOT, other, chance.randint(1, 400))
    return wallets.transfer("provider/stripe", HOT, chance.randint(1, 200))
