"""Instants of messages to and from Python's, each once for all services.

The tables know microseconds, messages nanoseconds.
"""

import datetime
import functools
from typing import Final

from google.protobuf import message as protobuf_message
from google.protobuf import timestamp_pb2

from kobklein import errors

NANOSECONDS: Final = 1000
"""In a microsecond, the resolution of the tables."""
_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_END_OF_TIME: Final = datetime.datetime.max.replace(tzinfo=datetime.UTC)


def time(message: timestamp_pb2.Timestamp, field: str) -> datetime.datetime:
    """Return an instant; raises InvalidArgument that names the field when it is out of range."""
    try:
        return message.ToDatetime(tzinfo=datetime.UTC)
    except (ValueError, OverflowError) as error:
        raise errors.InvalidArgument.of(field, "is not a time between years 1 and 9999") from error


def given_time(request: protobuf_message.Message, field: str) -> datetime.datetime | None:
    """Return the instant in a field of a request; None when it is absent."""
    return time(getattr(request, field), field) if request.HasField(field) else None


def boundary(request: protobuf_message.Message, field: str) -> datetime.datetime | None:
    """Return the end of a range in a field of a request; None when it is absent.

    An instant finer than a microsecond counts as the next microsecond.
    """
    given = given_time(request, field)
    if given is None or getattr(request, field).nanos % NANOSECONDS == 0:
        return given
    return min(given, _END_OF_TIME - _MICROSECOND) + _MICROSECOND


@functools.lru_cache(maxsize=256)  # All rows of a batch have the same time.
def timestamp(time: datetime.datetime) -> timestamp_pb2.Timestamp:
    """Return an instant as a message."""
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(time)
    return message


def optional_timestamp(time: datetime.datetime | None) -> timestamp_pb2.Timestamp | None:
    """Return an instant, if there is one, as a message."""
    return None if time is None else timestamp(time)
