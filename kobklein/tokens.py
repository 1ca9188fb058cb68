"""What an access token (an RFC 9068 JWT) must be to prove a caller, and the refusals of tokens that do not."""

import dataclasses
import datetime
from typing import Any, Final

import jwt

from kobklein import errors, keys, subjects
from kobklein.settings import AuthSettings

TYPE: Final = "at+jwt"
MAX_LENGTH: Final = 8192
_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, in seconds since 1970."""
_SIGNATURE_ALONE: Final[Any] = {
    f"verify_{claim}": False for claim in ("aud", "exp", "iat", "iss", "jti", "nbf", "sub")
} | {"verify_signature": True}
"""Claims are checked here, where each refusal has words of its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Claims:
    """What a token says that has been proved; times are seconds since 1970."""

    subject: str
    roles: frozenset[str]
    token_id: str
    not_before: float
    expiry: float


def read(token: str, source: keys.Source, settings: AuthSettings) -> Claims:
    """Return the claims of a token whose signature and claims are good, whatever the time is.

    Raises Unauthenticated, which names the fault in words and repeats no value.
    """
    if not 0 < len(token) <= MAX_LENGTH:
        raise _wrong(f"is longer than {MAX_LENGTH} characters" if token else "is empty")
    claims = _proved(token, source)
    if claims.get("iss") != settings.issuer:
        raise _wrong(f"has another issuer: its iss must be {settings.issuer}")
    _check_audience(claims.get("aud"), settings.audience)
    issued, expiry = _time(claims, "iat"), _time(claims, "exp")
    not_before = max(issued, _time(claims, "nbf") if "nbf" in claims else issued)
    if expiry - issued > settings.longest_lifetime_seconds:
        raise _wrong(f"lives longer than {settings.longest_lifetime_seconds} s from its iat to its exp")
    return Claims(_subject(claims), _roles(claims), str(claims.get("jti", "")), not_before, expiry)


def check_time(claims: Claims, now: float, settings: AuthSettings) -> None:
    """Raise Unauthenticated for a token that does not count yet, or no more."""
    if now < claims.not_before - settings.leeway_seconds:
        raise _wrong(f"is not valid before {_instant(claims.not_before)}")
    if now >= claims.expiry + settings.leeway_seconds:
        raise _wrong(f"expired at {_instant(claims.expiry)}")


def revoked() -> errors.Unauthenticated:
    """Return the refusal of a good token that the operator of the platform has withdrawn."""
    return _wrong("was revoked")


def _proved(token: str, source: keys.Source) -> dict[str, Any]:
    """Return the claims of a token of our type that one of our keys has signed."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise _wrong("is malformed: it is no JWT, or has a crit in its header") from error
    if str(header.get("typ", "")).lower().removeprefix("application/") != TYPE:
        raise _wrong(f"is no access token: the typ in its header must be {TYPE}")
    if "crit" in header:  # Nothing that it could name is understood here.
        raise _wrong("has a crit in its header")
    try:
        key = source.key(header.get("kid"))
    except KeyError as error:
        raise _wrong("is signed with an unknown key: the kid in its header is none of ours") from error
    try:
        claims: dict[str, Any] = jwt.decode(token, key.key, algorithms=[key.algorithm], options=_SIGNATURE_ALONE)
    except jwt.InvalidAlgorithmError as error:
        raise _wrong("has another alg in its header than its key is for") from error
    except jwt.InvalidSignatureError as error:
        source.doubt()
        raise _wrong("has a wrong signature") from error
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise _wrong("is malformed: its claims cannot be read") from error
    return claims


def _check_audience(given: Any, ours: str) -> None:
    """RFC 7519, 4.1.3: `aud` is a list in general and may be a single text; RFC 9068, 4: it contains us."""
    audiences = [given] if isinstance(given, str) else given
    if not isinstance(audiences, list) or not audiences or not all(isinstance(one, str) for one in audiences):
        raise _wrong("has no usable aud: it must be a text or a list of texts")
    if ours not in audiences:
        raise _wrong(f"is for another audience: its aud must be or contain {ours}")


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise _wrong(f"has no usable {name}: it must be a number of seconds since 1970")
    return float(value)


def _subject(claims: dict[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subjects.valid(subject):
        raise _wrong(f"has no usable sub: it {subjects.RULE}")
    return subject


def _roles(claims: dict[str, Any]) -> frozenset[str]:
    roles = claims.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise _wrong("has no usable roles: they must be a list of texts")
    return frozenset(roles)


def _wrong(what: str) -> errors.Unauthenticated:
    return errors.Unauthenticated(f"the token {what}", invalid_token=True)


def _instant(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).isoformat().replace("+00:00", "Z")
