"""The ledger against its model: whatever is asked, in whatever order, both answer and end up the same."""

import contextlib
import dataclasses
import datetime
import itertools
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import hypothesis
import psycopg
import pytest
from hypothesis import stateful
from hypothesis import strategies as st

from tests import databases, ledger_model, ledger_oracle, seal_oracle, wallets
from tests.sizes import size
from wallets_service import errors
from wallets_service.ledger import batches, entries
from wallets_service.proof import seals
from wallets_service.settings import Isolation

_numbers = itertools.count(1)
_KINDS: Final = ("provider/p", "user/a", "user/b", "user/c", "fees")
_LIFETIMES: Final = (datetime.timedelta(0), datetime.timedelta(hours=1))

accounts = st.integers(0, len(_KINDS) - 1)
amounts = st.integers(1, 40)
places = st.integers(0, 1_000)
operations = st.one_of(
    st.tuples(st.just("transfer"), accounts, accounts, amounts, st.booleans()),
    st.tuples(st.just("again"), places, st.sampled_from((0, 0, 0, 1)), st.booleans()),
    st.tuples(st.just("reverse"), places, amounts, st.booleans()),
    st.tuples(st.just("hold"), accounts, accounts, amounts, st.sampled_from(_LIFETIMES)),
    st.tuples(st.just("take"), places, amounts, st.booleans(), st.booleans()),
    st.tuples(st.just("take elsewhere"), places, accounts, accounts, amounts),
    st.tuples(st.just("release"), places, st.booleans()),
)


class Ledger(stateful.RuleBasedStateMachine):
    """Asks the service's writer and the model the same, and compares answers and every balance."""

    connection: ClassVar[psycopg.Connection]
    writer: ClassVar[batches.Writer]

    def __init__(self) -> None:
        super().__init__()
        self.model = ledger_model.Model()
        number = next(_numbers)
        self.addresses = [f"{kind}{number}" for kind in _KINDS]
        self.asked: list[entries.Transfer] = []
        self.held: list[entries.NewHold] = []
        self._do([("transfer", 0, 1, 60, False), ("transfer", 0, 2, 30, False)])

    @stateful.rule(drawn=st.lists(operations, min_size=1, max_size=6))
    def post(self, drawn: list[tuple[Any, ...]]) -> None:
        self._do(drawn)

    @stateful.rule(account=accounts, status=st.sampled_from(("ACTIVE", "FROZEN", "DEBIT_FROZEN", "CREDIT_FROZEN")))
    def freeze(self, account: int, status: str) -> None:
        self._set(account, "status", status)
        self.model.wallet(self.addresses[account]).status = status

    @stateful.rule(account=accounts, once=st.none() | amounts, daily=st.none() | st.integers(1, 120))
    def limit(self, account: int, once: int | None, daily: int | None) -> None:
        self._set(account, "transfer_limit", once)
        self._set(account, "day_limit", daily)
        self.model.wallet(self.addresses[account]).limits = once, daily

    @stateful.invariant()
    def accounts_are_the_same(self) -> None:
        rows = self.connection.execute(
            "SELECT address, balance, held_amount, version, day_spent FROM accounts WHERE address = ANY (%s)",
            (self.addresses,),
        ).fetchall()
        holds = self.connection.execute(
            "SELECT id::text, status, amount - posted_amount FROM holds WHERE id = ANY (%s::uuid[])",
            ([each.id for each in self.held],),
        ).fetchall()
        for address, balance, held, version, spent in rows:
            wallet = self.model.wallet(address)
            assert (balance, held, version, spent) == (wallet.balance, wallet.held, wallet.transfers, wallet.spent)
        assert sum(row[1] for row in rows) == 0
        assert {id_: status for id_, status, _ in holds} == {id_: hold.status for id_, hold in self.model.holds.items()}
        assert all(left == self.model.holds[id_].left for id_, status, left in holds if status == "PENDING")

    def _do(self, drawn: list[tuple[Any, ...]]) -> None:
        batch = [each for one in drawn if (each := self._operation(*one)) is not None]
        for place, each in enumerate(batch):  # Only transfers are linked, and only with each other.
            following = batch[place + 1 : place + 2]
            if each.linked and not (following and isinstance(following[0], entries.Transfer)):
                batch[place] = dataclasses.replace(each, linked=False)
        if batch:
            outcomes = self.writer.post(batch)
            assert [_reason(each) for each in outcomes] == self.model.post(batch)
            for each in outcomes:
                if isinstance(each, entries.Posting):
                    asked, _, *left = self.model.moved[each.transfer.id]
                    assert _move(each) == (asked, *left)

    def _operation(self, kind: str, *drawn: Any) -> entries.Operation | None:
        made: entries.Operation | None = getattr(self, "_" + kind.replace(" ", "_"))(*drawn)
        if isinstance(made, entries.Transfer):
            self.asked.append(made)
        elif isinstance(made, entries.NewHold):
            self.held.append(made)
        return made

    def _transfer(self, debit: int, credit: int, amount: int, linked: bool) -> entries.Transfer:
        return entries.Transfer(
            _new_id(), self.addresses[debit], self.addresses[credit], amount, "HTG", "TRANSFER", linked=linked
        )

    def _again(self, place: int, more: int, linked: bool) -> entries.Transfer:
        earlier = self.asked[place % len(self.asked)]
        return dataclasses.replace(earlier, amount=earlier.amount + more, linked=linked)

    def _reverse(self, place: int, amount: int, linked: bool) -> entries.Transfer:
        original = self.asked[place % len(self.asked)]
        return entries.Transfer(
            _new_id(),
            original.credit_account,
            original.debit_account,
            min(amount, original.amount),
            "HTG",
            "REFUND",
            reverses_id=original.id,
            linked=linked,
        )

    def _hold(self, debit: int, credit: int, amount: int, lifetime: datetime.timedelta) -> entries.NewHold:
        return entries.NewHold(
            _new_id(), self.addresses[debit], self.addresses[credit], amount, "HTG", "TRANSFER", lifetime
        )

    def _take(self, place: int, amount: int, releases: bool, linked: bool) -> entries.Transfer | None:
        if not self.held:
            return None
        hold = self.held[place % len(self.held)]
        return entries.Transfer(
            _new_id(),
            hold.debit_account,
            hold.credit_account,
            amount,
            "HTG",
            "TRANSFER",
            hold_id=hold.id,
            releases_hold=releases,
            linked=linked,
        )

    def _take_elsewhere(self, place: int, debit: int, credit: int, amount: int) -> entries.Transfer:
        hold_id = self.held[place % len(self.held)].id if self.held else _new_id()
        return dataclasses.replace(self._transfer(debit, credit, amount, False), hold_id=hold_id)

    def _release(self, place: int, expiry: bool) -> entries.Release:
        hold = self.held[place % len(self.held)] if self.held else self._hold(1, 2, 1, _LIFETIMES[1])
        return entries.Release(hold.id, hold.debit_key, hold.credit_key, expiry=expiry)

    def _set(self, account: int, column: str, value: object) -> None:
        """Change a rule of an account as the service does, and open the account first if need be."""
        address = self.addresses[account]
        floor = self.model.wallet(address).floor
        self.connection.execute(
            "INSERT INTO accounts (id, address, currency, overdraft_limit) VALUES (%s, %s, 'HTG', %s)"
            " ON CONFLICT DO NOTHING",
            (entries.account_id(address, "HTG"), address, floor),
        )
        self.connection.execute(f"UPDATE accounts SET {column} = %s WHERE address = %s", (value, address))


