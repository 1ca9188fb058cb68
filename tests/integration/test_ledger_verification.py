"""The verification finds every break, and says where it is."""

from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from kobklein.wallets.v1 import ledger_pb2
from tests import databases, wallets

Tamper = Callable[..., None]


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    """A sealed ledger where Ana got 100 and paid 30, 20 and 10 to Ben."""
    async with wallets.running(wallets_database) as client:
        await client.fund("ana", 100)
        await client.post(*(wallets.transfer("user/ana", "user/ben", amount) for amount in (30, 20, 10)))
        await client.sealed(4)
        yield client


@pytest.fixture
def tamper(wallets_database: databases.Database) -> Tamper:
    """Run a statement as somebody whom no rule of the tables stops."""

    def tamper(statement: str) -> None:
        with psycopg.connect(wallets_database.superuser_url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("ALTER TABLE accounts DROP CONSTRAINT IF EXISTS accounts_floor")
            connection.execute(statement)

    return tamper


def brief(report: ledger_pb2.LedgerReport) -> set[tuple[str, str, bool, int, int]]:
    return {
        (each.check, each.address, bool(each.transfer_id), each.expected_amount, each.actual_amount)
        for each in report.breaks
    }


async def test_an_honest_ledger_is_balanced(client: wallets.Client) -> None:
    report = await client.verify()
    assert report.balanced
    assert (report.account_count, report.transfer_count, report.sealed_count, report.hold_count) == (3, 4, 4, 0)
    assert report.HasField("verified_time")
    assert list(report.totals) == [ledger_pb2.CurrencyTotal(currency="HTG", balance=0, user_balance=100)]


async def test_an_empty_ledger_is_balanced(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database) as client:
        report = await client.verify()
    assert (report.balanced, report.account_count, len(report.totals)) == (True, 0, 0)


async def test_money_from_nowhere_is_found(client: wallets.Client, tamper: Tamper) -> None:
    tamper("UPDATE accounts SET balance = balance + 5 WHERE address = 'user/ben'")
    report = await client.verify()
    assert not report.balanced
    assert brief(report) == {
        ("CURRENCY_NOT_ZERO", "", False, 0, 5),
        ("BALANCE_NOT_DERIVED", "user/ben", False, 60, 65),
    }
    assert report.totals[0].balance == 5


async def test_a_balance_below_its_floor_is_found(client: wallets.Client, tamper: Tamper) -> None:
    tamper("UPDATE accounts SET held_amount = 41 WHERE address = 'user/ana'")
    assert brief(await client.verify()) == {
        ("BALANCE_BELOW_FLOOR", "user/ana", False, 0, -1),
        ("HELD_NOT_DERIVED", "user/ana", False, 0, 41),
    }


@pytest.mark.parametrize(
    ("statement", "breaks"),
    [
        (
            "UPDATE transfers SET amount = 21 WHERE amount = 20",
            {("user/ana", True, 49, 50), ("user/ben", True, 51, 50)},
        ),
        (
            "UPDATE transfers SET debit_balance_after = 51 WHERE amount = 20",
            {("user/ana", True, 50, 51), ("user/ana", True, 41, 40)},
        ),
        (
            "DELETE FROM transfers WHERE amount = 20",
            {("user/ana", True, 60, 40), ("user/ben", True, 40, 60)},
        ),
        (
            "DELETE FROM transfers WHERE amount = 10",
            {("user/ana", False, 40, 50), ("user/ben", False, 60, 50)},
        ),
        (
            "UPDATE transfers SET debit_version = 7 WHERE amount = 10",
            {("user/ana", True, 40, 40), ("user/ana", False, 40, 40)},
        ),
        (
            "UPDATE accounts SET version = 9 WHERE address = 'user/ben'",
            {("user/ben", False, 60, 60)},
        ),
    ],
    ids=["other amount", "other balance", "one deleted", "last deleted", "one moved", "other count"],
)
async def test_a_changed_history_is_found_where_it_breaks(
    client: wallets.Client, tamper: Tamper, statement: str, breaks: set[tuple[str, bool, int, int]]
) -> None:
    tamper(statement)
    found = brief(await client.verify())
    assert {each[1:] for each in found if each[0] == "HISTORY_BROKEN"} == breaks


async def test_accounts_that_changed_their_owners_are_found(client: wallets.Client, tamper: Tamper) -> None:
    tamper("UPDATE accounts SET address = address || '/other' WHERE address IN ('user/ana', 'user/ben')")
    tamper("UPDATE accounts SET address = 'user/ana' WHERE address = 'user/ben/other'")
    tamper("UPDATE accounts SET address = 'user/ben' WHERE address = 'user/ana/other'")
    report = await client.verify()
    assert [(each.check, each.address) for each in report.breaks] == [
        ("ACCOUNT_RENAMED", "user/ana"),
        ("ACCOUNT_RENAMED", "user/ben"),
    ]


async def test_a_swapped_pair_of_transfers_is_found(client: wallets.Client, tamper: Tamper) -> None:
    tamper("UPDATE transfers SET amount = CASE amount WHEN 30 THEN 20 ELSE 30 END WHERE amount IN (20, 30)")
    report = await client.verify()
    assert {(each.check, each.address) for each in report.breaks} == {
        ("HISTORY_BROKEN", "user/ana"),
        ("HISTORY_BROKEN", "user/ben"),
        ("CHAIN_BROKEN", ""),
    }


async def test_amounts_beyond_64_bits_break_the_ledger_and_not_its_verification(
    client: wallets.Client, tamper: Tamper
) -> None:
    tamper("UPDATE accounts SET balance = 9223372036854775807")
    tamper("UPDATE transfers SET amount = 9223372036854775807, debit_balance_after = -9223372036854775808")
    report = await client.verify()
    assert not report.balanced
    assert report.totals[0].balance == 2**63 - 1


async def test_at_most_a_thousand_breaks_are_listed_and_totals_stay_right(
    client: wallets.Client, tamper: Tamper
) -> None:
    await client.post(*(wallets.transfer("provider/stripe", f"user/{number}", 1) for number in range(1_200)))
    tamper("UPDATE accounts SET balance = balance + 1 WHERE address ~ '^user/[0-9]+$'")
    report = await client.verify()
    assert len(report.breaks) == 1_000
    assert (report.totals[0].balance, report.totals[0].user_balance) == (1_200, 2_500)


async def test_a_changed_transfer_is_named_with_its_place_in_the_chain(client: wallets.Client, tamper: Tamper) -> None:
    head = await client.sealed(4)
    tamper("UPDATE transfers SET description = 'x' WHERE amount = 20")
    (found,) = (await client.verify(head)).breaks
    assert (found.check, found.sequence, bool(found.transfer_id)) == ("CHAIN_BROKEN", 3, True)
    assert "not as it was sealed" in found.detail


async def test_a_chain_that_was_cut_does_not_lead_to_a_head_that_was_kept(
    client: wallets.Client, tamper: Tamper
) -> None:
    head = await client.sealed(4)
    assert (await client.verify(head)).balanced
    await client.fund("ana", 1)
    later = await client.sealed(5)
    tamper("DELETE FROM seals WHERE sequence > 4")
    assert not (await client.verify(head)).breaks
    assert [each.check for each in (await client.verify(later)).breaks] == ["HEAD_NOT_FOUND"]


async def test_a_head_must_be_whole(client: wallets.Client) -> None:
    head = await client.sealed(4)
    head.ClearField("signature")
    assert (await wallets.refused(client.verify(head))).violations[0].field == "head.signature"
    assert (await client.verify(ledger_pb2.LedgerHead())).balanced


async def test_a_ledger_without_transfers_has_an_empty_head(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database) as client:
        assert await client.sealed(0) == ledger_pb2.LedgerHead()


async def test_a_ledger_that_takes_longer_than_the_call_is_refused_with_a_way_out(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    """Somebody's lock stands for a ledger that takes too long."""
    with psycopg.connect(wallets_database.superuser_url) as connection:
        connection.execute("LOCK TABLE holds IN ACCESS EXCLUSIVE MODE")
        request = ledger_pb2.VerifyLedgerRequest()
        refusal = await wallets.refused(client.ledger.VerifyLedger(request, metadata=wallets.AS_SERVICE, timeout=3))
    assert (refusal.reason, refusal.http_status) == ("LEDGER_TOO_LARGE", 504)
    assert "python -m wallets_service verify" in refusal.message


async def test_a_caller_that_leaves_ends_its_verification(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    running = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(wallets_database.superuser_url) as connection:
        connection.execute("LOCK TABLE holds IN ACCESS EXCLUSIVE MODE")
        call = client.ledger.VerifyLedger(ledger_pb2.VerifyLedgerRequest(), metadata=wallets.AS_SERVICE)
        await wallets.until_waiting(wallets_database, "Lock")
        call.cancel()
        async with await psycopg.AsyncConnection.connect(wallets_database.superuser_url, autocommit=True) as other:
            while (await other.execute(running)).rowcount:
                pass  # Each look lets the others go on.
