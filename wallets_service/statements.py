"""Statements: what an account held at an instant, and what moved in it between two.

The history of an account up to one of its versions never changes. So a statement names the version it is made at, and
then reads page after page in as many transactions as it likes, while others write: its totals and lines stay one.
"""

import dataclasses
import datetime
import functools
import heapq
import itertools
import uuid
from collections.abc import Iterator
from typing import Final

from kobklein import database
from kobklein.database import Session
from wallets_service import errors
from wallets_service.instants import Basis
from wallets_service.models import Transaction
from wallets_service.repository import histories as repository
from wallets_service.repository.histories import Head, Totals
from wallets_service.turns import Turns

_INSTANT: Final = datetime.timedelta(microseconds=1)
_END_OF_TIME: Final = datetime.datetime.max.replace(tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Balance:
    """What an account held at an instant, and how many of its transfers that was."""

    account: Head
    balance: int
    version: int
    time: datetime.datetime
    basis: Basis


@dataclasses.dataclass(frozen=True, slots=True)
class Period:
    """A range of time of one account, with all that its lines depend on: nobody can change it any more."""

    from_time: datetime.datetime
    before_time: datetime.datetime
    basis: Basis
    first_version: int
    """The last version that was recorded before the range."""
    last_version: int
    """The last version that was recorded in it."""
    known_version: int
    """The last version of all; a transfer may have been backdated into the range after the range was over."""
    opening_balance: int
    credit_amount: int
    debit_amount: int

    @property
    def closing_balance(self) -> int:
        """What the account held at the end of the range."""
        return self.opening_balance + self.credit_amount - self.debit_amount


@dataclasses.dataclass(frozen=True, slots=True)
class Position:
    """How far the lines of a period have been read: its recorded and its backdated transfers, and the balance there."""

    version: int
    backdated_time: datetime.datetime
    backdated_version: int
    balance: int


async def account(session: Session, id_: uuid.UUID, *, owner: str | None, wallets_only: bool = False) -> Head:
    """Return any account, or with `wallets_only` any wallet; an `owner` finds only their own.

    Raises WalletNotFound for those who see wallets only, and AccountNotFound for those who see every account.
    """
    head = await repository.get_head(session, id_)
    if head is not None and owner in (None, head.user_id) and not (wallets_only and head.user_id is None):
        return head
    if wallets_only or owner is not None:
        raise errors.WalletNotFound(id=id_)
    raise errors.AccountNotFound(account=id_)


async def balance(
    sessions: database.Sessions, turns: Turns, head: Head, time: datetime.datetime, basis: Basis
) -> Balance:
    """Return what the account held at a final instant, with what happened in that very instant."""
    before = just_after(time)
    point = await database.transaction(
        sessions, functools.partial(repository.point_before, account_id=head.id, time=before, until=head.version)
    )
    late = repository.NOTHING
    if basis is Basis.EFFECTIVE:
        late = await _backdated_later(turns, head, before, point.version)
    return Balance(head, point.balance + late.balance, point.version + late.count, time, basis)


async def open_(
    turns: Turns, head: Head, from_time: datetime.datetime, before_time: datetime.datetime, basis: Basis
) -> tuple[Period, Position]:
    """Return the period of a statement, whose end is final, and where its lines start.

    However much there is to add up, each part takes a turn of its own: what is up to the head's version stays the same.
    """
    effective = basis is Basis.EFFECTIVE
    first, last = [
        await turns.transaction(
            functools.partial(repository.point_before, account_id=head.id, time=time, until=head.version)
        )
        for time in (from_time, before_time)
    ]
    moved = await _moved(turns, head, after=first.version, until=last.version, recorded_only=effective)
    opening_balance = first.balance
    if effective:
        opening_balance += (await _backdated_later(turns, head, from_time, first.version)).balance
        moved += await _backdated(turns, head, from_time=from_time, before_time=before_time)
    period = Period(
        from_time,
        before_time,
        basis,
        first.version,
        last.version,
        head.version,
        opening_balance,
        moved.credit_amount,
        moved.debit_amount,
    )
    return period, Position(first.version, from_time, 0, opening_balance)


async def page(
    session: Session, account_id: uuid.UUID, period: Period, position: Position, *, limit: int
) -> tuple[list[Transaction], Position | None]:
    """Return the next lines of a period, each with the balance after it, and where the lines after them start, if any.

    On the effective basis, what was recorded in the range and what was backdated into it are read along an index each,
    and merged.
    """
    reading = _recorded_lines if period.basis is Basis.RECORDED else _effective_lines
    found = await reading(session, account_id, period, position, limit=limit + 1)
    lines = []
    for line in itertools.islice(found, limit):
        position = _passed(position, line, period.basis)
        # It is another one than was recorded only where something is backdated.
        same = line.balance_after == position.balance
        lines.append(line if same else dataclasses.replace(line, balance_after=position.balance))
    return lines, position if next(found, None) is not None else None


async def _recorded_lines(
    session: Session, account_id: uuid.UUID, period: Period, position: Position, *, limit: int
) -> Iterator[Transaction]:
    lines = await repository.list_versions(
        session, account_id, after=position.version, until=period.last_version, limit=limit
    )
    return iter(lines)


async def _effective_lines(
    session: Session, account_id: uuid.UUID, period: Period, position: Position, *, limit: int
) -> Iterator[Transaction]:
    """Merge two walks. Where the backdated lines fill the page, the other walk need not pass the last one of them.

    Without that end, it would pass all that was backdated in the range, again for every page.
    """
    backdated = await repository.list_backdated(
        session,
        account_id,
        after=(position.backdated_time, position.backdated_version),
        before_time=period.before_time,
        until=period.known_version,
        limit=limit,
    )
    until = period.last_version
    if len(backdated) == limit:
        end = just_after(backdated[-1].effective_time)
        until = (await repository.point_before(session, account_id, end, until=until)).version
    recorded = await repository.list_versions(
        session, account_id, after=position.version, until=until, limit=limit, recorded_only=True
    )
    return heapq.merge(recorded, backdated, key=lambda line: (line.effective_time, line.version))


def _passed(position: Position, line: Transaction, basis: Basis) -> Position:
    """Return the position after a line."""
    amount = line.amount if line.direction == "CREDIT" else -line.amount
    balance_after = position.balance + amount
    if basis is Basis.EFFECTIVE and line.effective_time < line.created_time:
        return Position(position.version, line.effective_time, line.version, balance_after)
    return Position(line.version, position.backdated_time, position.backdated_version, balance_after)


async def _moved(turns: Turns, head: Head, *, after: int, until: int, recorded_only: bool) -> Totals:
    """Return what moved in the versions above `after` and up to `until`; `recorded_only` leaves backdated ones out."""
    found = repository.NOTHING
    for start in range(after, until, turns.summed_at_once):
        end = min(start + turns.summed_at_once, until)
        sum_up = functools.partial(
            repository.totals, account_id=head.id, after=start, until=end, recorded_only=recorded_only
        )
        found += await turns.transaction(sum_up)
    return found


async def _backdated_later(turns: Turns, head: Head, before: datetime.datetime, version: int) -> Totals:
    """Return what was recorded after a version, but counts before an instant."""
    return await _backdated(turns, head, from_time=repository.BEGINNING, before_time=before, after=version)


async def _backdated(
    turns: Turns, head: Head, *, from_time: datetime.datetime, before_time: datetime.datetime, after: int = 0
) -> Totals:
    """Return what was backdated into a range of time, in the versions above `after`."""
    found = repository.NOTHING
    for direction in ("DEBIT", "CREDIT"):
        position: repository.Place | None = (from_time, 0)
        while position is not None:
            sum_up = functools.partial(
                repository.backdated_totals,
                account_id=head.id,
                direction=direction,
                position=position,
                before_time=before_time,
                versions=(after, head.version),
                limit=turns.walked_at_once,
            )
            totals, position = await turns.transaction(sum_up)
            found += totals
    return found


def latest(head: Head, now: datetime.datetime) -> datetime.datetime:
    """Return the instant of all that an account has known by now, which is final.

    Where the clock went back, that is later than now: an account's own times never go back, so what comes next is later
    still.
    """
    return head.ahead_time or now


def just_after(time: datetime.datetime) -> datetime.datetime:
    """Return the next instant that the database can tell from this one."""
    return min(time, _END_OF_TIME - _INSTANT) + _INSTANT
