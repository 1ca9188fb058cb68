"""Cursors: the place in a history that a watch goes on after, as text that only this platform can make."""

import base64
import binascii
import hashlib
import hmac
import struct
import uuid
from typing import Final

from kobklein import errors

Position = tuple[int, int]
"""A place in an order of transfers: an account's version and zero, or `xid` and `place` in ledger order."""

START: Final[Position] = (0, 0)
_FORM: Final = struct.Struct(">QI")
_PROOF_BYTES: Final = 8
_WHOLE_LEDGER: Final = bytes(16)


class Cursors:
    """Writes and reads the cursors of one service; every replica has the same key.

    A cursor belongs to what was watched, an account or the whole ledger. One of another would start anywhere, so it is
    refused, and so is one that somebody made up.
    """

    def __init__(self, key: str) -> None:
        self._key = hashlib.blake2b(b"cursors", key=bytes.fromhex(key)).digest()

    def write(self, account_id: uuid.UUID | None, position: Position) -> str:
        """Return the cursor of a position in the history of an account, or of the whole ledger."""
        plain = _FORM.pack(*position)
        return base64.urlsafe_b64encode(plain + self._proof(account_id, plain)).rstrip(b"=").decode()

    def read(self, account_id: uuid.UUID | None, cursor: str) -> Position:
        """Return the position of a cursor; raises InvalidArgument."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise _not_ours() from error
        if len(raw) != _FORM.size + _PROOF_BYTES:
            raise _not_ours()
        first, second = _FORM.unpack(raw[: _FORM.size])
        # Compared as text: the last letter has bits that nothing is read from, so that others would decode to the same.
        if not hmac.compare_digest(self.write(account_id, (first, second)).encode(), cursor.encode()):
            raise _not_ours()
        return first, second

    def _proof(self, account_id: uuid.UUID | None, plain: bytes) -> bytes:
        watched = account_id.bytes if account_id is not None else _WHOLE_LEDGER
        return hashlib.blake2b(plain, digest_size=_PROOF_BYTES, key=self._key, person=watched).digest()


def _not_ours() -> errors.InvalidArgument:
    return errors.InvalidArgument.of("cursor", "is not a cursor of this watch")
