"""Who calls: access tokens (RFC 9068 JWTs), the roles in them, and what the contract lets those roles do."""

import collections
import contextlib
import dataclasses
import json
import re
import threading
import time
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import jwt
import structlog
from google.protobuf import message

from kobklein import contract, errors, jwks
from kobklein.settings import AuthSettings

_log = structlog.get_logger()
ALGORITHMS: Final = ("EdDSA", "ES256", "RS256")
"""Asymmetric algorithms; HS256 counts only where a shared secret is configured, and then alone."""
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  # the header's `typ`, not a secret
MAX_TOKEN_LENGTH: Final = 8192
_MAX_CACHED_TOKENS: Final = 10_000
_LOOK_SECONDS: Final = 2.0
_SUBJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
"""What a subject looks like: it becomes part of account addresses."""
_CLAIMS: Final = ("sub", "iss", "aud", "exp", "iat")


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a proved identity."""

    subject: str
    roles: frozenset[contract.Role]
    token: str = dataclasses.field(repr=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class _Verified:
    caller: Caller
    token_id: str
    not_before: float
    expiry: float


class Verifier:
    """Turns bearer tokens into callers.

    A token proved once is remembered until it expires, since checking a signature costs more than most calls; whether
    its subject has been revoked since is asked every time.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._keys = _key_source(settings)
        self._keys_version = self._keys.version
        self._revocations = _Revocations(settings.revocations_file)
        self._verified: collections.OrderedDict[str, _Verified] = collections.OrderedDict()
        self._lock = threading.Lock()

    def verify(self, token: str) -> Caller:
        """Return the caller that `token` proves; raises Unauthenticated, whatever is wrong with it."""
        if self._keys.version != self._keys_version:
            self._keys_version = self._keys.version
            self._verified.clear()  # What a withdrawn key has proved is proved no more.
        verified = self._verified.get(token) or self._prove(token)
        now = time.time()
        leeway = self._settings.leeway_seconds
        if not verified.not_before - leeway <= now < verified.expiry + leeway:
            raise errors.Unauthenticated
        if self._revocations.contains(verified.caller.subject, verified.token_id):
            raise errors.Unauthenticated
        return verified.caller

    def _prove(self, token: str) -> _Verified:
        if not 0 < len(token) <= MAX_TOKEN_LENGTH:
            raise errors.Unauthenticated
        try:
            verified = self._decode(token)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
            raise errors.Unauthenticated from error
        with self._lock:
            self._verified[token] = verified
            while len(self._verified) > _MAX_CACHED_TOKENS:
                self._verified.popitem(last=False)
        return verified

    def _decode(self, token: str) -> _Verified:
        header = jwt.get_unverified_header(token)
        if str(header.get("typ", "")).lower().removeprefix("application/") != TOKEN_TYPE or "crit" in header:
            raise ValueError("not an access token")
        key, algorithms = self._keys.key(header.get("kid"))
        claims = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=self._settings.leeway_seconds,
            options={"require": list(_CLAIMS), "strict_aud": True},
        )
        return self._checked(claims, token)

    def _checked(self, claims: dict[str, Any], token: str) -> _Verified:
        subject, roles = claims["sub"], claims.get("roles", [])
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise ValueError("no usable subject")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise ValueError("no usable roles")
        issued, expiry = float(claims["iat"]), float(claims["exp"])
        if expiry - issued > self._settings.longest_lifetime_seconds:
            raise ValueError("lives too long")
        caller = Caller(subject, frozenset(roles) & contract.ROLES, token)
        return _Verified(caller, str(claims.get("jti", "")), float(claims.get("nbf", issued)), expiry)


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
            raise errors.PermissionDenied
    return False


def check_role(method: contract.Method, caller: Caller | None) -> None:
    """Check that some role of `caller` may call `method` at all; raises Unauthenticated or PermissionDenied."""
    if method.anonymous:
        return
    if caller is None:
        raise errors.Unauthenticated
    if not permits(method, caller):
        raise errors.PermissionDenied


