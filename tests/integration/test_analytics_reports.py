"""Reports: counted in SQL, by local days, exact at their edges."""

import datetime
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
import sqlalchemy

from kobklein import database, zones
from kobklein.errors import InvalidArgument, SumOverflow
from kobklein.payments.v1 import payments_pb2
from payments_service import analytics, reports
from tests import databases

PORT_AU_PRINCE = "America/Port-au-Prince"
NEW_YORK = "America/New_York"
"""Both change their clocks; New York did on 2024-03-10 and 2024-11-03."""
HAVANA = "America/Havana"
"""It changes its clocks at midnight: 2026-11-01 begins twice, and 2026-03-08 at 01:00."""
_COLUMNS = (
    "user_id", "amount", "currency", "method", "status", "description", "metadata", "received_amount", "completed_time",
    "created_time",
)  # fmt: skip


@pytest.fixture
async def sessions(payments_database: databases.Database) -> AsyncIterator[database.Sessions]:
    engine = database.engine(payments_database.application_url, pool_size=2)
    yield database.sessions(engine)
    await engine.dispose()


async def _add(payments_database: databases.Database, time: str, *, zone: str = "UTC", **fields: Any) -> None:
    """Add a payment that was made at a local time."""
    created = datetime.datetime.fromisoformat(time).replace(tzinfo=ZoneInfo(zone))
    row = {"status": "COMPLETED", "amount": 1_000, "currency": "USD", "method": "STRIPE", "user_id": "ana", **fields}
    paid = row["status"] in ("COMPLETED", "REFUNDED")
    row.setdefault("refunded_amount", row["amount"] if row["status"] == "REFUNDED" else 0)
    row |= {"received_amount": row["amount"] if paid else 0, "completed_time": created if paid else None}
    row |= {"id": uuid.uuid4(), "reference": uuid.uuid4().hex, "created_time": created, "description": ""}
    if row["status"] == "PROCESSING":
        row |= {"step": "FETCH", "due_time": created}
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    async with await psycopg.AsyncConnection.connect(payments_database.superuser_url) as connection:
        await connection.execute(
            f"INSERT INTO payments (metadata, {names}) VALUES ('{{}}', {marks})",  # type: ignore[arg-type]  # own names
            list(row.values()),
        )


async def _report(sessions: database.Sessions, **request: Any) -> payments_pb2.PaymentAnalytics:
    asked = reports.query(payments_pb2.GetPaymentAnalyticsRequest(**{"time_zone": PORT_AU_PRINCE, **request}))
    async with sessions() as session:
        return reports.render(await analytics.report(session, asked))


async def test_an_empty_range_is_an_empty_report(sessions: database.Sessions) -> None:
    report = await _report(sessions, start_date="2024-01-01", end_date="2024-12-31")
    assert report == payments_pb2.PaymentAnalytics(
        start_date="2024-01-01",
        end_date="2024-12-31",
        time_zone=PORT_AU_PRINCE,
        total=payments_pb2.PaymentSummary(),
    )


async def test_volumes_are_exact_up_to_64_bits_and_refused_behind_them(
    sessions: database.Sessions, payments_database: databases.Database
) -> None:
    most, many = 999_999_999_999_999, 9_223
    await _add(payments_database, "2024-05-01T12:00", amount=most)
    others = (
        "SELECT gen_random_uuid(), md5(n::text), " + ", ".join(_COLUMNS) + " FROM payments, generate_series({}) AS n"
    )
    copy = f"INSERT INTO payments (id, reference, {', '.join(_COLUMNS)}) {others}"
    with psycopg.connect(payments_database.superuser_url) as connection:
        connection.execute(copy.format(f"2, {many}"))  # type: ignore[arg-type]  # own names
    (volume,) = (await _report(sessions, start_date="2024-05-01", end_date="2024-05-01")).total.volumes
    assert (volume.count, volume.amount, volume.average_amount) == (many, many * most, most)
    await _add(payments_database, "2024-05-01T13:00", amount=most)
    with pytest.raises(SumOverflow, match="the volume in USD"):
        await _report(sessions, start_date="2024-05-01", end_date="2024-05-01")


