"""JSON Web Keys (RFC 7517) as files and identity providers give them."""

import jwt


def parse(text: str) -> dict[str, jwt.PyJWK]:
    """Return the public keys of a JWK set by their ids; raises ValueError, without a word of `text`."""
    try:
        return {str(key.key_id): key for key in jwt.PyJWKSet.from_json(text).keys}
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("not a JWK set") from None


def private(text: str) -> jwt.PyJWK:
    """Return the private key that a JWK holds; raises ValueError, without a word of `text`."""
    try:
        key = jwt.PyJWK.from_json(text)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("not a JWK") from None
    if not (isinstance(key.key, bytes) or hasattr(key.key, "sign")):  # A secret (`oct`) signs as well.
        raise ValueError("not a private JWK")
    return key