def permits(method: contract.Method, caller: Caller | None) -> bool:
    """Return whether some role of `caller` may call `method` at all."""
    return method.anonymous or (caller is not None and bool(caller.roles & (method.own | method.any)))


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
        claims, key.key, algorithm=key.algorithm_name, headers={"typ": TOKEN_TYPE, "kid": key.key_id or ""}
    )


class _KeySource(Protocol):
    @property
    def version(self) -> int:
        """Another number whenever the keys have changed."""

    def key(self, key_id: object) -> tuple[Any, list[str]]:
        """Return the key named by a token's header, and the algorithms it may be used with; raises KeyError."""


def _key_source(settings: AuthSettings) -> _KeySource:
    if settings.hs256_secret is not None:
        return _SharedSecret(settings.hs256_secret.get_secret_value())
    if settings.jwks_file is not None:
        return _KeyFile(settings.jwks_file)
    return _KeyUrl(settings.jwks_url or "")


class _SharedSecret:
    version = 0

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def key(self, _key_id: object) -> tuple[Any, list[str]]:
        return self._secret, ["HS256"]


class _KeyFile:
    def __init__(self, path: Path) -> None:
        self._file = _WatchedFile(path)
        self._file.changed()
        self._keys = jwks.parse(path.read_text())
        self._version = 0

    @property
    def version(self) -> int:
        if self._file.changed():
            with contextlib.suppress(OSError, ValueError):  # A half-written file is read again.
                self._keys = jwks.parse(self._file.path.read_text())
                self._version += 1
        return self._version

    def key(self, key_id: object) -> tuple[Any, list[str]]:
        return _usable(self._keys[str(key_id)])


class _KeyUrl:
    """Keys of an identity provider, fetched by a thread of their own so that no call ever waits for them."""

    _FETCH_SECONDS: Final = 300
    _SOONEST_SECONDS: Final = 10

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._wanted = threading.Event()
        self.version = 0
        self._fetch()
        threading.Thread(target=self._keep_fetching, name="jwks", daemon=True).start()

    def key(self, key_id: object) -> tuple[Any, list[str]]:
        try:
            return _usable(self._keys[str(key_id)])
        except KeyError:
            self._wanted.set()  # Perhaps it is a new one; the token is good once it has been fetched.
            raise

    def _keep_fetching(self) -> None:
        while True:
            time.sleep(self._SOONEST_SECONDS)
            self._wanted.wait(self._FETCH_SECONDS)
            self._wanted.clear()
            self._fetch()

    def _fetch(self) -> None:
        try:
            answer = httpx.get(self._url, timeout=5)
            keys = jwks.parse(answer.raise_for_status().text)
        except (httpx.HTTPError, ValueError) as error:
            _log.warning("keys not fetched", error=repr(error))
        else:
            if keys.keys() != self._keys.keys():
                self._keys, self.version = keys, self.version + 1


def _usable(key: jwt.PyJWK) -> tuple[Any, list[str]]:
    """Return a key with the one algorithm that it itself is for, never one that the token asks for."""
    if key.algorithm_name not in ALGORITHMS:
        raise ValueError("not an algorithm we accept")
    return key.key, [key.algorithm_name]


class _WatchedFile:
    """Says when a file has changed, looking every few seconds at most."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next_look = 0.0
        self._modified = -1.0

    def changed(self) -> bool:
        """Return whether the file has been written since the last look; a missing one has not."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + _LOOK_SECONDS
        try:
            modified = self.path.stat().st_mtime
        except OSError:
            return False
        changed, self._modified = modified != self._modified, modified
        return changed


class _Revocations:
    """Subjects and token ids that are refused although their tokens are still good."""

    def __init__(self, path: Path | None) -> None:
        self._file = _WatchedFile(path) if path else None
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