async def test_counts_rates_volumes_and_averages(
    sessions: database.Sessions, payments_database: databases.Database
) -> None:
    for fields in (
        {"amount": 1_000},
        {"amount": 1_001, "refunded_amount": 400},
        {"amount": 500, "currency": "HTG", "method": "CASH"},
        {"amount": 300, "status": "REFUNDED"},
        {"status": "FAILED"},
        {"status": "PROCESSING"},
        {"status": "PENDING"},
        {"status": "CANCELLED"},
    ):
        await _add(payments_database, "2024-05-05T12:00", **fields)
    report = await _report(sessions, start_date="2024-05-05", end_date="2024-05-05")
    total = report.total
    assert total.count == 8
    assert {payments_pb2.PaymentStatus.Name(one.status)[15:]: (one.count, one.rate) for one in total.statuses} == {
        "COMPLETED": (3, 0.375),
        "REFUNDED": (1, 0.125),
        "FAILED": (1, 0.125),
        "PROCESSING": (1, 0.125),
        "PENDING": (1, 0.125),
        "CANCELLED": (1, 0.125),
    }
    assert list(total.volumes) == [
        payments_pb2.Volume(currency="HTG", count=1, amount=500, average_amount=500),
        payments_pb2.Volume(currency="USD", count=3, amount=2_301, average_amount=767, refunded_amount=700),
    ]
    assert [(one.method, one.summary.count) for one in report.methods] == [
        (payments_pb2.PAYMENT_METHOD_CASH, 1),
        (payments_pb2.PAYMENT_METHOD_STRIPE, 7),
    ]
    assert list(report.periods) == []


async def test_the_last_day_counts_up_to_its_last_microsecond(
    sessions: database.Sessions, payments_database: databases.Database
) -> None:
    for time in ("2024-06-30T23:59:59.999999", "2024-07-01T00:00", "2024-07-02T23:59:59.999999", "2024-07-03T00:00"):
        await _add(payments_database, time, zone=PORT_AU_PRINCE)
    report = await _report(sessions, start_date="2024-07-01", end_date="2024-07-02")
    assert report.total.count == 2


async def test_days_are_those_of_the_time_zone(
    sessions: database.Sessions, payments_database: databases.Database
) -> None:
    await _add(payments_database, "2024-07-02T03:00", zone="UTC")
    day = {"start_date": "2024-07-01", "end_date": "2024-07-01"}
    assert (await _report(sessions, **day)).total.count == 1
    assert (await _report(sessions, **day, time_zone="UTC")).total.count == 0


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (NEW_YORK, "2024-03-10", 23),
        (NEW_YORK, "2024-11-03", 25),
        (NEW_YORK, "2024-11-04", 24),
        (HAVANA, "2026-03-08", 23),
        (HAVANA, "2026-10-31", 24),
        (HAVANA, "2026-11-01", 25),
        (HAVANA, "2026-11-02", 24),
    ],
)
async def test_a_day_is_as_long_as_the_clocks_make_it(
    sessions: database.Sessions, payments_database: databases.Database, zone: str, day: str, hours: int
) -> None:
    midnight = datetime.datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(datetime.UTC)
    for hour in range(-2, 28):
        time = (midnight + datetime.timedelta(hours=hour, minutes=30)).replace(tzinfo=None).isoformat()
        await _add(payments_database, time)
    report = await _report(sessions, start_date=day, end_date=day, time_zone=zone, group_by="PAYMENT_PERIOD_DAY")
    assert report.total.count == hours
    assert [(period.start_date, period.summary.count) for period in report.periods] == [(day, hours)]


async def test_a_day_that_begins_twice_belongs_to_itself(
    sessions: database.Sessions, payments_database: databases.Database
) -> None:
    day, before = "2026-11-01", "2026-10-31"
    await _add(payments_database, "2026-11-01T00:30", zone=HAVANA)  # in the first of the two hours
    both = {"start_date": before, "end_date": day, "time_zone": HAVANA}
    assert await _periods(sessions, "DAY", **both) == [(day, 1)]
    assert await _periods(sessions, "DAY", **both | {"end_date": before}) == []
    assert await _periods(sessions, "DAY", **both | {"start_date": day}) == [(day, 1)]


async def test_a_day_that_a_zone_has_left_out_is_empty(
    sessions: database.Sessions, payments_database: databases.Database
) -> None:
    for time in ("2011-12-29T23:59:59.999999", "2011-12-31T00:00"):
        await _add(payments_database, time, zone="Pacific/Apia")
    days = {"start_date": "2011-12-29", "end_date": "2011-12-31", "time_zone": "Pacific/Apia"}
    assert await _periods(sessions, "DAY", **days) == [("2011-12-29", 1), ("2011-12-31", 1)]


