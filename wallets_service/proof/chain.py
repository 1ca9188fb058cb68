"""The chain of seals: which bytes of a transfer are hashed, how a seal follows from the one before it, what is signed.

Pure functions of bytes: no database and no clock. `docs/decisions/ledger-seals.md` describes the format.
"""

import dataclasses
import hashlib
import struct
import uuid
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Self

from cryptography import exceptions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

FORMAT: Final = 1
"""The version of everything below; a seal of another version is not understood."""
COLUMNS: Final = (
    "id",
    "xid",
    "place",
    "created_time",
    "effective_time",
    "debit_account_id",
    "credit_account_id",
    "amount",
    "currency",
    "type",
    "debit_balance_after",
    "credit_balance_after",
    "debit_version",
    "credit_version",
    "hold_id",
    "reverses_id",
    "group_id",
    "payment_id",
    "reference",
    "description",
    "metadata",
)
"""The columns of a transfer in the order in which they are hashed: all that the table has."""
DIGEST_BYTES: Final = 32
KEY_BYTES: Final = 32
"""The length of both halves of an Ed25519 key."""
_TRANSFER: Final = b"kobklein ledger transfer\x00" + bytes([FORMAT])
_SEAL: Final = b"kobklein ledger seal\x00" + bytes([FORMAT])
_HEAD: Final = b"kobklein ledger head\x00" + bytes([FORMAT])
_SEAL_FIELDS: Final = struct.Struct(">qqiQiq")
_HEAD_FIELDS: Final = struct.Struct(">qq")
_ROW_START: Final = struct.Struct(">6x16s4xQ4xi")
"""How the first three columns lie in a row, each behind its length."""


class Place(NamedTuple):
    """A place in ledger order."""

    xid: int
    place: int


class Row(NamedTuple):
    """What is known of a transfer by looking at the bytes that are hashed."""

    id: uuid.UUID
    at: Place
    digest: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain, signed: it stands for everything before it."""

    sequence: int
    """How many transfers are sealed up to here."""
    hash: bytes
    sealed_microseconds: int
    """When, since 1970."""
    signature: bytes
    public_key: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Seal:
    """One link of the chain, as it is recorded."""

    number: int
    format: int
    transfer_count: int
    last: Place
    """The last of its transfers."""
    digests: bytes
    head: Head
    """The end of the chain with this link."""


class Key:
    """An Ed25519 key that signs heads."""

    def __init__(self, seed: bytes) -> None:
        self._private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.public: Final = self._private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )

    @classmethod
    def of_hex(cls, seed: str) -> Self:
        """Return the key of a seed in hexadecimal."""
        return cls(bytes.fromhex(seed))

    def head(self, sequence: int, hash_: bytes, sealed_microseconds: int) -> Head:
        """Return a signed head."""
        signature = self._private.sign(_signed_bytes(sequence, hash_, sealed_microseconds))
        return Head(sequence, hash_, sealed_microseconds, signature, self.public)


def encoded(values: Sequence[bytes | None]) -> bytes:
    """Return the bytes of a transfer from the binary values of its COLUMNS.

    The number of values, then each behind its length; a missing one has the length -1. It is a row as PostgreSQL's
    binary COPY sends it, so that nothing has to be taken apart to be hashed.
    """
    fields = (struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values)
    return b"".join((struct.pack(">h", len(values)), *fields))


def row(raw: bytes) -> Row:
    """Return the digest and the names of a transfer from its bytes."""
    id_, xid, place = _ROW_START.unpack_from(raw)
    return Row(uuid.UUID(bytes=id_), Place(xid, place), hashlib.sha256(_TRANSFER + raw).digest())


def sealed(previous: Seal | None, rows: Sequence[Row], key: Key, *, sealed_microseconds: int) -> Seal:
    """Return the seal of these transfers, which come right after those of the seal before it."""
    number = previous.number + 1 if previous else 1
    sequence = (previous.head.sequence if previous else 0) + len(rows)
    unsigned = Head(sequence, b"", sealed_microseconds, b"", b"")
    seal = Seal(number, FORMAT, len(rows), rows[-1].at, joined(rows), unsigned)
    return dataclasses.replace(seal, head=key.head(sequence, _hash(seal, previous), sealed_microseconds))


def follows(seal: Seal, previous: Seal | None) -> bool:
    """Return whether a seal has the hash that its contents and the seal before it give."""
    head = seal.head
    return (
        head.hash == _hash(seal, previous)
        and seal.format == FORMAT
        and len(seal.digests) == DIGEST_BYTES * seal.transfer_count
        and head.sequence == (previous.head.sequence if previous else 0) + seal.transfer_count
    )


def proved(head: Head) -> bool:
    """Return whether a head is signed by the key that it names."""
    try:
        public = ed25519.Ed25519PublicKey.from_public_bytes(head.public_key)
        public.verify(head.signature, _signed_bytes(head.sequence, head.hash, head.sealed_microseconds))
    except (ValueError, exceptions.InvalidSignature):
        return False
    return True


def split(digests: bytes) -> list[bytes]:
    """Return the digests of a seal, one by one."""
    return [digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES)]


def joined(rows: Iterable[Row]) -> bytes:
    """Return the digests of transfers, one after the other."""
    return b"".join(each.digest for each in rows)


def _hash(seal: Seal, previous: Seal | None) -> bytes:
    before = previous.head.hash if previous else bytes(DIGEST_BYTES)
    head, last = seal.head, seal.last
    fields = _SEAL_FIELDS.pack(
        seal.number, head.sequence, seal.transfer_count, last.xid, last.place, head.sealed_microseconds
    )
    return hashlib.sha256(b"".join((_SEAL, before, fields, seal.digests))).digest()


def _signed_bytes(sequence: int, hash_: bytes, sealed_microseconds: int) -> bytes:
    return _HEAD + _HEAD_FIELDS.pack(sequence, sealed_microseconds) + hash_
