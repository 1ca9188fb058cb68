"""Page tokens: where a list goes on, sealed so that a client can neither read nor change it."""

import base64
import binascii
import hashlib
import os
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf import message

from kobklein import errors

DEFAULT_SIZE: Final = 50
MOST: Final = 200
"""Most items of a page; a request for more gets as many (AIP-158)."""
_NONCE_BYTES: Final = 12


class Pager:
    """Seals and opens the page tokens of one service; every replica has the same key."""

    def __init__(self, key: str) -> None:
        self._cipher = AESGCM(bytes.fromhex(key))

    def seal(self, request: message.Message, position: list[Any]) -> str:
        """Return the token for going on after `position`, good for requests with the same filter and order only."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, orjson.dumps(position), _fingerprint(request))
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, request: message.Message) -> list[Any] | None:
        """Return the position in the request's `page_token`, or None on the first page; raises InvalidArgument."""
        token: str = request.page_token  # type: ignore[attr-defined]  # every paged request has one
        if not token:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            position: list[Any] = orjson.loads(
                self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _fingerprint(request))
            )
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise errors.InvalidArgument.of("page_token", "is not a token of this list with these filters") from error
        return position


def size(request: message.Message) -> int:
    """Return how many items a page of `request` holds at most."""
    return min(request.page_size or DEFAULT_SIZE, MOST)  # type: ignore[attr-defined]  # every paged request has one


def _fingerprint(request: message.Message) -> bytes:
    filters = type(request)()
    filters.CopyFrom(request)
    filters.ClearField("page_token")
    filters.ClearField("page_size")
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(name + b"\0" + filters.SerializeToString(deterministic=True)).digest()
