"""The oracle sees: whatever is done to the rows of an honest ledger, one of its own computations fails."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from deploy.local import postgres as embedded
from kobklein.wallets.v1 import conversions_pb2, ledger_pb2, transfers_pb2
from tests import databases, ledger_oracle, ledgers, seal_oracle, wallets

ROUNDS = 4
COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = 'transfers'"
FIRST = "(SELECT id FROM transfers ORDER BY xid, place LIMIT 1)"
ADDED = '{"id": "00000000-0000-4000-8000-000000000000", "place": 0, "debit_version": 90000, "credit_version": 90000}'
TAMPERINGS = {
    "an amount": (f"UPDATE transfers SET amount = amount + 1 WHERE id = {FIRST}", "transfer 1 is not"),
    "a digit": ("""UPDATE transfers SET metadata = '{"n": 1.0}' WHERE metadata @> '{"n": 1}'""", "is not as it was"),
    "a time": ("UPDATE transfers SET created_time = created_time + interval '1 microsecond'", "transfer 1 is not"),
    "a group": ("UPDATE transfers SET group_id = NULL WHERE group_id IS NOT NULL", "is not as it was sealed"),
    "one deleted": (f"DELETE FROM transfers WHERE id = {FIRST}", "transfer 1 is not as it was sealed"),
    "one added": (
        f"INSERT INTO transfers SELECT (jsonb_populate_record(t, '{ADDED}')).* FROM transfers t WHERE id = {FIRST}",
        "transfer 1 is not as it was sealed",
    ),
    "the first seal out": ("DELETE FROM seals WHERE number = 1", "seal 1 is gone"),
    "a seal out": ("DELETE FROM seals WHERE number = 2", "seal 2 is gone"),
    "an empty seal": (
        "UPDATE seals SET transfer_count = 0, digests = '', sequence = 0 WHERE number = 1",
        "seal 1 has no digest for each",
    ),
    "its end": ("UPDATE seals SET last_place = last_place + 1 WHERE number = 2", "seal 2 ends elsewhere"),
    "its hash": ("UPDATE seals SET hash = sha256(hash) WHERE number = 2", "seal 2 does not follow"),
    "its time": ("UPDATE seals SET sealed_time = sealed_time - interval '1 s' WHERE number = 2", "does not follow"),
    "its signature": ("UPDATE seals SET signature = sha512(signature) WHERE number = 2", "is not signed"),
    "its key": ("UPDATE seals SET public_key = sha256(public_key) WHERE number = 2", "seal 2 names another key"),
}
MISTAKES = {
    "money from nowhere": "UPDATE accounts SET balance = balance + 1 WHERE address = 'user/1'",
    "money of another": "UPDATE accounts SET balance = balance + CASE address WHEN 'user/1' THEN 1 ELSE -1 END"
    " WHERE address IN ('user/1', 'user/2')",
    "below the floor": "UPDATE accounts SET overdraft_limit = 0 WHERE address = 'provider/stripe'",
    "held for nothing": "UPDATE accounts SET held_amount = held_amount + 1 WHERE address = 'user/1'",
    "a count": "UPDATE accounts SET version = version + 1 WHERE address = 'user/1'",
    "a balance of then": "UPDATE transfers SET debit_balance_after = debit_balance_after - 1 WHERE hold_id IS NOT NULL",
    "a gap": "UPDATE transfers SET credit_version = credit_version + 1000 WHERE reverses_id IS NOT NULL",
    "back in time": "UPDATE transfers SET created_time = created_time - interval '1 day' WHERE reverses_id IS NOT NULL",
    "too much taken back": "UPDATE transfers SET amount = 600 WHERE reverses_id IS NOT NULL",
    "more posted than moved": "UPDATE holds SET posted_amount = posted_amount + 1",
    "void and still held": "UPDATE holds SET status = 'VOIDED'",
    "a torn group": "UPDATE transfers SET group_id = gen_random_uuid() WHERE group_id IS NOT NULL",
    "another price": "UPDATE fx_quotes SET buy_amount = buy_amount + 1",
    "another spread": "UPDATE fx_quotes SET spread_amount = spread_amount - 1, buy_amount = buy_amount + 1",
    "another fee": "UPDATE fx_quotes SET fee_amount = fee_amount + 1",
    "a conversion of no quote": "DELETE FROM fx_quotes",
    "a conversion by hand": "UPDATE transfers SET type = 'TRANSFER' WHERE description = 'squared'",
    "half a conversion": "UPDATE transfers SET type = 'ADJUSTMENT' WHERE type = 'CONVERSION' AND currency = 'USD'",
}
NEWEST = "SELECT number FROM seals ORDER BY number DESC LIMIT 1"


@dataclasses.dataclass(frozen=True)
class Case:
    """An honest ledger in an open transaction in which anything may be done to it, and a head that was kept."""

    connection: psycopg.Connection[Any]
    head: seal_oracle.Head

    def do(self, statement: str) -> None:
        assert self.connection.execute(statement.encode()).rowcount, f"{statement} does nothing"

    def seals(self) -> int:
        return seal_oracle.examine(self.connection, key=wallets.SEAL_PUBLIC_KEY, heads=[self.head])


@pytest.fixture(scope="module")
async def written(postgres: embedded.Server, wallets_template: str) -> Any:
    """A ledger with every kind of transfer, a conversion included, and the head that its service gave away."""
    for database in databases.copy(postgres, "wallets_service", of=wallets_template):
        await ledgers.written(database, rounds=ROUNDS)
        async with wallets.running(database) as client:
            await client.fund("ana", 10_000, "USD")
            await _convert(client)
            squared = wallets.transfer("provider/bank", "fx/liquidity", 7, type_="ADJUSTMENT", description="squared")
            await client.post(squared)
            report = await client.verify()
            head = await client.sealed(report.transfer_count)
        yield database, head


async def _convert(client: wallets.Client) -> None:
    rate = conversions_pb2.Rate(sell_currency="USD", buy_currency="HTG", rate="131.25", spread_parts_per_million=15_000)
    admin = wallets.metadata("root", "admin")
    await client.conversions.SetRate(conversions_pb2.SetRateRequest(rate=rate, reason="launch"), metadata=admin)
    fee = transfers_pb2.Fee(currency="USD", type=ledger_pb2.TRANSFER_TYPE_CONVERSION, fixed_amount=25)
    await client.transfers.SetFee(transfers_pb2.SetFeeRequest(fee=fee, reason="launch"), metadata=admin)
    asked = conversions_pb2.CreateQuoteRequest(
        sell=conversions_pb2.Money(amount=5_000, currency="USD"), buy=conversions_pb2.Money(currency="HTG")
    )
    quote = await client.conversions.CreateQuote(asked, metadata=wallets.metadata("ana", "user", key="quote"))
    acceptance = conversions_pb2.AcceptQuoteRequest(id=quote.id)
    await client.conversions.AcceptQuote(acceptance, metadata=wallets.metadata("ana", "user", key="acceptance"))


@pytest.fixture
def case(written: tuple[databases.Database, ledger_pb2.LedgerHead]) -> Iterator[Case]:
    database, head = written
    with psycopg.connect(database.superuser_url, client_encoding="utf8") as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for constraint in ("accounts_floor", "accounts_held_amount"):
            connection.execute(f"ALTER TABLE accounts DROP CONSTRAINT {constraint}".encode())
        connection.execute("ALTER TABLE seals DROP CONSTRAINT seals_digests")
        yield Case(connection, seal_oracle.Head.of(head))
        connection.rollback()


def test_an_honest_ledger_holds_and_is_sealed_to_its_end(case: Case) -> None:
    books = ledger_oracle.examine(case.connection, heads=[case.head])
    assert case.seals() == case.head.sequence == len(books.transfers)
    assert [(quote["fee_amount"], quote["spread_amount"] > 0) for quote in books.quotes.values()] == [(25, True)]
    assert {name for (name,) in case.connection.execute(COLUMNS)} == set(seal_oracle.COLUMNS)


@pytest.mark.parametrize(("statement", "sees"), TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_ledger_that_was_tampered_with_is_not_as_it_was_sealed(case: Case, statement: str, sees: str) -> None:
    case.do(statement)
    with pytest.raises(AssertionError, match=sees):
        case.seals()


def test_two_transfers_that_changed_places_are_seen(case: Case) -> None:
    first, second = case.connection.execute("SELECT xid, place, id FROM transfers ORDER BY xid, place LIMIT 2")
    move = "UPDATE transfers SET xid = '{}', place = {} WHERE id = '{}'"
    case.do(move.format(1, 1, first[2]))
    case.do(move.format(*first[:2], second[2]))
    case.do(move.format(*second[:2], first[2]))
    with pytest.raises(AssertionError, match="transfer 1 is not as it was sealed"):
        case.seals()


def test_a_cut_tail_is_seen_only_by_a_head_that_was_kept_outside(case: Case) -> None:
    case.do(f"DELETE FROM seals WHERE number = ({NEWEST})")
    case.do(
        "DELETE FROM transfers t USING (SELECT last_xid, last_place FROM seals ORDER BY number DESC LIMIT 1) s"
        " WHERE (t.xid, t.place) > (s.last_xid, s.last_place)"
    )
    kept = seal_oracle.examine(case.connection, key=wallets.SEAL_PUBLIC_KEY)
    assert 0 < kept < case.head.sequence
    with pytest.raises(AssertionError, match=f"does not lead to the head at {case.head.sequence}"):
        case.seals()


@pytest.mark.parametrize("change", [{"hash": bytes(32)}, {"sequence": 1}, {"signature": bytes(64)}], ids=str)
def test_a_head_that_was_not_signed_proves_nothing(case: Case, change: dict[str, Any]) -> None:
    forged = dataclasses.replace(case.head, **change)
    with pytest.raises(AssertionError, match="is not signed by the key"):
        seal_oracle.examine(case.connection, key=wallets.SEAL_PUBLIC_KEY, heads=[forged])


@pytest.mark.parametrize("statement", MISTAKES.values(), ids=MISTAKES)
def test_books_that_do_not_add_up_are_seen_without_any_seal(case: Case, statement: str) -> None:
    case.do("DELETE FROM seals")
    ledger_oracle.examine(case.connection)
    case.do(statement)
    with pytest.raises(AssertionError):
        ledger_oracle.examine(case.connection)


def test_a_call_without_its_effect_and_an_effect_without_its_call_are_seen(case: Case) -> None:
    (id_,) = case.connection.execute("SELECT id::text FROM transfers LIMIT 1").fetchone() or ("",)
    ledger_oracle.examine(case.connection, {id_: ledger_oracle.POSTED})
    for outcomes in ({id_: ledger_oracle.REFUSED}, {wallets.transfer("a", "b", 1).id: ledger_oracle.POSTED}):
        with pytest.raises(AssertionError):
            ledger_oracle.examine(case.connection, outcomes)
