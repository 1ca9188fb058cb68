"""The working copy of a batch: how things stood, what has been decided so far, and how to take a part of that back."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wallets_service import errors
from wallets_service.ledger import rules
from wallets_service.ledger.entries import PENDING, POSTED, Account, Hold, Id, Key, Limits, NewHold, Posting, Transfer

Outcome = Posting | Hold | errors.Refusal
Stamp = tuple[str, datetime.datetime]
"""The transaction that wrote a row, and the time that it wrote down in it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How things stand before a batch; nothing in it is changed by deciding."""

    accounts: Mapping[Key, Account]
    """Every account of every operation, new ones as they would open."""
    missing: frozenset[Key] = frozenset()
    """Those of the accounts that do not exist yet."""
    new_addresses: Mapping[str, Sequence[Key]] = dataclasses.field(default_factory=dict)
    """The addresses that have no account in any currency yet, with those of the missing accounts that are theirs."""
    stamps: Mapping[Key, Stamp] = dataclasses.field(default_factory=dict)
    """Those of the rows of the accounts that do."""
    transaction: str = ""
    """That of the batch itself."""
    time: datetime.datetime
    zone: datetime.tzinfo = datetime.UTC
    """Whose days and months the limits are of."""
    posted: Mapping[Id, Posting] = dataclasses.field(default_factory=dict)
    """Those of the operations' transfers that are posted, and the originals of their reversals."""
    group_sizes: Mapping[Id, int] = dataclasses.field(default_factory=dict)
    """How many transfers the groups of those were posted with."""
    holds: Mapping[Id, Hold] = dataclasses.field(default_factory=dict)
    """The holds of the operations, and every hold of the accounts that has expired but not ended."""
    ending_parts: frozenset[Id] = frozenset()
    """Those of the posted transfers with which their holds ended: that took the last of it, or gave back the rest."""
    reversed: Mapping[Id, int] = dataclasses.field(default_factory=dict)
    """How much of each original is taken back."""
    limits: Mapping[str, Limits] = dataclasses.field(default_factory=dict)
    """What wallets may spend, by currency."""
    open_holds: Mapping[Id, int] = dataclasses.field(default_factory=dict)
    """How many holds are open of those accounts that are to pay new ones, by the account's id."""


@dataclasses.dataclass(slots=True)
class Decision:
    """What became of a batch."""

    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    """One per operation, in the given order; a replay's is what is recorded."""
    postings: list[Posting] = dataclasses.field(default_factory=list)
    """Those to be recorded."""
    accounts: dict[Key, Account] = dataclasses.field(default_factory=dict)
    """The accounts that were changed, as they are afterwards."""
    holds: dict[Id, Hold] = dataclasses.field(default_factory=dict)
    """The holds that were made or changed, as they are afterwards."""


class _Mark(NamedTuple):
    """How much was new when a group began."""

    postings: int
    holds: int


