"""What wallets_service is configured with, by environment variables that start with `WALLETS_`."""

import enum
import hashlib
import zoneinfo
from typing import Self

import pydantic
import pydantic_settings

from kobklein.settings import ServiceSettings
from wallets_service import chain


class Isolation(enum.StrEnum):
    """The isolation level of the ledger's writing transactions. Row locks make both correct."""

    READ_COMMITTED = "read committed"
    SERIALIZABLE = "serializable"


class Settings(ServiceSettings):
    """Settings of wallets_service."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="WALLETS_")

    isolation: Isolation = Isolation.READ_COMMITTED
    ledger_writers: int = pydantic.Field(default=1, ge=1, le=8)
    """How many batches of transfers may be on their way to the database at once, each on its own connection."""
    ledger_batch_transfers: int = pydantic.Field(default=2_000, ge=1, le=10_000)
    """How many transfers are collected for one transaction; a single larger call still gets one of its own."""
    ledger_waiting_transfers: int = pydantic.Field(default=50_000, ge=10_000)
    """How many transfers may wait; calls beyond that are turned away."""
    watch_poll_seconds: float = pydantic.Field(default=0.5, ge=0.01, le=10)
    """How soon a watch sees what another replica has committed; what this one commits, it sees at once."""
    longest_watch_seconds: float = pydantic.Field(default=3600.0, gt=0)
    time_zone: str = "America/Port-au-Prince"
    """Whose days and months the limits of accounts are of."""
    seal_key: pydantic.SecretStr | None = None
    """32 random bytes in hexadecimal, the same in every replica: the Ed25519 seed that signs the chain of seals."""
    seal_trusted_keys: tuple[str, ...] = ()
    """Public keys, in hexadecimal, of earlier seal keys: what they signed is still proved by them."""

    hold_seconds: int = pydantic.Field(default=604_800, ge=1, le=31_536_000)
    """How long a hold lasts whose maker does not say."""
    hold_sweep_seconds: float = pydantic.Field(default=1.0, gt=0, le=3_600)
    """How long after a round of giving expired holds back the next one begins; their money is free before."""

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The platform's time zone."""
        return zoneinfo.ZoneInfo(self.time_zone)

    @property
    def signing_key(self) -> chain.Key:
        """The key that signs the chain of seals; in development, one that only depends on `page_token_key`."""
        if self.seal_key is not None:
            return chain.Key(bytes.fromhex(self.seal_key.get_secret_value()))
        return chain.Key(hashlib.sha256(b"seal key" + self.page_token_key.get_secret_value().encode()).digest())

    @property
    def trusted_seal_keys(self) -> frozenset[bytes]:
        """The public keys that may have signed the chain."""
        return frozenset({self.signing_key.public, *map(bytes.fromhex, self.seal_trusted_keys)})

    @pydantic.model_validator(mode="after")
    def _keys_of_seals(self) -> Self:
        if self.production and self.seal_key is None:
            raise ValueError("seal_key is needed in production")
        if self.seal_key is not None and len(bytes.fromhex(self.seal_key.get_secret_value())) != chain.KEY_BYTES:
            raise ValueError("seal_key must be 32 bytes in hexadecimal")
        if any(len(bytes.fromhex(key)) != chain.KEY_BYTES for key in self.seal_trusted_keys):
            raise ValueError("seal_trusted_keys must be of 32 bytes in hexadecimal each")
        return self

    @pydantic.field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in zoneinfo.available_timezones():
            raise ValueError(f"{name!r} is not a time zone")
        return name
