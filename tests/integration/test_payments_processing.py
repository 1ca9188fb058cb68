"""Card payments through the whole service: the real SDK, a provider with a ledger of its own, and a real ledger."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kobklein.payments.v1 import payments_pb2
from tests import databases, payments


@pytest.fixture
async def client(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> AsyncIterator[payments.Client]:
    async with payments.running(payments_database, wallets_database, tmp_path) as client:
        yield client


async def test_a_good_card_reaches_the_wallet(client: payments.Client) -> None:
    payment = await client.process(description="Top-up", metadata={"cart": 7})
    assert payment.status == payments_pb2.PAYMENT_STATUS_COMPLETED
    assert payment.stripe_payment_intent_id.startswith("pi_")
    assert payment.HasField("completed_time")
    assert await client.balance() == 10_000
    assert await client.captured(payment.id) == [10_000]
