"""What becomes of a batch of operations, decided in memory: a pure function of what was read under the locks."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wallets_service import errors, rules
from wallets_service.entries import (
    EXPIRED,
    PENDING,
    POSTED,
    VOIDED,
    Account,
    Hold,
    Id,
    Key,
    Limits,
    NewHold,
    Operation,
    Posting,
    Release,
    Transfer,
)

Outcome = Posting | Hold | errors.Refusal


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How things stand before a batch; nothing in it is changed by deciding."""

    accounts: Mapping[Key, Account]
    """Every account of every operation, new ones as they would open."""
    missing: frozenset[Key] = frozenset()
    """Those of the accounts that do not exist yet."""
    time: datetime.datetime
    zone: datetime.tzinfo = datetime.UTC
    """Whose days and months the limits are of."""
    posted: Mapping[Id, Posting] = dataclasses.field(default_factory=dict)
    """Those of the operations' transfers that are posted, and the originals of their reversals."""
    holds: Mapping[Id, Hold] = dataclasses.field(default_factory=dict)
    """The holds of the operations, and every hold of the accounts that has expired but not ended."""
    reversed: Mapping[Id, int] = dataclasses.field(default_factory=dict)
    """How much of each original is taken back."""
    limits: Mapping[str, Limits] = dataclasses.field(default_factory=dict)
    """What wallets may spend, by currency."""


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


def decide(operations: Iterable[Operation], state: State) -> Decision:
    """Decide each operation in order, on what the ones before it left; linked ones together or not at all."""
    book = _Book(state)
    for hold in state.holds.values():
        if hold.status == PENDING and rules.expired(hold, state.time):
            book.release(hold, EXPIRED)
    for group in _groups(operations):
        if len(group) == 1:
            book.decision.outcomes.append(_decided(book, group[0], None))
        else:
            book.decision.outcomes += _together(book, group)
    return book.decision


def _groups(operations: Iterable[Operation]) -> Iterator[Sequence[Operation]]:
    """Yield runs of linked operations; most are a run by themselves."""
    group: list[Operation] = []
    for operation in operations:
        if operation.linked:
            group.append(operation)
        elif group:
            yield [*group, operation]
            group = []
        else:
            yield (operation,)
    if group:
        yield group


def _together(book: "_Book", group: Sequence[Operation]) -> list[Outcome]:
    """Decide a group; after the first refusal, undo what was done, and refuse the rest because of it.

    A group that was posted before is a replay as a whole: it cannot be joined later.
    """
    group_id = _id(group[0])
    book.begin()
    outcomes: list[Outcome] = []
    for operation in group:
        outcome = _decided(book, operation, group_id)
        if not isinstance(outcome, errors.Refusal) and book.half_new(len(outcomes) + 1):
            outcome = errors.TransferIdReused(id=group_id)
        outcomes.append(outcome)
        if isinstance(outcome, errors.Refusal):
            book.undo()
            linked = errors.LinkedTransferRefused(id=_id(operation))
            return [*[linked] * (len(outcomes) - 1), outcome, *[linked] * (len(group) - len(outcomes))]
    book.keep()
    return outcomes


def _id(operation: Operation) -> Id:
    return operation.hold_id if isinstance(operation, Release) else operation.id


def _decided(book: "_Book", operation: Operation, group_id: Id | None) -> Outcome:
    if isinstance(operation, Transfer):
        return _transfer(book, operation, group_id)
    return _new_hold(book, operation) if isinstance(operation, NewHold) else _release(book, operation)


def _transfer(book: "_Book", transfer: Transfer, group_id: Id | None) -> Outcome:
    earlier = book.posted.get(transfer.id)
    if earlier is not None:
        same = earlier.transfer == transfer and earlier.group_id == group_id
        return earlier if same else errors.TransferIdReused(id=transfer.id)
    debit, credit = book.account(transfer.debit_key), book.account(transfer.credit_key)
    hold = None if transfer.hold_id is None else book.hold(transfer.hold_id)
    refusal = _refusal(book, transfer, debit, credit, hold)
    if refusal is not None:
        return refusal
    if transfer.reverses_id is not None:
        book.reverse(transfer.reverses_id, transfer.amount)
    if hold is not None:
        book.take(hold, transfer)
        debit = book.account(transfer.debit_key)
    return book.post(transfer, debit, credit, group_id)


