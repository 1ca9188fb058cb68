"""What was posted together is found when it is so no more: groups, and the conversions that quotes have promised."""

import datetime
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import psycopg
import pytest

from deploy.local import postgres as embedded
from kobklein import ids
from kobklein.wallets.v1 import conversions_pb2, ledger_pb2
from tests import conversions, databases, holds, ledger_oracle, ledgers, transfers, wallets
from wallets_service.ledger import entries
from wallets_service.ledger.group_commit import Ledger
from wallets_service.proof import snapshots, verification

CONVERSION, GROUP = "CONVERSION_BROKEN", "GROUP_BROKEN"
BUY, SPREAD = 1_292_812, 19_688
"""What 100.00 USD bring, and what of it the platform keeps."""
BY_HAND: Final = "it is called a conversion, and belongs to no accepted quote"
MISSING: Final = "a leg that its quote promised is missing"
UNPROMISED: Final = "its quote promised no such leg"
OTHER_AMOUNT: Final = "its quote promised another amount"
FIRST_MISSING: Final = "the first transfer of its group is missing"
FIRST_OUTSIDE: Final = "the first transfer of its group is not in it"
OTHER_TRANSACTION: Final = "another transaction wrote it than the first transfer of its group"
APART: Final = "it does not stand right behind another one of its group"
BEN: Final = "(SELECT id FROM accounts WHERE (address, currency) = ('user/ben', 'HTG'))"
CONVERSIONS: Final = {
    "another amount": (
        "UPDATE transfers SET amount = amount + 1 WHERE id = '{spread}'",
        [(OTHER_AMOUNT, "spread", SPREAD, SPREAD + 1)],
    ),
    "another price": (
        "UPDATE fx_quotes SET buy_amount = buy_amount + 1 WHERE transfer_id = '{sell}'",
        [(OTHER_AMOUNT, "buy", BUY + 1, BUY)],
    ),
    "a leg of another type": (
        "UPDATE transfers SET type = 'ADJUSTMENT' WHERE id = '{buy}'",
        [(MISSING, "sell", BUY, 0), (UNPROMISED, "buy", 0, BUY)],
    ),
    "a leg to another account": (
        f"UPDATE transfers SET credit_account_id = {BEN} WHERE id = '{{buy}}'",
        [(MISSING, "sell", BUY, 0), (UNPROMISED, "buy", 0, BUY)],
    ),
    "a leg from another account": (
        f"UPDATE transfers SET debit_account_id = {BEN} WHERE id = '{{spread}}'",
        [(MISSING, "sell", SPREAD, 0), (UNPROMISED, "spread", 0, SPREAD)],
    ),
    "a leg in another currency": (
        "UPDATE transfers SET currency = 'HTG' WHERE id = '{fee}'",
        [(MISSING, "sell", 75, 0), (UNPROMISED, "fee", 0, 75)],
    ),
    "another's quote": (
        "UPDATE fx_quotes SET user_id = 'ben' WHERE transfer_id = '{free}'",
        [
            (MISSING, "free", 2_000, 0),
            (MISSING, "free", 258_562, 0),
            (UNPROMISED, "free", 0, 2_000),
            (UNPROMISED, "", 0, 258_562),
        ],
    ),
    "a fee that is gone": (
        "DELETE FROM transfers WHERE id = '{fee}'",
        [(MISSING, "sell", 75, 0)],
    ),
    "a fee that was not promised": (
        "UPDATE fx_quotes SET fee_amount = 0 WHERE transfer_id = '{sell}'",
        [(UNPROMISED, "fee", 0, 75)],
    ),
    "a fee that nobody took": (
        "UPDATE fx_quotes SET fee_amount = 3 WHERE transfer_id = '{free}'",
        [(MISSING, "free", 3, 0)],
    ),
    "a leg twice": (
        (
            "UPDATE transfers t SET debit_account_id = leg.debit_account_id, credit_account_id = leg.credit_account_id,"
            " amount = leg.amount, type = leg.type, group_id = leg.group_id, id = '{last}'"
            " FROM transfers leg WHERE t.id = '{deposit}' AND leg.id = '{fee}'"
        ),
        [(UNPROMISED, "fee", 75, 150)],
    ),
    "one more leg": (
        "UPDATE transfers SET group_id = '{sell}' WHERE id = '{deposit}'",
        [(UNPROMISED, "deposit", 0, 50_000)],
    ),
    "the first leg out of its group": (
        "UPDATE transfers SET group_id = NULL WHERE id = '{sell}'",
        [(MISSING, "sell", 10_000, 0), (BY_HAND, "sell", 0, 10_000)],
    ),
    "the first leg gone": (
        "DELETE FROM transfers WHERE id = '{sell}'",
        [(BY_HAND, "buy", 0, BUY), (BY_HAND, "spread", 0, SPREAD)],
    ),
    "a quote that is gone": (
        "DELETE FROM fx_quotes WHERE transfer_id = '{sell}'",
        [(BY_HAND, "sell", 0, 10_000), (BY_HAND, "buy", 0, BUY), (BY_HAND, "spread", 0, SPREAD)],
    ),
    "a conversion by hand": (
        "UPDATE transfers SET type = 'CONVERSION' WHERE id = '{deposit}'",
        [(BY_HAND, "deposit", 0, 50_000)],
    ),
    "a conversion that takes back something else": (
        "UPDATE transfers SET type = 'CONVERSION', reverses_id = '{deposit}' WHERE id = '{second}'",
        [(BY_HAND, "second", 0, 20)],
    ),
}
"""What is done to the rows; and what is found of conversions, at which transfer, what is promised, and what posted."""
GROUPS: Final = {
    "another group": (
        "UPDATE transfers SET group_id = gen_random_uuid() WHERE id = '{second}'",
        [(FIRST_MISSING, "second"), (APART, "third")],
    ),
    "the first gone": ("DELETE FROM transfers WHERE id = '{first}'", [(FIRST_MISSING, "second")]),
    "the first out of its group": (
        "UPDATE transfers SET group_id = NULL WHERE id = '{first}'",
        [(FIRST_OUTSIDE, "second")],
    ),
    "one gone from the middle": ("DELETE FROM transfers WHERE id = '{second}'", [(APART, "third")]),
    "another transaction": (
        "UPDATE transfers SET xid = '1' WHERE id = '{third}'",
        [(OTHER_TRANSACTION, "third")],
    ),
    "another place": (
        "UPDATE transfers SET place = place + 100 WHERE id = '{third}'",
        [(APART, "third")],
    ),
    "the last place": (
        "UPDATE transfers SET place = 2147483647 WHERE id = '{first}'",
        [(APART, "second")],
    ),
    "before the first": (
        "UPDATE transfers SET place = -2147483648 WHERE id = '{third}'",
        [(APART, "third")],
    ),
    "one that was posted alone": (
        "UPDATE transfers SET group_id = '{first}' WHERE id = '{deposit}'",
        [(OTHER_TRANSACTION, "deposit")],
    ),
    "a hold that is gone": (
        "DELETE FROM holds WHERE id = '{hold}'",
        [(FIRST_MISSING, "part"), (FIRST_MISSING, "later")],
    ),
}
"""What is done to the rows; and what is found of groups, and at which transfer."""


