"""Idempotency keys: the first answer to a key is the answer, for at least a day."""

import hashlib
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

    def begin(self, state: State, key: Key) -> Reply | None:
        """The kept answer, or None when this request is to be executed.

        Raises IdempotencyMismatch for other parameters, IdempotencyKeyInUse while the first request runs.
        """
        if (key.api_key, key.name) in self._busy:
            raise errors.IdempotencyKeyInUse(key.name)
        kept = _kept(state, key)
        if kept is None:
            self._busy.add((key.api_key, key.name))
        return kept

    def end(self, key: Key) -> None:
        """The request has been answered, or will never be."""
        self._busy.discard((key.api_key, key.name))


def key(api_key: str, name: str, *, method: str, path: str, body: bytes) -> Key:
    """The key of one request; the fingerprint covers everything the request asks for."""
    if not 0 < len(name) <= KEY_LIMIT:
        raise errors.InvalidParameter(f"Idempotency keys must have 1 to {KEY_LIMIT} characters.")
    return Key(api_key, name, hashlib.sha256(f"{method} {path}\n".encode() + body).digest())


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
