"""The ledger against its model: whatever is asked, in whatever order, both answer and end up the same."""

import contextlib
import dataclasses
import datetime
import itertools
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

import hypothesis
import psycopg
import pytest
from hypothesis import stateful
from hypothesis import strategies as st

from tests import databases, ledger_model, ledger_oracle, seal_oracle, wallets
from tests.sizes import size
from wallets_service import errors
from wallets_service import fees as pricing
from wallets_service.ledger import batches, entries
from wallets_service.proof import seals
from wallets_service.settings import Isolation

_numbers = itertools.count(1)
_KINDS: Final = ("provider/p", "user/a", "user/b", "user/c", "fees")
_LIFETIMES: Final = (*[datetime.timedelta(hours=1)] * 3, datetime.timedelta(0))

accounts = st.integers(0, len(_KINDS) - 1)
payers = st.sampled_from((1, 2, 3, 1, 2, 3, 0))
payees = st.sampled_from((3, 2, 3, 1, 4))
amounts = st.integers(1, 40)
fees = st.sampled_from((1, 2, 3, 9))
places = st.integers(0, 1_000)
operations = st.one_of(
    st.tuples(st.just("transfer"), payers, accounts, amounts, st.booleans(), st.booleans()),
    st.tuples(st.just("legs"), st.lists(st.tuples(payers, accounts, amounts), min_size=2, max_size=4)),
    st.tuples(st.just("again"), places, st.sampled_from((0, 0, 0, 1)), st.booleans()),
    st.tuples(st.just("reverse"), places, amounts, st.booleans()),
    st.tuples(
        st.just("hold"), st.tuples(payers, payees), amounts, st.sampled_from(_LIFETIMES), st.booleans(), st.booleans()
    ),
    st.tuples(st.just("hold again"), places, st.sampled_from((0, 0, 0, 1)), st.booleans()),
    st.tuples(st.just("hold with fee"), payers, payees, amounts, fees, st.sampled_from(_LIFETIMES)),
    st.tuples(st.just("part with fee"), places, amounts, st.booleans()),
    st.tuples(st.just("group again"), places, st.booleans()),
    st.tuples(st.just("void with fee"), places),
    st.tuples(st.just("settle"), places, places),
    st.tuples(st.just("take"), places, amounts, st.booleans(), st.booleans()),
    st.tuples(st.just("take elsewhere"), places, accounts, accounts, amounts),
    st.tuples(st.just("release"), places, st.booleans(), st.booleans()),
)
settings = st.one_of(
    st.tuples(st.just("status"), accounts, st.sampled_from(("ACTIVE", "FROZEN", "DEBIT_FROZEN", "CREDIT_FROZEN"))),
    st.tuples(st.just("limits"), payers, amounts, *[st.none() | st.integers(1, most) for most in (40, 120, 60)]),
    st.tuples(st.just("overdraft"), payers, st.none() | st.integers(0, 60)),
    st.tuples(st.just("other_currency"), accounts),
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
        self.tied: list[entries.NewHold] = []
        """Those of the holds that have a fee."""
        self.groups: list[list[entries.Operation]] = []
        """What was taken of those with what follows for the fee, and other groups."""
        self._do([("transfer", 0, 1, 120, False), ("transfer", 0, 2, 60, False)])
        self._do([("hold with fee", 1, 2, 40, 9, _LIFETIMES[0])])

    @stateful.rule(drawn=st.lists(operations, min_size=1, max_size=6))
    def post(self, drawn: list[tuple[Any, ...]]) -> None:
        self._do(drawn)

    @stateful.rule(drawn=settings)
    def change(self, drawn: tuple[Any, ...]) -> None:
        """Change what holds of an account; it is one rule, so that every other step posts."""
        kind, *rest = drawn
        getattr(self, "_change_" + kind)(*rest)

    def _change_status(self, account: int, status: str) -> None:
        self._set(account, "status", status)
        self.model.wallet(self.addresses[account]).status = status

    def _change_limits(self, account: int, before: int, *limits: int | None) -> None:
        """Set limits, and let the account have spent something in this month and before today."""
        wallet = self.model.wallet(self.addresses[account])
        wallet.limits, wallet.spent_before = limits, before
        for column, value in zip(("transfer_limit", "day_limit", "month_limit"), limits, strict=True):
            self._set(account, column, value)
        self._set(
            account, "spent_date", self.connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchall()[0][0]
        )
        self._set(account, "month_spent", before + wallet.spent)

    def _change_overdraft(self, account: int, limit: int | None) -> None:
        """Set it as an admin does: unlimited for no user, and no less than is in use."""
        address = self.addresses[account]
        wallet = self.model.wallet(address)
        if limit is not None or address.startswith("user/"):
            limit = max(limit or 0, wallet.held - wallet.balance)
        self._set(account, "overdraft_limit", limit)
        wallet.floor = limit

    def _change_other_currency(self, account: int) -> None:
        """Open an account in another currency: its user is not new any more."""
        self._open(account, "USD")

    @stateful.invariant()
    def accounts_are_the_same(self) -> None:
        rows = self.connection.execute(
            "SELECT address, balance, held_amount, version, day_spent, month_spent FROM accounts"
            " WHERE currency = 'HTG' AND address = ANY (%s)",
            (self.addresses,),
        ).fetchall()
        holds = self.connection.execute(
            "SELECT id::text, status, amount - posted_amount FROM holds WHERE id = ANY (%s::uuid[])",
            ([each.id for each in self.held],),
        ).fetchall()
        for address, *values in rows:
            one = self.model.wallet(address)
            assert values == [one.balance, one.held, one.transfers, one.spent, one.spent_before + one.spent]
        assert sum(row[1] for row in rows) == 0
        assert {id_: status for id_, status, _ in holds} == {id_: hold.status for id_, hold in self.model.holds.items()}
        assert all(left == self.model.holds[id_].left for id_, status, left in holds if status == "PENDING")

    def _do(self, drawn: list[tuple[Any, ...]]) -> None:
        batch = _linked([each for one in drawn for each in self._operations(*one)])
        if batch:
            outcomes = self.writer.post(batch)
            assert [_reason(each) for each in outcomes] == self.model.post(batch)
            for each in outcomes:
                if isinstance(each, entries.Posting):
                    asked, _, *left = self.model.moved[each.transfer.id]
                    assert _move(each) == (asked, *left)

    def _operations(self, kind: str, *drawn: Any) -> Sequence[entries.Operation]:
        made = getattr(self, "_" + kind.replace(" ", "_"))(*drawn)
        operations: Sequence[entries.Operation] = made if isinstance(made, list) else [made] if made else []
        self.asked += [each for each in operations if isinstance(each, entries.Transfer)]
        self.held += [each for each in operations if isinstance(each, entries.NewHold)]
        return operations

    def _transfer(self, debit: int, credit: int, amount: int, linked: bool, new: bool = True) -> entries.Transfer:
        sides = self.addresses[debit], self.addresses[credit]
        return entries.Transfer(_new_id(), *sides, amount, "HTG", "TRANSFER", linked=linked, payee_may_be_new=new)

    def _legs(self, drawn: Sequence[tuple[int, int, int]]) -> list[entries.Operation]:
        *legs, last = [self._transfer(*each, True) for each in drawn]
        self.groups.append([*legs, dataclasses.replace(last, linked=False)])
        return self.groups[-1]

    def _again(self, place: int, more: int, linked: bool) -> entries.Transfer:
        earlier = self.asked[place % len(self.asked)]
        releases = earlier.releases_hold != (place % 3 == 0)
        return dataclasses.replace(earlier, amount=earlier.amount + more, linked=linked, releases_hold=releases)

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

    def _hold(
        self, sides: tuple[int, int], amount: int, lifetime: datetime.timedelta, linked: bool, new: bool = True
    ) -> entries.NewHold:
        debit, credit = (self.addresses[each] for each in sides)
        return entries.NewHold(
            _new_id(), debit, credit, amount, "HTG", "TRANSFER", lifetime, linked=linked, payee_may_be_new=new
        )

    def _hold_again(self, place: int, more: int, linked: bool) -> list[entries.Operation]:
        """Make a hold again, and that of its fee with it: without the other one, nobody asks for either."""
        if not self.held:
            return []
        asked = self.held[place % len(self.held)]
        earlier = [each for each in self.held if (asked.fee_of or asked.id) in (each.id, each.fee_of)]
        *others, last = {each.id: _larger(each, more) for each in earlier}.values()
        return [*others, dataclasses.replace(last, linked=linked)]

    def _hold_with_fee(
        self, debit: int, credit: int, amount: int, fee: int, lifetime: datetime.timedelta
    ) -> list[entries.Operation]:
        terms = pricing.Terms(
            fixed_amount=fee % 3, parts_per_million=fee * 50_000, floor_amount=fee % 4 + 1, cap_amount=fee * 2 + 3
        )
        reserved = pricing.charged(amount, terms)
        asked = self._hold((debit, credit), amount, lifetime, True)
        made = dataclasses.replace(asked, fee_amount=reserved, fee_terms=terms)
        sides = made.debit_account, self.addresses[-1]
        self.tied.append(made)
        return [made, entries.NewHold(made.fee_hold_id, *sides, reserved, "HTG", "FEE", lifetime, fee_of=made.id)]

    def _part_with_fee(self, place: int, amount: int, releases: bool) -> list[entries.Operation]:
        """Take a part with its part of the fee; one in seven forgets that, and another one takes more behind it."""
        made = self._one_of(self.tied, place)
        if made is None:
            return []
        left = self.model.holds[made.id].left if made.id in self.model.holds else 0
        part = self._taking(made, 1 + amount % left if left and place % 5 else amount, releases, linked=True)
        settled: list[entries.Operation] = [self._settlement(made, made)]
        if place % 7 == 0:
            settled = [entries.Release(made.id, made.debit_key, made.credit_key, expiry=True)]
        elif place % 7 == 1:
            more = self._taking(made, amount, False, linked=False)
            settled = [dataclasses.replace(self._settlement(made, made), linked=True), more]
        self.groups.append([part, *settled])
        return self.groups[-1]

    def _group_again(self, place: int, linked: bool) -> list[entries.Operation]:
        if not self.groups:
            return []
        *others, last = self.groups[place % len(self.groups)]
        return [*others, dataclasses.replace(last, linked=linked)]

    def _void_with_fee(self, place: int) -> list[entries.Operation]:
        made = self._one_of(self.tied, place)
        if made is None:
            return []
        return [entries.Release(made.id, made.debit_key, made.credit_key, linked=True), self._settlement(made, made)]

    def _settle(self, place: int, other: int) -> list[entries.Operation]:
        """Settle the fee of a hold by itself, or as if it were that of another one."""
        count = len(self.tied)
        return [self._settlement(self.tied[place % count], self.tied[other % count])] if count else []

    def _settlement(self, made: entries.NewHold, fee_of: entries.NewHold) -> entries.FeeSettlement:
        fee_key = (self.addresses[-1], made.currency)
        return entries.FeeSettlement(_new_id(), made.fee_hold_id, fee_of.id, made.debit_key, fee_key)

    def _take(self, place: int, amount: int, releases: bool, linked: bool) -> entries.Transfer | None:
        hold = self._one_of(self.held, place)
        return None if hold is None else self._taking(hold, amount, releases, linked=linked)

    def _one_of(self, holds: Sequence[entries.NewHold], place: int) -> entries.NewHold | None:
        """Return a hold, three times out of four one that is open, if any is."""
        pending = [each for each in holds if each.id in self.model.holds and self.model.holds[each.id].left]
        some = pending if pending and place % 4 else holds
        return some[place % len(some)] if some else None

    def _taking(self, hold: entries.NewHold, amount: int, releases: bool, *, linked: bool) -> entries.Transfer:
        return entries.Transfer(
            _new_id(),
            hold.debit_account,
            hold.credit_account,
            amount,
            "HTG",
            hold.type,
            hold_id=hold.id,
            releases_hold=releases,
            linked=linked,
        )

    def _take_elsewhere(self, place: int, debit: int, credit: int, amount: int) -> entries.Transfer:
        hold_id = self.held[place % len(self.held)].id if self.held else _new_id()
        return dataclasses.replace(self._transfer(debit, credit, amount, False), hold_id=hold_id)

    def _release(self, place: int, expiry: bool, linked: bool) -> entries.Release:
        hold = self._one_of(self.held, place) or self._hold((1, 2), 1, _LIFETIMES[0], False)
        return entries.Release(hold.id, hold.debit_key, hold.credit_key, expiry=expiry, linked=linked)

    def _set(self, account: int, column: str, value: object) -> None:
        """Change a rule of an account as the service does, and open the account first if need be."""
        self._open(account, "HTG")
        self.connection.execute(
            f"UPDATE accounts SET {column} = %s WHERE address = %s AND currency = 'HTG'",
            (value, self.addresses[account]),
        )

    def _open(self, account: int, currency: str) -> None:
        address = self.addresses[account]
        self.model.open(address)
        self.connection.execute(
            "INSERT INTO accounts (id, address, currency, overdraft_limit) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (entries.account_id(address, currency), address, currency, self.model.wallet(address).floor),
        )


def _linked(batch: Sequence[entries.Operation]) -> list[entries.Operation]:
    """Return a batch in which no group is open at the end, and transfers are linked only with one before them.

    A group is named after its first operation, and its transfers are found by that name: it must be one of them.
    """
    linked, first = list(batch), 0
    for place, (each, following) in enumerate(itertools.zip_longest(batch, batch[1:])):
        hidden = isinstance(following, entries.Transfer) and not isinstance(batch[first], entries.Transfer)
        if each.linked and (following is None or hidden):
            linked[place] = dataclasses.replace(each, linked=False)
        if not linked[place].linked:
            first = place + 1
    return linked


def _larger(hold: entries.NewHold, more: int) -> entries.NewHold:
    if hold.tied:  # Its fee follows from its amount; that another one is other content shows in any field.
        return dataclasses.replace(hold, reference="x" * more)
    return dataclasses.replace(hold, amount=hold.amount + more)


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
    sizes = hypothesis.settings(
        max_examples=size(150, 2_000),
        stateful_step_count=size(15, 50),
        deadline=None,
        phases=[hypothesis.Phase.generate],  # Shrinking takes minutes; a short history is told apart by eye.
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    stateful.run_state_machine_as_test(machine, settings=sizes)
