"""A fee that does not follow its hold is found, by the service's verification and by the tests' oracle."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from tests import databases, holds, ledger_oracle, transfers, wallets

FEE = "fee_of IS NOT NULL AND amount = 10"
HOLD = "amount = 1000"
MISTAKES = {
    "a part too much": (
        "UPDATE holds SET posted_amount = 4 WHERE {fee}; UPDATE transfers SET amount = 4 WHERE amount = 3",
        ("what is posted is not what is due of the fee", "fee", 3, 4),
    ),
    "ended alone": (
        "UPDATE holds SET status = 'VOIDED' WHERE {fee}",
        ("it did not end together with the hold that it is the fee of", "fee", 3, 3),
    ),
    "left behind": (
        "UPDATE holds SET status = 'VOIDED' WHERE {hold}",
        ("it did not end together with the hold that it is the fee of", "fee", 3, 3),
    ),
    "a larger fee": (
        "UPDATE holds SET fee_amount = fee_amount + 1 WHERE {hold}",
        ("it does not reserve the fee of its hold", "fee", 3, 3),
    ),
    "a fee of another payer": (
        "UPDATE holds SET debit_account_id = (SELECT id FROM accounts WHERE address = 'user/ben') WHERE {fee}",
        ("it does not reserve the fee of its hold", "fee", 3, 3),
    ),
    "a fee of no hold": (
        (
            "UPDATE holds SET fee_amount = 0, fee_fixed_amount = NULL, fee_parts_per_million = NULL,"
            " fee_floor_amount = NULL WHERE {hold}"
        ),
        ("the hold that it is the fee of is missing, or has no fee", "fee", 0, 3),
    ),
    "no hold of the fee": (
        "UPDATE holds SET fee_of = NULL WHERE {fee}",
        ("the hold of its fee is missing", "hold", 3, 0),
    ),
    "other terms": (
        "UPDATE holds SET fee_fixed_amount = 1 WHERE {hold}",
        ("what is posted is not what is due of the fee", "fee", 4, 3),
    ),
    "a higher floor": (
        "UPDATE holds SET fee_floor_amount = 9 WHERE {hold}",
        ("what is posted is not what is due of the fee", "fee", 9, 3),
    ),
    "a lower cap": (
        "UPDATE holds SET fee_cap_amount = 2 WHERE {hold}",
        ("what is posted is not what is due of the fee", "fee", 2, 3),
    ),
}
"""What is done to the rows; and what is found, whether the fee or its hold is named, what is due, and what posted."""


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    """A ledger with a hold of 1,000 and its fee of 10, of which 333 and 3 are posted, and with two that have ended."""
    async with wallets.running(wallets_database) as client:
        await transfers.set_fee(client, parts_per_million=10_000)
        await client.fund("ana", 10_000)
        await holds.post(client, await holds.create(client, amount=1_000), 333)
        await holds.post(client, await holds.create(client, amount=777))
        voided = await holds.create(client, amount=555)
        await holds.post(client, voided, 222)
        await holds.void(client, voided)
        yield client


async def test_holds_and_their_fees_are_as_they_must_be(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    ledger_oracle.check(wallets_database.superuser_url)
    report = await client.verify()
    assert (report.balanced, report.hold_count) == (True, 6)


@pytest.mark.parametrize(("statements", "found"), MISTAKES.values(), ids=MISTAKES)
async def test_a_fee_that_does_not_follow_its_hold_is_named(
    client: wallets.Client,
    wallets_database: databases.Database,
    statements: str,
    found: tuple[str, str, int, int],
) -> None:
    with psycopg.connect(wallets_database.superuser_url) as connection:
        named = {
            name: str(id_)
            for name, which in (("fee", FEE), ("hold", HOLD))
            for (id_,) in connection.execute(f"SELECT id FROM holds WHERE {which}")
        }
        connection.execute("SET session_replication_role = replica")
        for constraint in ("amount", "fee", "posted_amount", "pending"):
            connection.execute(f"ALTER TABLE holds DROP CONSTRAINT holds_{constraint}")
        for statement in statements.format(fee=FEE, hold=HOLD).split(";"):
            assert connection.execute(statement).rowcount == 1
        with pytest.raises(AssertionError):
            ledger_oracle._fees_follow_their_holds(ledger_oracle.read(connection))
    detail, name, due, posted = found
    assert (detail, named[name], due, posted) in {
        (each.detail, each.hold_id, each.expected_amount, each.actual_amount)
        for each in (await client.verify()).breaks
        if each.check == "HOLD_BROKEN"
    }
