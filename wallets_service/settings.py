"""What wallets_service is configured with, by environment variables that start with `WALLETS_`."""

import enum
import hashlib
import zoneinfo
from collections.abc import Iterator
from typing import Final

import pydantic
import pydantic_settings

from kobklein import settings as common
from kobklein import zones
from kobklein.settings import Group, Key, ListOf, SecretKey, ServiceSettings
from wallets_service.proof import chain

MOST_SEAL_SECONDS: Final = 10
"""The longest pause of a sealer; what verification takes for unsealed, and broken, is older than that allows."""


class Isolation(enum.StrEnum):
    """The isolation level of the ledger's writing transactions. Row locks make both correct."""

    READ_COMMITTED = "read committed"
    SERIALIZABLE = "serializable"


class RateSourceSettings(Group):
    """A provider of exchange rates on the web; docs/decisions/conversions.md has the document that it serves."""

    url: pydantic.HttpUrl
    """Without secrets: those belong into `authorization`."""
    authorization: pydantic.SecretStr | None = None
    """Value of the header of that name."""
    name: str = pydantic.Field(default="http", pattern="^[a-z][a-z0-9_-]{0,31}$")
    """What quotes call it; `table` is taken."""
    spread_parts_per_million: int = pydantic.Field(ge=0, le=500_000)
    """What the platform keeps of what is bought: 10000 is one per cent."""
    refresh_seconds: pydantic.PositiveFloat = 60.0
    stale_seconds: pydantic.PositiveFloat = 900.0
    """How old rates may be, by the time in their document; then nothing is quoted by them."""
    timeout_seconds: pydantic.PositiveFloat = pydantic.Field(default=5.0, le=10.0)
    """Longest wait for a whole document; a process that leaves may wait for as long."""
    max_bytes: int = pydantic.Field(default=262_144, ge=1_024)
    """Longest document that is read."""

    @pydantic.field_validator("name")
    @classmethod
    def _not_the_table(cls, name: str) -> str:
        if name == "table":
            raise ValueError("the rates that admins set are called table")
        return name


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
    seal_key: SecretKey | None = None
    """The Ed25519 seed that signs the chain of seals; the same in every replica."""
    seal_trusted_keys: ListOf[Key] = ()
    """The public halves of earlier seal keys: they still prove the seals that they signed."""

    seal_seconds: float = pydantic.Field(default=1.0, gt=0, le=MOST_SEAL_SECONDS)
    """How long after a round of sealing the next one begins: about as long, a change of what is new goes unseen."""

    hold_seconds: int = pydantic.Field(default=604_800, ge=1, le=31_536_000)
    """How long a hold lasts whose maker does not say."""
    hold_sweep_seconds: float = pydantic.Field(default=1.0, gt=0, le=3_600)
    """How long after a round of giving expired holds back the next one begins; their money is free before."""

    quote_seconds: float = pydantic.Field(default=30.0, gt=0, le=3_600)
    """For how long a quoted price can be accepted."""
    rate_source: RateSourceSettings | None = None
    """Without one, only the rates that admins set are quoted."""

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The platform's time zone."""
        return zoneinfo.ZoneInfo(self.time_zone)

    @property
    def signing_key(self) -> chain.Key:
        """The key that signs the chain of seals; in development, one that only depends on `page_token_key`."""
        if self.seal_key is not None:
            return chain.Key.of_hex(self.seal_key.get_secret_value())
        return chain.Key(hashlib.sha256(b"seal key" + self.page_token_key.get_secret_value().encode()).digest())

    @property
    def trusted_seal_keys(self) -> frozenset[bytes]:
        """The public keys that may have signed the chain."""
        return frozenset({self.signing_key.public, *map(bytes.fromhex, self.seal_trusted_keys)})

    def broken_rules(self) -> Iterator[str]:
        """Yield what production demands and lacks; rates that come unprotected can be forged on their way."""
        yield from super().broken_rules()
        if self.production and self.seal_key is None:
            yield "{seal_key} is needed in production"
        if self.production and self.rate_source is not None and self.rate_source.url.scheme != "https":
            yield "{rate_source__url} must be https in production"

    @pydantic.field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in zones.names():
            raise ValueError("must be the name of a time zone, such as America/Port-au-Prince")
        return name


class MigrationSettings(common.MigrationSettings):
    """Settings of `migrate`."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="WALLETS_")
