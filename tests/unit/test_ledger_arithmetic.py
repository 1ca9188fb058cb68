"""Whatever is asked, in whatever order, with whatever amounts: what the ledger decides adds up."""

import collections
import dataclasses
import datetime
import itertools
import math
import uuid
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sizes import size
from wallets_service import errors, fees
from wallets_service.ledger import decisions, entries
from wallets_service.ledger.book import State
from wallets_service.ledger.entries import Account, FeeSettlement, Hold, Key, NewHold, Operation, Posting, Release

START: Final = datetime.datetime(2026, 1, 31, 22, tzinfo=datetime.UTC)
LEAST, MOST = -(2**63), 2**63 - 1
ADDRESSES: Final = ("provider/p", "fx/liquidity", "user/a", "user/b", "user/c", "fees")
LIFETIMES: Final = (datetime.timedelta(hours=1), datetime.timedelta(days=3))
Drawn = tuple[str, int, int, int, bool]
"""What to do, to which of those that there are, with which other one, how much, and one thing more to choose."""

FUNDS: Final[Sequence[Drawn]] = (("transfer", 0, 2, 200, False), ("transfer", 1, 3, 2**62, False))
kinds = st.sampled_from(
    ("transfer", "transfer", "again", "reverse", "hold", "hold with fee", "part", "part with fee", "void")
)
places = st.integers(0, 1_000)
amounts = st.integers(1, 60) | st.integers(1, 2**40) | st.integers(2**61, MOST) | st.sampled_from((1, MOST))
batches = st.lists(st.tuples(kinds, places, places, amounts, st.booleans()), min_size=1, max_size=6)
histories = st.lists(st.tuples(batches, st.integers(0, 40)), min_size=1, max_size=8)
"""Batches, each with how many hours go by after it."""


class Books:
    """How things stand between batches, as the database would have it."""

    def __init__(self) -> None:
        self.accounts: dict[Key, Account] = {(each, "HTG"): entries.opened((each, "HTG")) for each in ADDRESSES}
        self.accounts["user/c", "HTG"] = self.accounts["user/c", "HTG"]._replace(overdraft_limit=50)
        self.holds: dict[str, Hold] = {}
        self.posted: dict[str, Posting] = {}
        self.time = START
        self._ids = map(str, itertools.count(1))
        self.decide([each for drawn in FUNDS for each in self.asked(drawn)])

    @property
    def reversed(self) -> collections.Counter[str]:
        back = collections.Counter[str]()
        for each in self.posted.values():
            back.update({each.transfer.reverses_id: each.transfer.amount} if each.transfer.reverses_id else {})
        return back

    def decide(self, operations: Sequence[Operation]) -> None:
        groups = collections.Counter(each.group_id for each in self.posted.values() if each.group_id)
        state = State(
            accounts=self.accounts,
            holds=self.holds,
            posted=self.posted,
            group_sizes=groups,
            reversed=self.reversed,
            time=self.time,
        )
        decision = decisions.decide(operations, state)
        self.accounts = self.accounts | decision.accounts
        self.holds = self.holds | decision.holds
        self.posted = self.posted | {each.transfer.id: each for each in decision.postings}
        for operation, outcome in zip(operations, decision.outcomes, strict=True):
            if isinstance(outcome, errors.Refusal) and isinstance(operation, entries.Transfer | NewHold):
                assert operation.id not in {each.transfer.id for each in decision.postings}

    def asked(self, drawn: Drawn) -> list[Operation]:
        kind, place, other, amount, flag = drawn
        id_, debit, credit = next(self._ids), *(ADDRESSES[each % len(ADDRESSES)] for each in (place, other))
        plain = entries.Transfer(id_, debit, credit, amount, "HTG", "TRANSFER", linked=flag)
        posted, holds = list(self.posted.values()), [each.made for each in self.holds.values() if not each.made.fee_of]
        if kind.startswith("hold"):
            made = NewHold(str(uuid.UUID(int=int(id_))), debit, credit, amount, "HTG", "TRANSFER", LIFETIMES[flag])
            return [made] if kind == "hold" else _with_fee(made, 1 + other)
        if kind in ("again", "reverse") and posted:
            return [_about(posted[place % len(posted)].transfer, kind, plain)]
        if kind in ("part", "part with fee", "void") and holds:
            made = holds[place % len(holds)]
            left = self.holds[made.id].remaining_amount
            part = made.part(id_, 1 + amount % left if left and other % 3 else amount, releases_rest=flag)
            move = part if kind != "void" else Release(made.id, made.debit_key, made.credit_key)
            return [move] if kind == "part" or not made.fee_amount else _settled(move, made, f"fee {id_}")
        return [plain]