class Case:
    """A ledger in an open transaction in which anything may be done to it, and the names of some of its rows."""

    def __init__(self, connection: psycopg.Connection[Any], names: dict[str, str]) -> None:
        self.connection = connection
        self._names = names

    def do(self, statement: str) -> None:
        done = self.connection.execute(statement.format(last=uuid.UUID(int=2**128 - 1), **self._names).encode())
        assert done.rowcount, f"{statement} does nothing"

    def report(self) -> verification.Report:
        snapshot = snapshots.Snapshot(self.connection, snapshots.Clock())
        return verification.examine(snapshot, head=None, trusted=(), progress=lambda _step, _done, _of: None)

    def breaks(self, check: str) -> list[verification.Break]:
        return [each for each in self.report().breaks if each.check == check]

    def name(self, found: verification.Break) -> str:
        return {id_: name for name, id_ in self._names.items()}.get(str(found.transfer_id), "")


@pytest.fixture(scope="module")
async def written(postgres: embedded.Server, wallets_template: str) -> AsyncIterator[tuple[databases.Database, Any]]:
    """A ledger with every kind of group, and with conversions in every state."""
    for database in databases.copy(postgres, "wallets_service", of=wallets_template):
        async with wallets.running(database) as client:
            names = await _converted(client) | await _grouped(client)
            ledger_oracle.check(database.superuser_url)
            names |= await _named_after_holds(database)
        yield database, names


@pytest.fixture
def case(written: tuple[databases.Database, dict[str, str]]) -> Iterator[Case]:
    database, names = written
    with psycopg.connect(database.superuser_url, client_encoding="utf8") as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for side in ("debit", "credit"):
            connection.execute(f"ALTER TABLE transfers DROP CONSTRAINT transfers_{side}_version_key".encode())
        yield Case(connection, names)
        connection.rollback()


async def _converted(client: wallets.Client) -> dict[str, str]:
    """Accept quotes with and without fee and spread, take some of their legs back, and leave one quote open."""
    deposit = await client.fund("ana", 50_000, "USD")
    await client.fund("ben", 1)
    await _set_terms(client, fee=75, spread=conversions.SPREAD)
    full = await _accepted(client, 10_000)
    await conversions.quote(client, sell=(100, "USD"))
    await _set_terms(client, fee=75, spread=0)
    exact = await _accepted(client, 3_000)
    await _set_terms(client, fee=0, spread=0)
    bare = await _accepted(client, 1_000)
    await _set_terms(client, fee=0, spread=conversions.SPREAD)
    free = await _accepted(client, 2_000)
    await transfers.reverse(client, _leg(bare, "buy"))
    await transfers.reverse(client, _leg(exact, "fee"), 5, currency="USD")
    back = await transfers.reverse(client, _leg(exact, "sell"))
    legs = {name: _leg(full, name) for name in ("sell", "fee", "buy", "spread")}
    return {**legs, "free": _leg(free, "sell"), "deposit": deposit.transfer.id, "back": back.id}


