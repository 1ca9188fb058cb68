"""Reports on payments, counted by the database: by the day of their creation, in the time zone that is asked for.

The database compares instants only. When days begin is decided here, so that one table of time zones counts.
"""

import dataclasses
import datetime
import zoneinfo
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from kobklein import database, zones
from kobklein import errors as common_errors
from payments_service import states
from payments_service.models import payments
from payments_service.states import Method, Status

MAX_DAYS: Final = 3700
"""Longest range of a report, a little over ten years."""
_DEFAULT_DAYS: Final = 30
_FIRST_YEAR, _LAST_YEAR = 1970, 2999
_INSTANTS: Final = postgresql.ARRAY(sa.DateTime(timezone=True))
_PERIOD, _METHOD = 1, 2
"""Bits of GROUPING(method, period): set where a row is not broken down by it."""
_FIRST_DAYS: Final[dict[str, Callable[[datetime.date], datetime.date]]] = {
    "day": lambda day: day,
    "week": lambda day: day - datetime.timedelta(days=day.weekday()),
    "month": lambda day: day.replace(day=1),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """Which payments to report on: those created on these days, deleted ones excepted."""

    start: datetime.date
    end: datetime.date
    """The last day; it counts."""
    time_zone: str
    period: str | None = None
    """`day`, `week` (from Monday) or `month`; None for no periods."""
    currency: str = ""
    method: Method | None = None
    user_id: str = ""


@dataclasses.dataclass(slots=True)
class Volume:
    """Payments of one currency whose money has reached a wallet."""

    count: int = 0
    amount: int = 0
    refunded_amount: int = 0

    @property
    def average_amount(self) -> int:
        """Their mean, rounded half to even."""
        whole, rest = divmod(self.amount, self.count)
        return whole + (2 * rest > self.count or (2 * rest == self.count and whole % 2 == 1))


@dataclasses.dataclass(slots=True)
class Summary:
    """Figures over a set of payments."""

    statuses: dict[Status, int] = dataclasses.field(default_factory=lambda: defaultdict(int))
    volumes: dict[str, Volume] = dataclasses.field(default_factory=lambda: defaultdict(Volume))

    @property
    def count(self) -> int:
        """How many payments there are."""
        return sum(self.statuses.values())

    def add(self, row: sa.Row[Any]) -> None:
        """Count the payments of one status and currency in."""
        self.statuses[row.status] += row.payments
        if row.status in states.VOLUME:
            volume = self.volumes[row.currency]
            volume.count += row.payments
            volume.amount += int(row.amount)
            volume.refunded_amount += int(row.refunded_amount)


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What a query finds."""

    query: Query
    total: Summary
    methods: dict[Method, Summary]
    periods: dict[datetime.date, Summary]


def query(*, start_date: str, end_date: str, time_zone: str, **conditions: Any) -> Query:
    """Return a query, with today as the last day and 30 days in all where nothing else is said.

    Raises InvalidArgument that names the field.
    """
    if time_zone not in zones.names():
        raise common_errors.InvalidArgument.of("time_zone", "is not an IANA time zone")
    end = _date("end_date", end_date) or datetime.datetime.now(zoneinfo.ZoneInfo(time_zone)).date()
    start = _date("start_date", start_date) or end - datetime.timedelta(days=_DEFAULT_DAYS - 1)
    if end < start:
        raise common_errors.InvalidArgument.of("end_date", "is before start_date")
    if (end - start).days >= MAX_DAYS:
        raise common_errors.InvalidArgument.of("start_date", f"is more than {MAX_DAYS} days before the last day")
    return Query(start=start, end=end, time_zone=time_zone, **conditions)


async def report(session: database.Session, asked: Query) -> Report:
    """Return the report on the payments that a query names."""
    found = Report(asked, Summary(), defaultdict(Summary), defaultdict(Summary))
    starts = _starts(asked)
    for row in await session.execute(_grouped(asked, starts)):
        if row.grouping == _METHOD | _PERIOD:
            found.total.add(row)
        elif row.grouping == _PERIOD:
            found.methods[row.method].add(row)
        elif row.period is not None:
            found.periods[starts[row.period - 1]].add(row)
    return found


def _starts(asked: Query) -> list[datetime.date]:
    """Return the first days of the periods, also of one that begins before the range; none without periods."""
    if not asked.period:
        return []
    days = [asked.start + datetime.timedelta(days=number) for number in range((asked.end - asked.start).days + 1)]
    return sorted({_FIRST_DAYS[asked.period](day) for day in days})


def _grouped(asked: Query, starts: Sequence[datetime.date]) -> sa.Select[Any]:
    """Return one pass over the payments that counts them in total, per method and per period at once.

    A period is the number of its start, from 1.
    """
    instants = sa.literal([zones.midnight(day, asked.time_zone) for day in starts], _INSTANTS)
    period = sa.func.width_bucket(payments.c.created_time, instants) if starts else sa.cast(sa.null(), sa.Integer)
    counted = (
        sa.select(
            payments.c.method,
            payments.c.status,
            payments.c.currency,
            payments.c.amount,
            payments.c.refunded_amount,
            period.label("period"),
        )
        .where(payments.c.deleted_time.is_(None), *_conditions(asked))
        .subquery()
        .c
    )
    kinds = (counted.status, counted.currency)
    sets = [sa.tuple_(*kinds), sa.tuple_(counted.method, *kinds), sa.tuple_(counted.period, *kinds)]
    return (
        sa.select(
            counted.method,
            counted.period,
            *kinds,
            sa.func.grouping(counted.method, counted.period).label("grouping"),
            sa.func.count().label("payments"),
            sa.func.sum(counted.amount).label("amount"),
            sa.func.sum(counted.refunded_amount).label("refunded_amount"),
        )
        .group_by(sa.func.grouping_sets(*sets))
        .order_by(counted.period, counted.method, *kinds)
    )


def _conditions(asked: Query) -> Iterable[sa.ColumnElement[bool]]:
    yield payments.c.created_time >= zones.midnight(asked.start, asked.time_zone)
    yield payments.c.created_time < zones.midnight(asked.end + datetime.timedelta(days=1), asked.time_zone)
    if asked.currency:
        yield payments.c.currency == asked.currency
    if asked.method is not None:
        yield payments.c.method == asked.method
    if asked.user_id:
        yield payments.c.user_id == asked.user_id


def _date(field: str, text: str) -> datetime.date | None:
    if not text:
        return None
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError as error:
        raise common_errors.InvalidArgument.of(field, "is not a day of the calendar") from error
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise common_errors.InvalidArgument.of(field, f"is not in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return day
