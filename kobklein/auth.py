"""Who calls: access tokens (RFC 9068 JWTs), the roles in them, and what the contract lets those roles do."""

import collections
import dataclasses
import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import jwt
import structlog
from google.protobuf import message

from kobklein import contract, errors, jwks, keys, tokens
from kobklein.settings import AuthSettings

_log = structlog.get_logger()
_SCHEME: Final = "bearer"
_MAX_CACHED_TOKENS: Final = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a proved identity."""

    subject: str
    roles: frozenset[contract.Role]
    token: str = dataclasses.field(repr=False, default="")


def bearer(authorization: str) -> str:
    """Return the token in an `Authorization` header; raises Unauthenticated where there is none."""
    if not authorization:
        raise errors.Unauthenticated("a bearer token is needed: there is no Authorization header")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise errors.Unauthenticated("a bearer token is needed: Authorization must be the word Bearer and the token")
    return token.strip()


class Verifier:
    """Turns bearer tokens into callers.

    A token proved once is remembered until it expires, since checking a signature costs more than most calls; whether
    its subject has been revoked since is asked every time.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._keys = keys.source(settings)
        self._keys_version = self._keys.version
        self._revocations = _Revocations(settings.revocations_file)
        self._proved: collections.OrderedDict[str, tuple[Caller, tokens.Claims]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def knows(self, token: str) -> bool:
        """Return whether the token was proved before, so that a look at it costs next to nothing."""
        return token in self._proved

    def verify(self, token: str) -> Caller:
        """Return the caller that `token` proves; raises Unauthenticated, which names the token's fault."""
        if self._keys.version != self._keys_version:
            self._keys_version = self._keys.version
            self._proved.clear()  # What a withdrawn key has proved is proved no more.
        caller, claims = self._proved.get(token) or self._prove(token)
        tokens.check_time(claims, time.time(), self._settings)
        if self._revocations.contains(claims.subject, claims.token_id):
            raise tokens.revoked()
        return caller

    def _prove(self, token: str) -> tuple[Caller, tokens.Claims]:
        claims = tokens.read(token, self._keys, self._settings)
        proved = Caller(claims.subject, claims.roles & contract.ROLES, token), claims
        with self._lock:
            self._proved[token] = proved
            while len(self._proved) > _MAX_CACHED_TOKENS:
                self._proved.popitem(last=False)
        return proved


def authorize(method: contract.Method, caller: Caller | None, request: message.Message) -> bool:
    """Check that `caller` may make this call, and return whether it may do so for every subject.

    A caller who may act only for itself must be the subject that the request names; where the request names none, it is
    filled in. Raises Unauthenticated or PermissionDenied.
    """
    check_role(method, caller)
    if caller is None or method.any & caller.roles:
        return True
    if method.subject_path:
        subject = method.subject(request)
        if not subject:
            method.set_subject(request, caller.subject)
        elif subject != caller.subject:
            raise denial(f"{'.'.join(method.subject_path)} names another user:", method.any, caller)
    return False


def check_role(method: contract.Method, caller: Caller | None) -> None:
    """Check that some role of `caller` may call `method` at all; raises Unauthenticated or PermissionDenied."""
    if method.anonymous:
        return
    if caller is None:
        raise errors.Unauthenticated("a bearer token is needed")
    if not permits(method, caller):
        raise denial("this", method.own | method.any, caller)


def permits(method: contract.Method, caller: Caller | None) -> bool:
    """Return whether some role of `caller` may call `method` at all."""
    return method.anonymous or (caller is not None and bool(caller.roles & (method.own | method.any)))


def check_public(caller: Caller) -> None:
    """Raise PermissionDenied for a caller who may only come from inside: services call each other over gRPC."""
    if contract.SERVICE in caller.roles:
        raise errors.PermissionDenied(
            f"a token with the role {contract.SERVICE} cannot be used over REST: services call over gRPC"
        )


def denial(what: str, needed: Iterable[contract.Role], caller: Caller | None) -> errors.PermissionDenied:
    """Return the refusal of `what`, which needs one of some roles; it names them and the caller's own."""
    has = _listed(caller.roles if caller else (), "and")
    return errors.PermissionDenied(f"{what} needs {_listed(needed, 'or')}; this token has {has}")


def _listed(roles: Iterable[contract.Role], word: str) -> str:
    """Return roles in words; that of services, which come over gRPC alone, only where there is no other."""
    *others, last = sorted(set(roles) - {contract.SERVICE} or roles) or ["no role"]
    return f"{', '.join(others)} {word} {last}" if others else last


class Signer:
    """Makes short-lived tokens for this process itself, so that other services know who calls them."""

    _LIFETIME_SECONDS: Final = 300

    def __init__(self, settings: AuthSettings, *, private_jwk_file: Path, subject: str) -> None:
        self._settings = settings
        self._subject = subject
        self._key = jwks.private(private_jwk_file.read_text())
        self._token, self._renewal = "", 0.0

    def token(self) -> str:
        """Return a token that is good for at least another minute."""
        now = time.time()
        if now >= self._renewal:
            self._token = sign(
                self._key,
                self._settings,
                subject=self._subject,
                roles=["service"],
                lifetime_seconds=self._LIFETIME_SECONDS,
            )
            self._renewal = now + self._LIFETIME_SECONDS - 60
        return self._token


def sign(key: jwt.PyJWK, settings: AuthSettings, *, subject: str, roles: list[str], lifetime_seconds: int) -> str:
    """Return an access token of `subject`, signed by the private `key`."""
    now = int(time.time())
    claims = {
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": subject,
        "roles": roles,
        "iat": now,
        "exp": now + lifetime_seconds,
    }
    return jwt.encode(
        claims, key.key, algorithm=key.algorithm_name, headers={"typ": tokens.TYPE, "kid": key.key_id or ""}
    )


class _Revocations:
    """Subjects and token ids that are refused although their tokens are still good."""

    def __init__(self, path: Path | None) -> None:
        self._file = keys.WatchedFile(path) if path else None
        self._subjects: frozenset[str] = frozenset()
        self._token_ids: frozenset[str] = frozenset()

    def contains(self, subject: str, token_id: str) -> bool:
        """Return whether either stands in the file, which is re-read within seconds of a change."""
        if self._file is not None and self._file.changed():
            self._read(self._file.path)
        return subject in self._subjects or (token_id != "" and token_id in self._token_ids)

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:  # Half-written: who was revoked stays so until it is whole.
            _log.warning("revocations not read", error=repr(error))
            return
        self._subjects = frozenset(content.get("subjects", ()))
        self._token_ids = frozenset(content.get("token_ids", ()))
