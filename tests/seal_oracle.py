"""What a signed chain of seals proves, computed from the rows and the documented format alone, as an auditor would.

`docs/decisions/ledger-seals.md` is all that this was written from; it shares no code with the service.
"""

import dataclasses
import datetime
import hashlib
import struct
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self

import psycopg
from cryptography import exceptions
from cryptography.hazmat.primitives.asymmetric import ed25519
from psycopg import rows

from kobklein.wallets.v1 import ledger_pb2

Connection = psycopg.Connection[Any]
_FORMAT: Final = 1
_DIGEST_BYTES: Final = 32
_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_SECONDS_TO_2000: Final = 946_684_800


def _number(length: int) -> Callable[[str], bytes]:
    return lambda text: int(text).to_bytes(length, "big", signed=True)


def _uuid(text: str) -> bytes:
    return uuid.UUID(text).bytes


def _time(text: str) -> bytes:
    return _number(8)(str(int(text) - _SECONDS_TO_2000 * 1_000_000))


def _json(text: str) -> bytes:
    return b"\x01" + text.encode()


COLUMNS: Final[dict[str, Callable[[str], bytes]]] = {
    "id": _uuid,
    "xid": _number(8),
    "place": _number(4),
    "created_time": _time,
    "effective_time": _time,
    "debit_account_id": _uuid,
    "credit_account_id": _uuid,
    "amount": _number(8),
    "currency": str.encode,
    "type": str.encode,
    "debit_balance_after": _number(8),
    "credit_balance_after": _number(8),
    "debit_version": _number(8),
    "credit_version": _number(8),
    "hold_id": _uuid,
    "reverses_id": _uuid,
    "group_id": _uuid,
    "payment_id": _uuid,
    "reference": str.encode,
    "description": str.encode,
    "metadata": _json,
}
"""The columns of a transfer in the documented order, and what each text of the database is in bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """The signed end of a chain, as somebody outside keeps it."""

    sequence: int
    hash: bytes
    sealed_microseconds: int
    signature: bytes

    @classmethod
    def of(cls, head: ledger_pb2.LedgerHead) -> Self:
        """Return the head that the service gave somebody to keep."""
        sealed = head.sealed_time.ToMicroseconds()
        return cls(head.sequence, bytes.fromhex(head.hash), sealed, bytes.fromhex(head.signature))


def examine(connection: Connection, *, key: bytes, heads: Iterable[Head] = ()) -> int:
    """Assert that the chain holds, was is signed by this key and leads to every head; return its length in transfers.

    A head that was kept outside proves what the rows alone cannot: that nothing was cut off at the end.
    """
    seals = _rows(connection, "SELECT *, last_xid::text AS xid FROM seals ORDER BY number")
    digests, places = _transfers(connection)
    sequence, before, ends = 0, bytes(_DIGEST_BYTES), dict[int, bytes]()
    for number, seal in enumerate(seals, 1):
        start, sequence = sequence, sequence + seal["transfer_count"]
        assert (seal["number"], seal["format"], seal["sequence"]) == (number, _FORMAT, sequence), (
            f"seal {number} is gone"
        )
        _assert_bound(seal, digests[start:sequence], start)
        assert places[start:sequence][-1] == (int(seal["xid"]), seal["last_place"]), f"seal {number} ends elsewhere"
        before = ends[sequence] = _hash(seal, before)
        assert seal["hash"] == before, f"seal {number} does not follow from the one before it"
        assert seal["public_key"] == key, f"seal {number} names another key"
        _assert_signed(Head(sequence, before, _microseconds(seal["sealed_time"]), seal["signature"]), key)
    for head in heads:
        _assert_signed(head, key)
        assert ends.get(head.sequence) == head.hash, f"the chain does not lead to the head at {head.sequence}"
    return sequence


def _assert_bound(seal: dict[str, Any], found: Sequence[bytes], start: int) -> None:
    """Assert that the transfers of a seal are those that it was made of, in its order; name the first that is not."""
    sealed = seal["digests"]
    assert len(sealed) == _DIGEST_BYTES * seal["transfer_count"] > 0, f"seal {seal['number']} has no digest for each"
    for place in range(seal["transfer_count"]):
        digest = sealed[_DIGEST_BYTES * place : _DIGEST_BYTES * (place + 1)]
        assert [digest] == found[place : place + 1], f"transfer {start + place + 1} is not as it was sealed"


def _assert_signed(head: Head, key: bytes) -> None:
    signed = b"kobklein ledger head\x00\x01" + struct.pack(">qq", head.sequence, head.sealed_microseconds) + head.hash
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(head.signature, signed)
    except exceptions.InvalidSignature:
        raise AssertionError(f"the head at {head.sequence} is not signed by the key") from None


def _hash(seal: dict[str, Any], before: bytes) -> bytes:
    fields = struct.pack(
        ">qqiqiq",
        seal["number"],
        seal["sequence"],
        seal["transfer_count"],
        int(seal["xid"]),
        seal["last_place"],
        _microseconds(seal["sealed_time"]),
    )
    return hashlib.sha256(b"kobklein ledger seal\x00\x01" + before + fields + seal["digests"]).digest()


def _microseconds(time: datetime.datetime) -> int:
    return (time - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // _MICROSECOND


def _transfers(connection: Connection) -> tuple[list[bytes], list[tuple[int, int]]]:
    """Return the digest and the place of every transfer, in the order of the chain."""
    texts = ", ".join(
        f"(extract(epoch FROM {name}) * 1000000)::bigint::text AS {name}" if name.endswith("_time") else f"{name}::text"
        for name in COLUMNS
    )
    found = _rows(connection, f"SELECT {texts} FROM transfers t ORDER BY t.xid, t.place")
    return [_digest(row) for row in found], [(int(row["xid"]), int(row["place"])) for row in found]


def _digest(row: dict[str, str | None]) -> bytes:
    fields = [struct.pack(">h", len(COLUMNS))]
    for name, encoded in COLUMNS.items():
        text = row[name]
        value = None if text is None else encoded(text)
        fields.append(struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value)
    return hashlib.sha256(b"kobklein ledger transfer\x00\x01" + b"".join(fields)).digest()


def _rows(connection: Connection, query: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=rows.dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()
