"""When days begin, in every zone there is."""

import datetime
import zoneinfo

import pytest

from kobklein import zones

MICROSECOND = datetime.timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        ("America/Port-au-Prince", "2026-11-28", "2026-11-28T05:00Z"),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00Z"),
        ("America/Havana", "2026-11-02", "2026-11-02T05:00Z"),
        ("America/Havana", "2026-03-08", "2026-03-08T05:00Z"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00Z"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00Z"),
    ],
)
def test_a_day_begins_when_its_midnight_first_comes(zone: str, day: str, begins: str) -> None:
    assert zones.midnight(datetime.date.fromisoformat(day), zone) == datetime.datetime.fromisoformat(begins)


def test_in_every_zone_a_day_begins_where_the_one_before_has_ended() -> None:
    for name in zones.names():
        zone, day = zoneinfo.ZoneInfo(name), datetime.date(2026, 1, 1)
        while day.year == 2026:
            begins = zones.midnight(day, name)
            assert begins.astimezone(zone).date() >= day, (name, day)
            assert (begins - MICROSECOND).astimezone(zone).date() < day, (name, day)
            day += datetime.timedelta(days=1)
