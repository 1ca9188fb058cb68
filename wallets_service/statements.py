"""Statements: what an account held at an instant, and what moved in it between two.

The history of an account up to one of its versions never changes. So a statement names the version it is made at, and
then reads page after page in as many transactions as it likes, while others write: its totals and lines stay one.
"""

import dataclasses
import datetime
import enum
import heapq
import itertools
import uuid
from collections.abc import Iterator
from typing import Final

from kobklein.database import Session
from wallets_service import errors
from wallets_service.models import Transaction
from wallets_service.repository import histories as repository
from wallets_service.repository.histories import Head, Totals

_INSTANT: Final = datetime.timedelta(microseconds=1)
_END_OF_TIME: Final = datetime.datetime.max.replace(tzinfo=datetime.UTC)


class Basis(enum.StrEnum):
    """Which of a transfer's two times counts."""

    RECORDED = "RECORDED"
    EFFECTIVE = "EFFECTIVE"


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
    """Return any account, or with `wallets_only` any wallet; an `owner` finds only their own. Raises WalletNotFound."""
    head = await repository.get_head(session, id_)
    if head is None or owner not in (None, head.user_id) or (wallets_only and head.user_id is None):
        raise errors.WalletNotFound(id=id_)
    return head


async def balance(session: Session, head: Head, time: datetime.datetime | None, basis: Basis) -> Balance:
    """Return what the account held at an instant, with what happened in that very instant.

    None, and what is not over yet, is now: nobody knows what an account will hold.
    """
    time = head.time if time is None else min(time, head.time)
    before = _just_after(time)
    point = await repository.point_before(session, head.id, before, until=head.version)
    late = (
        await _backdated_later(session, head, before, point.version) if basis is Basis.EFFECTIVE else repository.NOTHING
    )
    return Balance(head, point.balance + late.balance, point.version + late.count, time, basis)


async def open_(
    session: Session, head: Head, from_time: datetime.datetime, before_time: datetime.datetime | None, basis: Basis
) -> tuple[Period, Position]:
    """Return the period of a statement and where its lines start; without an end, it goes up to now."""
    before_time = _just_after(head.time) if before_time is None else before_time
    first = await repository.point_before(session, head.id, from_time, until=head.version)
    last = await repository.point_before(session, head.id, before_time, until=head.version)
    effective = basis is Basis.EFFECTIVE
    moved = await repository.totals(session, head.id, after=first.version, until=last.version, recorded_only=effective)
    opening_balance = first.balance
    if effective:
        opening_balance += (await _backdated_later(session, head, from_time, first.version)).balance
        moved += await repository.backdated_totals(
            session, head.id, from_time=from_time, before_time=before_time, until=head.version
        )
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
        end = _just_after(backdated[-1].effective_time)
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


async def _backdated_later(session: Session, head: Head, before: datetime.datetime, version: int) -> Totals:
    """Return what was recorded after a version, but counts before an instant."""
    return await repository.backdated_totals(session, head.id, before_time=before, after=version, until=head.version)


def _just_after(time: datetime.datetime) -> datetime.datetime:
    """Return the next instant that the database can tell from this one."""
    return min(time, _END_OF_TIME - _INSTANT) + _INSTANT
