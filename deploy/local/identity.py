"""The identities of one machine: the key that signs tokens, the public half that everybody checks with, and secrets."""

import dataclasses
import functools
import json
import secrets
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519

from kobklein import auth
from kobklein.settings import AuthSettings

TOKEN_SECONDS: Final = 86_400
_KEY_ID: Final = "local"


@dataclasses.dataclass(frozen=True)
class Identity:
    """Keys and secrets in one folder that only its owner can read; made at the first use, kept afterwards."""

    folder: Path

    @property
    def private_key_file(self) -> Path:
        """The private key that signs every token on this machine, as a JWK."""
        return self.folder / "private.jwk"

    @property
    def public_keys_file(self) -> Path:
        """The public key, as a JWK set."""
        return self.folder / "jwks.json"

    @functools.cached_property
    def settings(self) -> AuthSettings:
        """How the processes of this machine check tokens."""
        return AuthSettings(jwks_file=self.public_keys_file)

    @functools.cached_property
    def _key(self) -> jwt.PyJWK:
        return jwt.PyJWK.from_json(self.private_key_file.read_text())

    def token(self, subject: str, *roles: str, lifetime_seconds: int = TOKEN_SECONDS) -> str:
        """Return an access token of `subject` with these roles."""
        return auth.sign(
            self._key, self.settings, subject=subject, roles=list(roles), lifetime_seconds=lifetime_seconds
        )

    def secret(self, name: str) -> str:
        """Return the secret of this name: 32 random bytes in hexadecimal, the same every time."""
        path = self.folder / name
        if not path.exists():
            _write(path, secrets.token_hex(32))
        return path.read_text()


def load(folder: Path) -> Identity:
    """Return the identity in `folder`, made if it is not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = Identity(folder)
    if not identity.public_keys_file.exists():
        private = ed25519.Ed25519PrivateKey.generate()
        names = {"kid": _KEY_ID, "alg": "EdDSA", "use": "sig"}
        _write(identity.private_key_file, json.dumps(jwt.algorithms.OKPAlgorithm.to_jwk(private, as_dict=True) | names))
        public = jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key(), as_dict=True) | names
        _write(identity.public_keys_file, json.dumps({"keys": [public]}))
    return identity


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