def _new_id() -> str:
    return str(uuid.uuid4())


def _reason(outcome: object) -> str:
    return outcome.reason if isinstance(outcome, errors.Refusal) else ledger_model.POSTED


def _move(posting: entries.Posting) -> tuple[object, ...]:
    """Return what an answer says of a transfer that the model knows too, but for the group."""
    return (
        posting.transfer,
        posting.debit_balance_after,
        posting.debit_version,
        posting.credit_balance_after,
        posting.credit_version,
    )


@pytest.fixture
def machine(wallets_database: databases.Database) -> Iterator[type[Ledger]]:
    url = wallets_database.application_url
    with psycopg.connect(url, autocommit=True) as connection:
        Ledger.connection = connection
        Ledger.writer = batches.Writer(url, Isolation.READ_COMMITTED)
        yield Ledger
        Ledger.writer.close()
    _seal_and_check(wallets_database)


def _seal_and_check(database: databases.Database) -> None:
    """Let the oracle see all histories at once: what they left adds up, and is as it was sealed."""
    books = ledger_oracle.check(database.superuser_url)
    with contextlib.closing(seals.Sealer(database.application_url, wallets.settings(database).signing_key)) as sealer:
        for _ in range(0, len(books.transfers), 10_000):  # Far fewer than a round seals.
            sealer.seal()
    with psycopg.connect(database.superuser_url) as connection:
        assert seal_oracle.examine(connection, key=wallets.SEAL_PUBLIC_KEY) == len(books.transfers) > 0


@pytest.mark.chaos
def test_the_ledger_answers_as_its_model_does(machine: type[Ledger]) -> None:
    settings = hypothesis.settings(
        max_examples=size(100, 2_000),
        stateful_step_count=size(15, 50),
        deadline=None,
        phases=[hypothesis.Phase.generate],  # Shrinking takes minutes; a short history is told apart by eye.
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    stateful.run_state_machine_as_test(machine, settings=settings)