async def test_weeks_start_on_monday_and_months_on_the_first(
    sessions: database.Sessions, payments_database: databases.Database
) -> None:
    for time in ("2024-01-30T10:00", "2024-02-04T23:59:59", "2024-02-05T00:00", "2024-02-29T12:00"):
        await _add(payments_database, time, zone=PORT_AU_PRINCE)
    days = {"start_date": "2024-01-30", "end_date": "2024-02-29"}
    assert await _periods(sessions, "WEEK", **days) == [("2024-01-29", 2), ("2024-02-05", 1), ("2024-02-26", 1)]
    assert await _periods(sessions, "MONTH", **days) == [("2024-01-01", 1), ("2024-02-01", 3)]


async def _periods(sessions: database.Sessions, period: str, **request: Any) -> list[tuple[str, int]]:
    report = await _report(sessions, group_by=f"PAYMENT_PERIOD_{period}", **request)
    return [(period.start_date, period.summary.count) for period in report.periods]


async def test_filters_narrow_the_report(sessions: database.Sessions, payments_database: databases.Database) -> None:
    await _add(payments_database, "2024-05-05T12:00", user_id="bob", currency="HTG", method="CASH")
    await _add(payments_database, "2024-05-05T12:00")
    await _add(payments_database, "2024-05-05T12:00", status="FAILED", deleted_time=datetime.datetime.now(datetime.UTC))
    day = {"start_date": "2024-05-05", "end_date": "2024-05-05"}
    assert (await _report(sessions, **day)).total.count == 2
    for condition in ({"user_id": "bob"}, {"currency": "HTG"}, {"method": payments_pb2.PAYMENT_METHOD_CASH}):
        assert (await _report(sessions, **day, **condition)).total.count == 1


async def test_a_report_agrees_with_counting_by_hand(
    sessions: database.Sessions, payments_database: databases.Database
) -> None:
    chance = random.Random(5)
    expected: dict[str, int] = {}
    for _ in range(150):
        local = datetime.datetime.fromisoformat("2024-03-01T00:00") + datetime.timedelta(
            minutes=chance.randrange(30 * 24 * 60)
        )
        while local.date() == datetime.date(2024, 3, 10) and local.hour == 2:
            local += datetime.timedelta(hours=1)
        amount = chance.randint(1, 99_999)
        await _add(payments_database, local.isoformat(), zone=NEW_YORK, amount=amount)
        day = local.date().isoformat()
        expected[day] = expected.get(day, 0) + amount
    report = await _report(
        sessions, start_date="2024-03-01", end_date="2024-03-31", time_zone=NEW_YORK, group_by="PAYMENT_PERIOD_DAY"
    )
    assert {period.start_date: period.summary.volumes[0].amount for period in report.periods} == expected
    assert report.total.volumes[0].amount == sum(expected.values())


async def test_the_database_knows_every_time_zone_that_is_accepted(sessions: database.Sessions) -> None:
    async with sessions() as session:
        known = set(await session.scalars(sqlalchemy.text("SELECT name FROM pg_timezone_names")))
    assert zones.names() - known == set()


async def test_without_a_range_it_is_the_last_thirty_days(sessions: database.Sessions) -> None:
    report = await _report(sessions)
    today = datetime.datetime.now(ZoneInfo(PORT_AU_PRINCE)).date()
    assert report.end_date == today.isoformat()
    assert report.start_date == (today - datetime.timedelta(days=29)).isoformat()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"start_date": "2024-02-30"}, "start_date"),
        ({"end_date": "2024-13-01"}, "end_date"),
        ({"start_date": "2024-02-02", "end_date": "2024-02-01"}, "end_date"),
        ({"start_date": "2000-01-01", "end_date": "2024-02-01"}, "start_date"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"time_zone": "localtime"}, "time_zone"),
        ({"start_date": "9999-12-31", "end_date": "9999-12-31"}, "end_date"),
        ({"end_date": "0001-01-01"}, "end_date"),
    ],
)
def test_a_senseless_range_is_refused_by_its_field(request_: dict[str, str], field: str) -> None:
    request = payments_pb2.GetPaymentAnalyticsRequest(**{"time_zone": "UTC", **request_})
    with pytest.raises(InvalidArgument) as refusal:
        reports.query(request)
    assert [violation.field for violation in refusal.value.violations] == [field]


@pytest.mark.parametrize(("amount", "count", "average"), [(5, 2, 2), (7, 2, 4), (10, 4, 2), (11, 3, 4), (10, 3, 3)])
def test_averages_are_rounded_half_to_even(amount: int, count: int, average: int) -> None:
    assert analytics.Volume(count=count, amount=amount).average_amount == average
