"""Where the keys come from that access tokens are checked with: a file, an identity provider, or a shared secret."""

import contextlib
import threading
import time
from pathlib import Path
from typing import Final, Protocol

import httpx
import structlog

from kobklein import jwks
from kobklein.settings import AuthSettings

_log = structlog.get_logger()
_LOOK_SECONDS: Final = 2.0
_SHARED: Final = "HS256"


class Source(Protocol):
    """The keys that are trusted now."""

    @property
    def version(self) -> int:
        """Another number whenever the keys have changed."""

    def key(self, key_id: object) -> jwks.Key:
        """Return the key named by a token's header, with the one algorithm it may be used with; raises KeyError."""

    def doubt(self) -> None:
        """Note that a token did not fit to its key, so that the keys may have been replaced."""


def source(settings: AuthSettings) -> Source:
    """Return the source that the settings name."""
    if settings.hs256_secret is not None:
        return _SharedSecret(settings.hs256_secret.get_secret_value())
    if settings.jwks_file is not None:
        return _KeyFile(settings.jwks_file)
    return _KeyUrl(settings.jwks_url or "")


class _SharedSecret:
    version = 0

    def __init__(self, secret: str) -> None:
        self._key = jwks.Key(secret, _SHARED)

    def key(self, _key_id: object) -> jwks.Key:
        return self._key

    def doubt(self) -> None:
        """A secret of the settings is never replaced."""


class _KeyFile:
    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path)
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

    def key(self, key_id: object) -> jwks.Key:
        return self._keys[str(key_id)]

    def doubt(self) -> None:
        """The file is looked at anyway."""


class _KeyUrl:
    """Keys of an identity provider, fetched by a thread of their own so that no call ever waits for them.

    The set fetched last counts: a key that is gone is trusted no more, and one that was replaced under its id is
    replaced here. A token that does not fit has the keys fetched within seconds; all else, every five minutes.
    """

    _FETCH_SECONDS: Final = 300
    _SOONEST_SECONDS: Final = 10

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, jwks.Key] = {}
        self._wanted = threading.Event()
        self.version = 0
        self._fetch()
        threading.Thread(target=self._keep_fetching, name="jwks", daemon=True).start()

    def key(self, key_id: object) -> jwks.Key:
        try:
            return self._keys[str(key_id)]
        except KeyError:
            self.doubt()  # Perhaps it is a new one; the token is good once it has been fetched.
            raise

    def doubt(self) -> None:
        self._wanted.set()

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
            if keys != self._keys:
                self._keys, self.version = keys, self.version + 1


class WatchedFile:
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
