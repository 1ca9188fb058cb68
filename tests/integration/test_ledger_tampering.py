"""Whatever is done to the rows by somebody whom no rule stops, the verification finds it, and where it begins."""

import dataclasses
import datetime
import random
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg
import pytest

from deploy.local import postgres as embedded
from tests import databases, ledgers, sizes
from wallets_service.ledger import batches
from wallets_service.proof import chain, snapshots, verification
from wallets_service.repository import seals as repository

pytestmark = pytest.mark.chaos
Connection = psycopg.Connection[tuple[Any, ...]]
_ROUNDS: Final = 12
_ATTACKER: Final = chain.Key(b"\x66" * 32)
_ORDERED: Final = "SELECT id, md5(t::text) FROM transfers t ORDER BY xid, place"
_CONSTRAINTS: Final = (
    "accounts_held_amount",
    "holds_amount",
    "holds_pending",
    "holds_posted_amount",
    "seals_digests",
    "transfers_amount",
    "transfers_two_accounts",
)
"""Of tables, whose names they begin with; whoever tampers has dropped them."""
_CHANGES: Final = {
    "id": "gen_random_uuid()",
    "debit_account_id": "gen_random_uuid()",
    "credit_account_id": "gen_random_uuid()",
    "amount": "amount + 1",
    "currency": "'USD'",
    "type": "'FEE'",
    "payment_id": "gen_random_uuid()",
    "reference": "reference || 'x'",
    "description": "'another'",
    "metadata": """'{"n": 1.0}'""",
    "debit_balance_after": "debit_balance_after - 1",
    "credit_balance_after": "credit_balance_after + 1",
    "debit_version": "debit_version + 1000",
    "credit_version": "credit_version + 1000",
    "created_time": "created_time + interval '1 microsecond'",
    "hold_id": "gen_random_uuid()",
    "reverses_id": "gen_random_uuid()",
    "group_id": "gen_random_uuid()",
    "effective_time": "created_time - interval '1 day 1 microsecond'",
    "xid": "'1'",
    "place": "place + 100000",
}
_SEAL_CHANGES: Final = {
    "number": "number + 1000",
    "format": "format + 1",
    "sequence": "sequence + 100000",
    "transfer_count": "transfer_count + 1",
    "last_xid": "'99999999999'",
    "last_place": "last_place - 1",
    "digests": "set_byte(digests, octet_length(digests) / 2, get_byte(digests, octet_length(digests) / 2) # 1)",
    "hash": "sha256(hash)",
    "signature": "sha512(signature)",
    "public_key": "sha256(public_key)",
    "sealed_time": "sealed_time + interval '1 microsecond'",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """An honest ledger, and an open transaction in which anything may be done to it; it never ends well."""

    connection: Connection
    rng: random.Random
    ids: list[uuid.UUID]
    seals: list[chain.Seal]
    key: chain.Key

    @property
    def head(self) -> chain.Head:
        return self.seals[-1].head

    def do(self, statement: str, *parameters: object) -> None:
        done = self.connection.execute(statement.encode(), parameters)
        assert done.rowcount, f"{statement} does nothing"

    def report(self, head: chain.Head | None = None) -> verification.Report:
        return verification.examine(
            snapshots.Snapshot(self.connection, snapshots.Clock()),
            head=head,
            trusted={self.key.public},
            progress=lambda _step, _done, _of: None,
        )

    def first(self, seal: chain.Seal) -> int:
        return seal.head.sequence - seal.transfer_count + 1

    def rows(self, seal: chain.Seal) -> list[chain.Row]:
        after = self.seals[seal.number - 2].last if seal.number > 1 else None
        return list(repository.sealed_rows(self.connection, after=after, until=seal.last))


@pytest.fixture(scope="module")
async def written(postgres: embedded.Server, wallets_template: str) -> Any:
    for database in databases.copy(postgres, "wallets_service", of=wallets_template):
        yield await ledgers.written(database, rounds=_ROUNDS)


@pytest.fixture
def case(written: ledgers.Written, request: pytest.FixtureRequest) -> Iterator[Case]:
    with psycopg.connect(written.database.superuser_url, client_encoding="utf8") as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for constraint in _CONSTRAINTS:
            connection.execute(f"ALTER TABLE {constraint.partition('_')[0]} DROP CONSTRAINT {constraint}")
        ids = [id_ for id_, _ in connection.execute(_ORDERED)]
        seals = list(repository.page(connection, after=0, limit=1000))
        seed = getattr(request, "param", 0)
        yield Case(connection, random.Random(seed), ids, seals, written.key)
        connection.rollback()


def update_a_transfer(case: Case) -> None:
    column = case.rng.choice(list(_CHANGES))
    case.do(f"UPDATE transfers SET {column} = {_CHANGES[column]} WHERE id = %s", case.rng.choice(case.ids))


def delete_a_transfer(case: Case) -> None:
    case.do("DELETE FROM transfers WHERE id = %s", case.rng.choice(case.ids))


def insert_a_transfer(case: Case) -> None:
    """Add one at the end of an earlier transaction, as if it had been there from the start."""
    columns = [column for column in chain.COLUMNS if column not in ("id", "place", "debit_version", "credit_version")]
    names = ", ".join(columns)
    case.do(
        f"INSERT INTO transfers (id, place, debit_version, credit_version, {names})"
        f" SELECT gen_random_uuid(), place + 50000, debit_version + 100000, credit_version + 100000, {names}"
        " FROM transfers WHERE id = %s",
        case.rng.choice(case.ids[: -case.seals[-1].transfer_count]),
    )


def swap_two_transfers(case: Case) -> None:
    one, other = case.rng.sample(case.ids, 2)
    find = "SELECT xid::text, place FROM transfers WHERE id = %s"
    places = [case.connection.execute(find, (id_,)).fetchone() for id_ in (one, other)]
    move = "UPDATE transfers SET xid = %s::text::xid8, place = %s WHERE id = %s"
    case.do(move, "1", -1, one)
    case.do(move, *(places[0] or ()), other)
    case.do(move, *(places[1] or ()), one)


@pytest.mark.parametrize("tamper", [update_a_transfer, delete_a_transfer, insert_a_transfer, swap_two_transfers])
@pytest.mark.parametrize("case", range(sizes.size(16, 160)), indirect=True)
def test_the_first_transfer_that_is_not_as_it_was_is_named(case: Case, tamper: Any) -> None:
    before = case.connection.execute(_ORDERED).fetchall()
    tamper(case)
    after = case.connection.execute(_ORDERED).fetchall()
    index = next(index for index, (row, was) in enumerate(zip([*after, None], before, strict=False)) if row != was)
    gone = index == len(after) or after[index] == (before[index + 1] if index + 1 < len(before) else None)
    found = next(each for each in case.report().breaks if each.check == "CHAIN_BROKEN")
    assert (found.sequence, found.transfer_id) == (index + 1, None if gone else after[index][0]), found.detail


@pytest.mark.parametrize("column", _SEAL_CHANGES)
@pytest.mark.parametrize("case", range(sizes.size(1, 20)), indirect=True)
def test_an_altered_seal_is_named(case: Case, column: str) -> None:
    seal = case.rng.choice(case.seals)
    case.do(f"UPDATE seals SET {column} = {_SEAL_CHANGES[column]} WHERE number = %s", seal.number)
    found = next(each for each in case.report(case.head).breaks if each.check in ("CHAIN_BROKEN", "HEAD_NOT_FOUND"))
    assert case.first(seal) <= found.sequence <= seal.head.sequence


@pytest.mark.parametrize("case", range(sizes.size(4, 40)), indirect=True)
def test_a_seal_that_is_taken_out_is_named(case: Case) -> None:
    seal = case.rng.choice(case.seals[:-1])
    case.do("DELETE FROM seals WHERE number = %s", seal.number)
    found = case.report().breaks[0]
    assert (found.check, found.sequence) == ("CHAIN_BROKEN", case.first(seal))


@pytest.mark.parametrize("case", range(sizes.size(5, 50)), indirect=True)
@pytest.mark.parametrize("claimed", [_ATTACKER.public, None], ids=["own key", "key of others"])
def test_a_ledger_that_is_written_anew_without_the_key_is_found_from_there(case: Case, claimed: bytes | None) -> None:
    """The attacker changes one transfer, and makes every digest, hash and signature from there on fit."""
    start = case.rng.choice(case.seals)
    victim = case.rng.choice(case.rows(start)).id
    case.do("UPDATE transfers SET description = 'rewritten' WHERE id = %s", victim)
    previous = case.seals[start.number - 2] if start.number > 1 else None
    for seal in case.seals[start.number - 1 :]:
        forged = chain.sealed(previous, case.rows(seal), _ATTACKER, sealed_microseconds=seal.head.sealed_microseconds)
        head = dataclasses.replace(forged.head, public_key=claimed or seal.head.public_key)
        previous = dataclasses.replace(forged, head=head)
        case.do("DELETE FROM seals WHERE number = %s", seal.number)
        repository.append(case.connection, previous)
    breaks = case.report(case.head).breaks
    assert [each.check for each in breaks if each.check != "CHAIN_BROKEN"] == ["HEAD_NOT_FOUND"]
    assert (breaks[0].check, breaks[0].sequence) == ("CHAIN_BROKEN", case.first(start))
    assert "key" in breaks[0].detail


@pytest.mark.parametrize("case", range(sizes.size(5, 50)), indirect=True)
def test_a_cut_tail_is_found_by_a_head_that_was_kept_elsewhere(case: Case) -> None:
    """The attacker takes the newest transfers and seals away, and makes every account and hold agree."""
    last = case.seals[-case.rng.randint(2, _ROUNDS)]
    tail = "(xid, place) > (%s::text::xid8, %s)"
    case.do("DELETE FROM seals WHERE number > %s", last.number)
    case.do(f"DELETE FROM transfers WHERE {tail}", str(last.last.xid), last.last.place)
    case.do("DELETE FROM holds h WHERE NOT EXISTS (SELECT FROM transfers t WHERE t.hold_id = h.id)")
    legs = (
        "SELECT debit_account_id AS id, debit_version AS version, debit_balance_after AS balance FROM transfers"
        " UNION ALL SELECT credit_account_id, credit_version, credit_balance_after FROM transfers"
    )
    case.do(
        "UPDATE accounts a SET (version, balance) = (SELECT version, balance FROM"
        f" ({legs}) leg WHERE leg.id = a.id ORDER BY version DESC LIMIT 1), held_amount = (SELECT"
        " coalesce(sum(amount - posted_amount), 0) FROM holds WHERE debit_account_id = a.id)"
    )
    assert case.report().breaks == []
    assert [(each.check, each.sequence) for each in case.report(case.head).breaks] == [
        ("HEAD_NOT_FOUND", case.head.sequence)
    ]


def test_a_transfer_that_should_be_sealed_and_is_not_is_named(case: Case) -> None:
    last = case.seals[-1]
    case.do("DELETE FROM seals WHERE number = %s", last.number)
    newest = case.rows(last)
    at_most = datetime.timedelta(seconds=batches.LONGEST_SECONDS + 10)  # The longest batch, then the longest pause.
    case.do("UPDATE transfers SET created_time = now() - %s WHERE id = ANY (%s)", at_most, [row.id for row in newest])
    assert case.report().breaks == []  # They might still be on their way.
    case.do("UPDATE transfers SET created_time = created_time - interval '2 minutes' WHERE id = %s", newest[0].id)
    found = case.report().breaks
    assert [(each.check, each.sequence, each.transfer_id) for each in found] == [
        ("CHAIN_BROKEN", case.first(last), newest[0].id)
    ]


def test_an_untouched_ledger_holds_and_leads_to_every_head(case: Case) -> None:
    for seal in case.seals:
        report = case.report(seal.head)
        assert report.breaks == []
    assert (report.transfer_count, report.sealed_count) == (len(case.ids), len(case.ids))
    assert report.hold_count == _ROUNDS - 1


@pytest.mark.parametrize("field", ["signature", "public_key", "hash"])
def test_a_head_that_is_not_signed_by_a_trusted_key_is_not_found(case: Case, field: str) -> None:
    forged = dataclasses.replace(case.head, **{field: bytes(len(getattr(case.head, field)))})
    assert [each.check for each in case.report(forged).breaks] == ["HEAD_NOT_FOUND"]
    signed = _ATTACKER.head(case.head.sequence, case.head.hash, case.head.sealed_microseconds)
    assert [each.check for each in case.report(signed).breaks] == ["HEAD_NOT_FOUND"]


_DEPOSIT: Final = "SELECT id FROM transfers ORDER BY xid, place LIMIT 1"
_TAKES_BACK: Final = """
    b.reverses_id IS NOT NULL AND b.xid = t.xid
    AND (b.debit_account_id, b.credit_account_id) = (t.credit_account_id, t.debit_account_id)
"""
"""What `b` must be to take back something between the accounts of `t`, the part of a hold in the same round."""
_HOLD_MISTAKES: Final = {
    "more posted": (
        ["UPDATE holds SET posted_amount = posted_amount + 1 WHERE id = '{hold}'"],
        ("HOLD_BROKEN", "what is posted is not the sum of its transfers"),
    ),
    "another currency": (
        ["UPDATE holds SET currency = 'USD' WHERE id = '{hold}'"],
        ("HOLD_BROKEN", "its account is missing or has another currency"),
    ),
    "another payer": (
        ["UPDATE holds SET debit_account_id = gen_random_uuid() WHERE id = '{hold}'"],
        ("HOLD_BROKEN", "its account is missing or has another currency"),
    ),
    "more posted than held": (
        ["UPDATE holds SET amount = posted_amount - 1 WHERE id = '{hold}'"],
        ("HOLD_BROKEN", "so much cannot be posted of a hold that is PENDING"),
    ),
    "less posted than nothing": (
        [
            "UPDATE holds SET posted_amount = -posted_amount WHERE id = '{hold}'",
            "UPDATE transfers SET amount = -amount WHERE hold_id = '{hold}'",
        ],
        ("HOLD_BROKEN", "so much cannot be posted of a hold that is PENDING"),
    ),
    "posted with nothing": (
        [
            "UPDATE holds SET status = 'POSTED', posted_amount = 0 WHERE id = '{hold}'",
            "DELETE FROM transfers WHERE hold_id = '{hold}'",
        ],
        ("HOLD_BROKEN", "so much cannot be posted of a hold that is POSTED"),
    ),
    "voided with all posted": (
        ["UPDATE holds SET status = 'VOIDED', amount = posted_amount WHERE id = '{hold}'"],
        ("HOLD_BROKEN", "so much cannot be posted of a hold that is VOIDED"),
    ),
    "gone": (["DELETE FROM holds WHERE id = '{hold}'"], ("HOLD_BROKEN", "its hold is missing")),
    "another payee": (
        ["UPDATE holds SET credit_account_id = gen_random_uuid() WHERE id = '{hold}'"],
        ("HOLD_BROKEN", "its hold is between other accounts"),
    ),
    "voided and still held": (
        ["UPDATE holds SET status = 'VOIDED' WHERE id = '{hold}'"],
        ("HELD_NOT_DERIVED", "what is held is not the sum of the open holds"),
    ),
    "more held": (
        ["UPDATE holds SET amount = amount + 1 WHERE id = '{hold}'"],
        ("HELD_NOT_DERIVED", "what is held is not the sum of the open holds"),
    ),
    "less held than nothing": (
        ["UPDATE accounts SET held_amount = -1 WHERE address = 'provider/stripe'"],
        ("BALANCE_BELOW_FLOOR", "less than nothing is held"),
    ),
    "takes back nothing": (
        ["UPDATE transfers SET reverses_id = hold_id WHERE hold_id = '{hold}'"],
        ("REVERSAL_BROKEN", "the transfer that it takes back is missing"),
    ),
    "takes back a reversal": (
        [f"UPDATE transfers t SET reverses_id = b.id FROM transfers b WHERE t.hold_id = '{{hold}}' AND {_TAKES_BACK}"],
        ("REVERSAL_BROKEN", "what it takes back is a reversal itself"),
    ),
    "takes back between others": (
        [f"UPDATE transfers t SET reverses_id = ({_DEPOSIT}) WHERE t.hold_id = '{{hold}}'"],
        ("REVERSAL_BROKEN", "it does not go the other way between the same accounts"),
    ),
}
"""What is done to a hold or its transfer, and the check that finds it with what it says."""


@pytest.mark.parametrize(("statements", "found"), _HOLD_MISTAKES.values(), ids=_HOLD_MISTAKES)
def test_a_hold_or_reversal_that_does_not_add_up_is_named(
    case: Case, statements: Sequence[str], found: tuple[str, str]
) -> None:
    hold_id, transfer_id = case.connection.execute(
        "SELECT hold_id, id FROM transfers WHERE hold_id IS NOT NULL LIMIT 1"
    ).fetchone() or (None, None)
    for statement in statements:
        case.do(statement.format(hold=hold_id))
    breaks = [each for each in case.report().breaks if each.check == found[0]]
    assert found[1] in {each.detail for each in breaks}
    assert {each.hold_id for each in breaks} <= {hold_id, None}
    assert {each.transfer_id for each in breaks} <= {transfer_id, None}


def test_more_taken_back_than_was_moved_is_named(case: Case) -> None:
    original, amount = case.connection.execute(
        "SELECT o.id, o.amount FROM transfers o JOIN transfers r ON r.reverses_id = o.id LIMIT 1"
    ).fetchone() or (None, 0)
    case.do("UPDATE transfers SET amount = %s WHERE reverses_id = %s", amount + 1, original)
    (found,) = [each for each in case.report().breaks if each.check == "REVERSAL_BROKEN"]
    assert (found.transfer_id, found.expected_amount, found.actual_amount) == (original, amount, amount + 1)