def _refusal(
    book: "_Book", transfer: Transfer, debit: Account, credit: Account, hold: Hold | None
) -> errors.Refusal | None:
    """Return why a transfer is refused; what a hold reserved was checked when it was made."""
    state = book.state
    refusal = rules.sides(transfer, debit, credit) or rules.range_(transfer, debit, credit)
    if refusal is None and (transfer.not_after is not None or transfer.effective_time is not None):
        refusal = rules.times(transfer, state.time)
    if refusal is None and transfer.reverses_id is not None:
        original = book.posted.get(transfer.reverses_id)
        refusal = rules.reversal(transfer, original, book.reversed_amount(transfer.reverses_id))
    if refusal is not None:
        return refusal
    if transfer.hold_id is not None:
        return rules.posting_of(transfer, hold)
    refusal = rules.funds(transfer, debit)
    if refusal is None and transfer.reverses_id is None:
        refusal = rules.limits(transfer, debit, state.limits.get(transfer.currency), book.today)
    return refusal


def _new_hold(book: "_Book", made: NewHold) -> Outcome:
    earlier = book.hold(made.id)
    if earlier is not None:
        return earlier if earlier.made == made else errors.HoldIdReused(id=made.id)
    debit, credit = book.account(made.debit_key), book.account(made.credit_key)
    refusal = (
        rules.sides(made, debit, credit)
        or rules.funds(made, debit)
        or rules.limits(made, debit, book.state.limits.get(made.currency), book.today)
    )
    return refusal or book.reserve(made, debit, credit)


def _release(book: "_Book", release: Release) -> Outcome:
    """Give a hold back; one that was given back before is answered again, as is one whose time is not over yet."""
    hold = book.hold(release.hold_id)
    if hold is not None and (release.expiry or hold.status == VOIDED):
        return hold
    refusal = rules.release(hold, release.hold_id)
    if refusal is not None or hold is None:
        return refusal or errors.HoldNotFound(id=release.hold_id)
    return book.release(hold, VOIDED)


class _Book:
    """The working copy of a batch: what has been decided so far, over what was read."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.today = state.time.astimezone(state.zone).date()
        self.posted = dict(state.posted)
        self.decision = Decision()
        self._reversed: dict[Id, int] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] | None = None
        self._postings_before = 0

    def account(self, key: Key) -> Account:
        """Return an account as it is now."""
        return self.decision.accounts.get(key) or self.state.accounts[key]

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
        self.decision.postings.append(posting)
        return posting

    def reserve(self, made: NewHold, debit: Account, credit: Account) -> Hold:
        """Hold the money; it counts against the limits from now on, not when it is taken."""
        time = self.state.time
        hold = Hold(made, debit.id, credit.id, 0, PENDING, time, time)
        self._set(self.decision.holds, made.id, hold)
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
        debit = self.account(hold.made.debit_key)
        self._set(self.decision.accounts, debit.key, debit._replace(held_amount=debit.held_amount - transfer.amount))
        if transfer.releases_hold and not ended:
            self.release(taken, POSTED)

    def release(self, hold: Hold, status: str) -> Hold:
        """Give back what a hold still holds, to the limits of its day and month too."""
        ended = dataclasses.replace(hold, status=status, updated_time=self.state.time)
        self._set(self.decision.holds, hold.made.id, ended)
        amount = hold.remaining_amount
        debit = self.account(hold.made.debit_key)
        made_date = hold.created_time.astimezone(self.state.zone).date()
        same_day = debit.spent_date == made_date
        same_month = debit.spent_date is not None and debit.spent_date.replace(day=1) == made_date.replace(day=1)
        freed = debit._replace(
            held_amount=debit.held_amount - amount,
            day_spent=max(0, debit.day_spent - amount * same_day),
            month_spent=max(0, debit.month_spent - amount * same_month),
        )
        self._set(self.decision.accounts, freed.key, freed)
        return ended

    def begin(self) -> None:
        """Remember from here on what everything was."""
        self._undo = []
        self._postings_before = len(self.decision.postings)

    def half_new(self, decided: int) -> bool:
        """Return whether some of so many transfers decided since `begin` are new, and some are not."""
        return len(self.decision.postings) - self._postings_before not in (0, decided)

    def undo(self) -> None:
        """Make everything what it was."""
        for values, key, before in reversed(self._undo or ()):
            if before is None:
                del values[key]
            else:
                values[key] = before
        del self.decision.postings[self._postings_before :]
        self._undo = None

    def keep(self) -> None:
        """Leave everything as it is now."""
        self._undo = None

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
