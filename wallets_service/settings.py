"""What wallets_service is configured with, by environment variables that start with `WALLETS_`."""

import enum
import zoneinfo

import pydantic
import pydantic_settings

from kobklein.settings import ServiceSettings


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

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The platform's time zone."""
        return zoneinfo.ZoneInfo(self.time_zone)

    @pydantic.field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in zoneinfo.available_timezones():
            raise ValueError(f"{name!r} is not a time zone")
        return name