def _with_fee(made: NewHold, parts: int) -> list[Operation]:
    terms = fees.Terms(parts_per_million=min(10_000 * parts, 1_000_000), floor_amount=parts % 3)
    fee = fees.charged(made.amount, terms)
    if not fee:
        return [made]
    kept = dataclasses.replace(made, fee_amount=fee, fee_terms=terms, linked=True)
    return [
        kept,
        NewHold(kept.fee_hold_id, made.debit_account, "fees", fee, "HTG", "FEE", made.lifetime, fee_of=made.id),
    ]


def _about(earlier: entries.Transfer, kind: str, plain: entries.Transfer) -> entries.Transfer:
    if kind == "again":
        return dataclasses.replace(earlier, linked=plain.linked)
    sides = {"debit_account": earlier.credit_account, "credit_account": earlier.debit_account}
    amount = 1 + plain.amount % earlier.amount
    return dataclasses.replace(plain, **sides, amount=amount, reverses_id=earlier.id)


def _settled(move: entries.Transfer | Release, made: NewHold, id_: str) -> list[Operation]:
    settlement = FeeSettlement(id_, made.fee_hold_id, made.id, made.debit_key, ("fees", "HTG"))
    return [dataclasses.replace(move, linked=True), settlement]


@pytest.mark.chaos
@settings(max_examples=size(500, 5_000))
@given(histories)
def test_whatever_is_asked_of_the_ledger_adds_up(history: list[tuple[list[Drawn], int]]) -> None:
    books = Books()
    for batch, hours in history:
        books.decide([each for drawn in batch for each in books.asked(drawn)])
        _balances_add_up(books)
        _holds_add_up(books)
        books.time += datetime.timedelta(hours=hours)


def _balances_add_up(books: Books) -> None:
    moved = collections.Counter[str]()
    for each in books.posted.values():
        moved.update({each.debit_account_id: -each.transfer.amount})
        moved.update({each.credit_account_id: each.transfer.amount})
    assert sum(each.balance for each in books.accounts.values()) == 0
    for account in books.accounts.values():
        assert account.balance == moved[account.id]
        assert LEAST <= account.balance <= MOST
        if account.overdraft_limit is not None:
            assert account.balance - account.held_amount >= -account.overdraft_limit
        spent = account.day_spent, account.month_spent
        assert 0 <= min(spent) <= max(spent) <= MOST
    assert all(amount <= books.posted[id_].transfer.amount for id_, amount in books.reversed.items())


def _holds_add_up(books: Books) -> None:
    held, taken = collections.Counter[str](), collections.Counter[str]()
    for each in books.posted.values():
        taken.update({each.transfer.hold_id: each.transfer.amount} if each.transfer.hold_id else {})
    for id_, hold in books.holds.items():
        held.update({hold.debit_account_id: hold.remaining_amount})
        assert 0 <= hold.posted_amount == taken[id_] <= hold.made.amount
        fee = books.holds[hold.made.fee_hold_id] if hold.made.fee_amount else None
        if fee is not None and (terms := hold.made.fee_terms) is not None:
            share = math.floor(Fraction(hold.posted_amount * terms.parts_per_million, 1_000_000))
            assert fee.posted_amount == (max(share, terms.floor_amount) if hold.posted_amount else 0)
            left = hold.status == entries.PENDING and fee.posted_amount < fee.made.amount
            assert (fee.status == entries.PENDING) == left
    assert all(0 <= each.held_amount == held[each.id] <= MOST for each in books.accounts.values())
