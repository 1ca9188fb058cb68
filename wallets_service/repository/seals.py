"""The seals, and the transfers in ledger order, over plain connections that threads use."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from psycopg import sql

from kobklein.database import Connection
from wallets_service.proof import chain

_BEGINNING: Final = chain.Place(0, -(2**31))
"""Before every transfer."""
_COPY_HEADER_BYTES: Final = 19
_COPY_END: Final = b"\xff\xff"
_ROWS: Final = sql.SQL(
    "COPY (SELECT {columns} FROM transfers WHERE {which} ORDER BY xid, place{limit}) TO STDOUT BINARY"
)
_COLUMNS: Final = sql.SQL(", ").join(map(sql.Identifier, chain.COLUMNS))
_ENDED: Final = sql.SQL("xid < pg_snapshot_xmin(pg_current_snapshot())")
"""Every transaction below has ended, so nothing will ever be committed in between."""
_SEALS: Final = """
    SELECT number, format, transfer_count, last_xid::text, last_place, digests, sequence, hash,
           CASE WHEN isfinite(sealed_time) THEN (extract(epoch FROM sealed_time) * 1000000)::bigint ELSE -1 END,
           signature, public_key
    FROM seals
"""
_LATEST: Final = f"{_SEALS} ORDER BY number DESC LIMIT 1"
_PAGE: Final = f"{_SEALS} WHERE number > %s ORDER BY number LIMIT %s"
_FOUND: Final = f"{_SEALS} WHERE sequence = %s ORDER BY number LIMIT 1"
_INSERT: Final = """
    INSERT INTO seals (
        number, format, transfer_count, last_xid, last_place, digests, sequence, hash, sealed_time, signature,
        public_key
    ) VALUES (
        %s, %s, %s, %s::text::xid8, %s, %s, %s, %s, '1970-01-01T00:00:00Z'::timestamptz + %s * interval '1 microsecond',
        %s, %s
    )
"""
_CLOCK: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_WAITING: Final = """
    SELECT extract(epoch FROM clock_timestamp() - created_time)::float8
    FROM transfers
    WHERE (xid, place) > (%s::text::xid8, %s)
    ORDER BY xid, place
    LIMIT 1
"""
_UNSEALED: Final = """
    SELECT id, xid >= pg_snapshot_xmax(pg_current_snapshot())
    FROM transfers
    WHERE (xid, place) > (%s::text::xid8, %s) AND (
        xid >= pg_snapshot_xmax(pg_current_snapshot())
        OR (xid < pg_snapshot_xmin(pg_current_snapshot()) AND created_time < now() - %s * interval '1 second')
    )
    ORDER BY xid, place
    LIMIT 1
"""


def lock(connection: Connection) -> bool:
    """Return whether this transaction, and no other, may append to the chain until it ends."""
    return bool(_value(connection, "SELECT pg_try_advisory_xact_lock(hashtext('seal transfers'))"))


def clock(connection: Connection) -> int:
    """Return the database's time in microseconds since 1970."""
    return int(_value(connection, _CLOCK))


def latest(connection: Connection) -> chain.Seal | None:
    """Return the last seal; None when there is none yet."""
    row = connection.execute(_LATEST).fetchone()
    return _seal(row) if row else None


def found(connection: Connection, sequence: int) -> chain.Seal | None:
    """Return the seal that ends at this place of the chain."""
    row = connection.execute(_FOUND, (sequence,)).fetchone()
    return _seal(row) if row else None


def page(connection: Connection, *, after: int, limit: int) -> Sequence[chain.Seal]:
    """Return the seals with the next higher numbers, in order."""
    return [_seal(row) for row in connection.execute(_PAGE, (after, limit))]


def append(connection: Connection, seal: chain.Seal) -> None:
    """Record a seal; its number is a key, so that no two can follow the same one."""
    head = seal.head
    connection.execute(
        _INSERT,
        (
            seal.number,
            seal.format,
            seal.transfer_count,
            str(seal.last.xid),
            seal.last.place,
            seal.digests,
            head.sequence,
            head.hash,
            head.sealed_microseconds,
            head.signature,
            head.public_key,
        ),
    )


def unsealed_rows(connection: Connection, *, after: chain.Place | None, limit: int) -> Iterator[chain.Row]:
    """Yield the next transfers that can be sealed, in ledger order."""
    which = [_ENDED] if after is None else [_ENDED, _later(after)]
    return _rows(connection, which, sql.SQL(" LIMIT {}").format(limit))


def sealed_rows(connection: Connection, *, after: chain.Place | None, until: chain.Place) -> Iterator[chain.Row]:
    """Yield the transfers of a part of ledger order; only the first part has no start."""
    upto = sql.SQL("(xid, place) <= ({}::xid8, {})").format(str(until.xid), until.place)
    return _rows(connection, [upto] if after is None else [upto, _later(after)], sql.SQL(""))


def waiting_seconds(connection: Connection) -> float:
    """Return the age of the first transfer behind the chain, whether it can be sealed yet or not; 0 without any."""
    last = latest(connection)
    xid, place = last.last if last else _BEGINNING
    row = connection.execute(_WAITING, (str(xid), place)).fetchone()
    return float(row[0]) if row else 0.0


def first_unsealed(
    connection: Connection, *, after: chain.Place | None, older_than_seconds: int
) -> tuple[Any, bool] | None:
    """Return the id of the first transfer behind the chain that should be in it, and whether it is out of any order.

    The latter is one whose transaction has not begun yet.
    """
    xid, place = after or _BEGINNING
    row = connection.execute(_UNSEALED, (str(xid), place, older_than_seconds)).fetchone()
    return (row[0], row[1]) if row else None


def _rows(connection: Connection, which: Sequence[sql.Composable], limit: sql.Composable) -> Iterator[chain.Row]:
    statement = _ROWS.format(columns=_COLUMNS, which=sql.SQL(" AND ").join(which), limit=limit)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        start = _COPY_HEADER_BYTES
        for block in copy:  # One block is one row; the first one has the header before it.
            raw = bytes(block)[start:]
            start = 0
            if raw != _COPY_END:
                yield chain.row(raw)


def _later(than: chain.Place) -> sql.Composed:
    return sql.SQL("(xid, place) > ({}::xid8, {})").format(str(than.xid), than.place)


def _seal(row: Sequence[Any]) -> chain.Seal:
    number, version, count, xid, place, digests, sequence, hash_, sealed_microseconds, signature, public_key = row
    head = chain.Head(sequence, hash_, sealed_microseconds, signature, public_key)
    return chain.Seal(number, version, count, chain.Place(int(xid), place), digests, head)


def _value(connection: Connection, statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has exactly one row
    return row[0]