class Book:
    """What has been decided so far, over what was read."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.today = state.time.astimezone(state.zone).date()
        self.posted = dict(state.posted)
        self.decision = Decision()
        self._reversed: dict[Id, int] = {}
        self._ending_parts: dict[Id, bool] = {}
        self._group_sizes = dict(state.group_sizes)
        self._open_holds = dict(state.open_holds)
        self._holds_made = 0
        self._undo: list[tuple[dict[Any, Any], Any, Any]] | None = None
        self._mark = _Mark(0, 0)
        self.settling = False
        """Whether what is decided now is one of a group in which a hold's fee is settled."""

    def account(self, key: Key) -> Account:
        """Return an account as it is now."""
        return self.decision.accounts.get(key) or self.state.accounts[key]

    def payee_is_new(self, asked: Transfer | NewHold) -> bool:
        """Return whether a payee has no account in any currency, not even one that this batch opens."""
        missing = self.state.new_addresses.get(asked.credit_account)
        return missing is not None and not any(key in self.decision.accounts for key in missing)

    def hold(self, id_: Id) -> Hold | None:
        """Return a hold as it is now."""
        return self.decision.holds.get(id_) or self.state.holds.get(id_)

    def reversed_amount(self, id_: Id) -> int:
        """Return how much of a transfer is taken back."""
        found = self._reversed.get(id_)
        return found if found is not None else self.state.reversed.get(id_, 0)

    def reverse(self, id_: Id, amount: int) -> None:
        """Note that so much more of a transfer is taken back."""
        self._set(self._reversed, id_, self.reversed_amount(id_) + amount)

    def post(self, transfer: Transfer, debit: Account, credit: Account, group_id: Id | None) -> Posting:
        """Move the money, and note what it left on both sides."""
        counts = transfer.hold_id is None and transfer.reverses_id is None
        debit = _debited(debit, transfer.amount, self.today if counts else None)
        credit = _credited(credit, transfer.amount)
        self._set(self.decision.accounts, debit.key, debit)
        self._set(self.decision.accounts, credit.key, credit)
        posting = Posting(
            transfer,
            debit.id,
            credit.id,
            debit.balance,
            credit.balance,
            debit.version,
            credit.version,
            self.state.time,
            group_id,
        )
        self._set(self.posted, transfer.id, posting)
        if group_id is not None:
            self._set(self._group_sizes, group_id, self.group_size(group_id) + 1)
        self.decision.postings.append(posting)
        return posting

    def open_holds(self, id_: Id) -> int:
        """Return how many holds are open of an account, those counted that have ended in this very batch."""
        return self._open_holds.get(id_, 0)

    def reserve(self, made: NewHold, debit: Account, credit: Account) -> Hold:
        """Hold the money; it counts against the limits from now on, not when it is taken."""
        time = self.state.time
        hold = Hold(made, debit.id, credit.id, 0, PENDING, time, time)
        self._set(self.decision.holds, made.id, hold)
        self._holds_made += 1
        self._set(self._open_holds, debit.id, self.open_holds(debit.id) + 1)
        day, month = rules.spent(debit, self.today)
        held = debit._replace(
            held_amount=debit.held_amount + made.amount,
            spent_date=self.today,
            day_spent=_within(day + made.amount),
            month_spent=_within(month + made.amount),
        )
        self._set(self.decision.accounts, held.key, held)
        if credit.key in self.state.missing:  # A hold names it, so it opens now.
            self._set(self.decision.accounts, credit.key, credit)
        return hold

    def take(self, hold: Hold, transfer: Transfer) -> None:
        """Note that a transfer takes money out of a hold, and give back the rest if it says so."""
        posted_amount = hold.posted_amount + transfer.amount
        ended = posted_amount == hold.made.amount
        taken = dataclasses.replace(
            hold, posted_amount=posted_amount, status=POSTED if ended else PENDING, updated_time=self.state.time
        )
        self._set(self.decision.holds, hold.made.id, taken)
        if ended or transfer.releases_hold:
            self._set(self._ending_parts, transfer.id, True)
        debit = self.account(hold.made.debit_key)
        self._set(self.decision.accounts, debit.key, debit._replace(held_amount=debit.held_amount - transfer.amount))
        if transfer.releases_hold and not ended:
            self.release(taken, POSTED)

    def ended_by(self, id_: Id) -> bool:
        """Return whether a hold ended with this transfer."""
        return id_ in self._ending_parts or id_ in self.state.ending_parts

    def release(self, hold: Hold, status: str) -> Hold:
        """Give back what a hold still holds, to the limits of its day and month too."""
        ended = dataclasses.replace(hold, status=status, updated_time=self.state.time)
        self._set(self.decision.holds, hold.made.id, ended)
        freed = rules.given_back(self.account(hold.made.debit_key), hold, self.state.zone)
        self._set(self.decision.accounts, freed.key, freed)
        return ended

    def begin(self, *, settling: bool) -> None:
        """Begin a group: remember from here on what everything was."""
        self._undo = []
        self.settling = settling
        self._mark = _Mark(len(self.decision.postings), self._holds_made)

    def group_size(self, id_: Id) -> int:
        """Return how many transfers are posted as one group."""
        return self._group_sizes.get(id_, 0)

    def half_new(self, decided: int) -> bool:
        """Return whether some of so many transfers and holds decided since `begin` are new, and some are not."""
        postings, holds = self._mark
        new = len(self.decision.postings) - postings + self._holds_made - holds
        return new not in (0, decided)

    def unsettled(self) -> Id | None:
        """Return a hold, changed since `begin`, beside which its fee's is not as it must be."""
        changed = [id_ for values, id_, _ in self._undo or () if values is self.decision.holds]
        return next((id_ for id_ in changed if not self._settled(self.decision.holds[id_].made)), None)

    def _settled(self, made: NewHold) -> bool:
        if not made.tied:
            return True
        of, fee = (made.fee_of, made.id) if made.fee_of else (made.id, made.fee_hold_id)
        return rules.fee_settled(self.hold(of), self.hold(fee))

    def undo(self) -> None:
        """Make everything what it was."""
        for values, key, before in reversed(self._undo or ()):
            if before is None:
                del values[key]
            else:
                values[key] = before
        del self.decision.postings[self._mark.postings :]
        self._holds_made = self._mark.holds
        self._undo = None
        self.settling = False

    def keep(self) -> None:
        """Leave everything as it is now."""
        self._undo = None
        self.settling = False

    def _set(self, values: dict[Any, Any], key: Any, value: Any) -> None:
        if self._undo is not None:
            self._undo.append((values, key, values.get(key)))
        values[key] = value


def _debited(account: Account, amount: int, today: datetime.date | None) -> Account:
    """Return an account after a debit, which counts against its limits if `today` is given."""
    (id_, key, balance, held, overdraft, status, version, one, daily, monthly, date, day, month) = account
    if today is not None:
        if date != today:
            day, month = rules.spent(account, today)
        date, day, month = today, _within(day + amount), _within(month + amount)
    return Account(
        id_, key, balance - amount, held, overdraft, status, version + 1, one, daily, monthly, date, day, month
    )


def _credited(account: Account, amount: int) -> Account:
    (id_, key, balance, held, overdraft, status, version, one, daily, monthly, date, day, month) = account
    return Account(
        id_, key, balance + amount, held, overdraft, status, version + 1, one, daily, monthly, date, day, month
    )


def _within(spent: int) -> int:
    """Return a counter within the range of its column; no limit is that high."""
    return min(spent, rules.MAX_BALANCE)
