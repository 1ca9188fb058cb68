"""What the messages of several services share: names of enums, instants, free data."""

import datetime
from typing import Any, Final

from google.protobuf import struct_pb2, timestamp_pb2

from kobklein import errors, wire
from kobklein.wallets.v1 import ledger_pb2
from kobklein.wire import boundary, given_time, optional_timestamp, time, timestamp
from wallets_service.instants import Basis

__all__ = ["boundary", "given_time", "optional_timestamp", "time", "timestamp"]
"""The imported names that modules here use from this one."""
_TYPE_PREFIX: Final = "TRANSFER_TYPE_"
_STATUS_PREFIX: Final = "ACCOUNT_STATUS_"
TYPE_NAMES: Final = {
    number: name.removeprefix(_TYPE_PREFIX) for name, number in ledger_pb2.TransferType.items() if number
}
"""The kinds of transfers as the tables name them, by their numbers."""
TYPES: Final = {name: number for number, name in TYPE_NAMES.items()}
_BASES: Final = {
    ledger_pb2.TIME_BASIS_UNSPECIFIED: Basis.RECORDED,
    ledger_pb2.TIME_BASIS_RECORDED: Basis.RECORDED,
    ledger_pb2.TIME_BASIS_EFFECTIVE: Basis.EFFECTIVE,
}
_BASIS_NUMBERS: Final = {
    Basis.RECORDED: ledger_pb2.TIME_BASIS_RECORDED,
    Basis.EFFECTIVE: ledger_pb2.TIME_BASIS_EFFECTIVE,
}
_INT64_MAX: Final = 2**63 - 1


def status(name: str) -> "ledger_pb2.AccountStatus.ValueType":
    """Return an account's status by its name in the tables."""
    return ledger_pb2.AccountStatus.Value(_STATUS_PREFIX + name)


def status_name(number: "ledger_pb2.AccountStatus.ValueType") -> str | None:
    """Return a status as the tables name it; None when it is unspecified."""
    return ledger_pb2.AccountStatus.Name(number).removeprefix(_STATUS_PREFIX) if number else None


def basis(number: "ledger_pb2.TimeBasis.ValueType") -> Basis:
    """Return which time counts; the unspecified one is when a transfer was recorded."""
    return _BASES[number]


def basis_number(basis: Basis) -> "ledger_pb2.TimeBasis.ValueType":
    """Return which time counts as messages say it."""
    return _BASIS_NUMBERS[basis]


def recorded_time(message: timestamp_pb2.Timestamp, field: str) -> datetime.datetime:
    """Return an instant that is to be recorded; raises InvalidArgument for one that the tables cannot hold as it is."""
    if message.nanos % wire.NANOSECONDS:
        raise errors.InvalidArgument.of(field, "is finer than a microsecond")
    return time(message, field)


def struct(data: dict[str, Any]) -> struct_pb2.Struct | None:
    """Return free data; None when there is none."""
    if not data:
        return None
    message = struct_pb2.Struct()
    message.update(data)
    return message


def nearest_int64(amount: int) -> int:
    """Return the nearest amount that a message can carry: a ledger that was tampered with may add up to more."""
    return max(-_INT64_MAX - 1, min(amount, _INT64_MAX))