async def _set_terms(client: wallets.Client, *, fee: int, spread: int) -> None:
    await conversions.set_rate(client, "USD", "HTG", conversions.HTG_PER_USD, spread)
    type_ = ledger_pb2.TRANSFER_TYPE_CONVERSION
    await transfers.set_fee(client, currency="USD", type=type_, fixed_amount=fee)


async def _accepted(client: wallets.Client, amount: int) -> conversions_pb2.Quote:
    """Sell USD, and say so twice."""
    made = await conversions.quote(client, sell=(amount, "USD"))
    accepted = await conversions.accept(client, made.id, key=made.id)
    assert await conversions.accept(client, made.id, key=made.id) == accepted
    return accepted


def _leg(quote: conversions_pb2.Quote, name: str) -> str:
    return str(ids.derived(uuid.UUID(quote.id), name))


async def _grouped(client: wallets.Client) -> dict[str, str]:
    """Post a linked run, and transfers and holds with their fees."""
    run = [wallets.transfer("user/ana", "user/ben", amount, linked=amount < 30) for amount in (10, 20, 30)]
    await client.post(*run)
    await transfers.set_fee(client, fixed_amount=5)
    sent = await transfers.send(client, "ana", "ben", 100)
    await transfers.reverse(client, sent.id)
    hold = await holds.create(client, amount=1_000)
    for amount in (300, None):
        await holds.post(client, hold, amount)
    voided = await holds.create(client, amount=500)
    await holds.post(client, voided, 100)
    await holds.void(client, voided)
    return dict(zip(("first", "second", "third"), (each.id for each in run), strict=True))


async def _named_after_holds(database: databases.Database) -> dict[str, str]:
    """Post two groups that begin with the same hold, and so have one name: no call does, and the ledger lets both."""
    made = entries.NewHold(
        str(uuid.uuid4()), "user/ana", "user/ben", 80, "HTG", "TRANSFER", datetime.timedelta(hours=1), linked=True
    )
    look = entries.Release(made.id, made.debit_key, made.credit_key, expiry=True, linked=True)
    part = ledgers.transfer("user/ana", "user/ben", 30, hold_id=made.id)
    later = ledgers.transfer("user/ana", "user/ben", 40)
    book = Ledger(wallets.settings(database))
    async with book.running():
        await ledgers.posted(book, [made, part])
        await ledgers.posted(book, [look, later])
    return {"hold": made.id, "part": part.id, "later": later.id}


def test_groups_and_conversions_as_they_were_posted_hold(case: Case) -> None:
    groups = case.connection.execute("SELECT count(DISTINCT group_id), count(group_id) FROM transfers").fetchone()
    report = case.report()
    assert (report.breaks, report.transfer_count, groups) == ([], 30, (10, 24))


def test_a_conversion_may_be_taken_back_as_a_conversion(case: Case) -> None:
    case.do("UPDATE transfers SET type = 'CONVERSION' WHERE id = '{back}'")
    assert case.breaks(CONVERSION) == []


@pytest.mark.parametrize(("statement", "found"), CONVERSIONS.values(), ids=CONVERSIONS)
def test_a_conversion_that_is_not_what_its_quote_promised_is_named(
    case: Case, statement: str, found: Sequence[tuple[str, str, int, int]]
) -> None:
    case.do(statement)
    breaks = case.breaks(CONVERSION)
    assert sorted(found) == sorted(
        (each.detail, case.name(each), each.expected_amount, each.actual_amount) for each in breaks
    )


@pytest.mark.parametrize(("statement", "found"), GROUPS.values(), ids=GROUPS)
def test_a_group_that_is_not_in_one_piece_is_named(
    case: Case, statement: str, found: Sequence[tuple[str, str]]
) -> None:
    case.do(statement)
    assert [(each.detail, case.name(each)) for each in case.breaks(GROUP)] == list(found)


@pytest.mark.parametrize(
    ("statement", "check", "count"),
    [
        ("UPDATE transfers SET group_id = gen_random_uuid() WHERE group_id IS NOT NULL", GROUP, 24),
        ("UPDATE fx_quotes SET fee_amount = fee_amount + 1", CONVERSION, 4),
    ],
)
def test_breaks_say_who_paid_and_come_in_the_order_of_the_ledger(
    case: Case, statement: str, check: str, count: int
) -> None:
    case.do(statement)
    order = [id_ for (id_,) in case.connection.execute("SELECT id FROM transfers ORDER BY xid, place")]
    breaks = case.breaks(check)
    places = [order.index(each.transfer_id) for each in breaks]
    assert (len(places), places) == (count, sorted(places))
    assert all(each.address and each.currency for each in breaks)
