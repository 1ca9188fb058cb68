"""JSON Web Keys (RFC 7517) as files and identity providers give them."""

import dataclasses
import json
from typing import Any, Final

import jwt

ALGORITHMS: Final = ("EdDSA", "ES256", "RS256")
"""Asymmetric algorithms, for which the public half of a key is enough."""
_MISTAKES: Final = (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A key that signatures are checked with; two are equal if they are the same key for the same algorithm."""

    key: Any
    algorithm: str


def parse(text: str) -> dict[str, Key]:
    """Return the keys of a JWK set that are for one of ALGORITHMS by their ids; raises ValueError, without its text.

    Other keys are passed over. A key is for the one algorithm that it names, never for one that a token asks for. A key
    without an id is known as `None`.
    """
    try:
        listed = json.loads(text)["keys"]
        if not isinstance(listed, list):
            raise TypeError
    except _MISTAKES:
        raise ValueError("not a JWK set") from None
    found = {}
    for each in listed:
        try:
            key = jwt.PyJWK.from_dict(each)
        except _MISTAKES:
            continue
        if key.algorithm_name in ALGORITHMS:
            found[str(key.key_id)] = Key(key.key, key.algorithm_name)
    return found


def some(text: str) -> dict[str, Key]:
    """Return what `parse` does; a set without any usable key is a ValueError, too."""
    found = parse(text)
    if not found:
        raise ValueError("no usable key in the JWK set")
    return found


def private(text: str) -> jwt.PyJWK:
    """Return the private key that a JWK holds; raises ValueError, without a word of `text`."""
    try:
        key = jwt.PyJWK.from_json(text)
    except _MISTAKES:
        raise ValueError("not a JWK") from None
    if not (isinstance(key.key, bytes) or hasattr(key.key, "sign")):  # A secret (`oct`) signs as well.
        raise ValueError("not a private JWK")
    return key
