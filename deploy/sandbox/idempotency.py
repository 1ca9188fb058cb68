"""Idempotency keys: the first answer to a key is the answer, for at least a day."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.sandbox import errors
from deploy.sandbox.replies import Reply
from deploy.sandbox.state import State

KEY_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Key:
    """One caller's key and what it was used for."""

    api_key: str
    name: str
    fingerprint: bytes


class Keys:
    """The keys whose requests are still being answered; answers themselves are in the store."""

    def __init__(self) -> None:
        self._busy: set[tuple[str, str]] = set()

    @contextmanager
    def claim(self, state: State, key: Key | None) -> Iterator[Reply | None]:
        """While the context lasts the key is this request's; gives the kept answer if there is one.

        Raises IdempotencyMismatch for other parameters, IdempotencyKeyInUse while the first request runs.
        """
        kept = None if key is None else _kept(state, key)
        if key is None or kept is not None:
            yield kept
            return
        name = (key.api_key, key.name)
        if name in self._busy:
            raise errors.IdempotencyKeyInUse(key.name)
        self._busy.add(name)
        try:
            yield None
        finally:
            self._busy.discard(name)


def key(api_key: str, name: str, *, method: str, path: str, asked: bytes) -> Key:
    """The key of one request; the fingerprint covers everything the request asks for."""
    if not 0 < len(name) <= KEY_LIMIT:
        raise errors.InvalidParameter(f"Idempotency keys must have 1 to {KEY_LIMIT} characters.")
    return Key(api_key, name, hashlib.sha256(f"{method} {path}\n".encode() + asked).digest())


def keep(state: State, key: Key, reply: Reply) -> None:
    """Remember the answer, in the transaction of its effects."""
    state.store.execute(
        "INSERT OR REPLACE INTO replies (api_key, key, fingerprint, request, created, status, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (key.api_key, key.name, key.fingerprint, state.call.request_id, state.clock.now(), reply.status, reply.body),
    )


def prune(state: State) -> None:
    """Forget the keys that are old enough."""
    state.store.execute("DELETE FROM replies WHERE created <= ?", (_oldest(state),))


def _kept(state: State, key: Key) -> Reply | None:
    row = state.store.execute(
        "SELECT fingerprint, request, status, body FROM replies WHERE api_key = ? AND key = ? AND created > ?",
        (key.api_key, key.name, _oldest(state)),
    ).fetchone()
    if row is None:
        return None
    fingerprint, request, status, body = row
    if fingerprint != key.fingerprint:
        raise errors.IdempotencyMismatch(key.name)
    return Reply(status, body, {"Idempotent-Replayed": "true", "Original-Request": request})


def _oldest(state: State) -> int:
    return state.clock.now() - state.settings.idempotency_hours * 3600
